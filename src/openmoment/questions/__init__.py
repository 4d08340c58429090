"""Questions beyond one label, such as ``"run-up" then "jump" within 10 s``: docs/questions.md."""

from openmoment.questions.answering import answer, not_only_labels, with_answers
from openmoment.questions.expressions import Question
from openmoment.questions.parsing import names_of, parse

__all__ = ["Question", "answer", "names_of", "not_only_labels", "parse", "with_answers"]
