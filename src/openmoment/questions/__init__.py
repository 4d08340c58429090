"""Questions beyond one label, such as ``"run-up" then "jump" within 10 s``: docs/questions.md."""

from openmoment.questions.answering import answer, answered, not_only_labels, with_answers
from openmoment.questions.expressions import Question
from openmoment.questions.parsing import names_of, parse

__all__ = ["Question", "answer", "answered", "names_of", "not_only_labels", "parse", "with_answers"]
