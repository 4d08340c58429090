"""An encoder, a method and a cache: from a video and words to detections."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.calibration import Fitted, Source
from openmoment.config import to_table
from openmoment.detections import Detections
from openmoment.encoders import Encoder
from openmoment.encoders.base import IsWeak, Progress, reads_english_alone
from openmoment.encoders.prompts import AS_IT_IS, encode_with
from openmoment.errors import ConfigError, QueryError
from openmoment.features.cache import Cache
from openmoment.features.captions import Captions
from openmoment.methods import Method
from openmoment.methods.base import Answer, Answers, Explained, Explains, HasCurves
from openmoment.methods.standing import judged, standing_of
from openmoment.methods.traits import Traits
from openmoment.pipeline.heard import Heard, hear
from openmoment.pipeline.queries import encode_queries, join_examples, pair_queries, tidy_names
from openmoment.pipeline.snippets import encode_snippets
from openmoment.pipeline.tasks import TOP, best_of_each, segment
from openmoment.postprocess import MIN_PRESENCE, SURE, Decision, clip_to, decide
from openmoment.priors.examples import Example, examples_of
from openmoment.priors.files import Priors
from openmoment.questions import Question, answered, names_of, parse
from openmoment.reviews import MadeBy
from openmoment.types import Captioned, Origin, Queries, Snippets, Task
from openmoment.types import Detections as Found


@dataclass(frozen=True)
class Pipeline:
    """Answers questions of videos. What was computed for one question serves the next."""

    encoder: Encoder
    method: Method
    method_name: str
    fps: float
    cache: Cache | None
    templates: tuple[str, ...] = ()
    """Sentences that words are put into; none: the method's, or the backbone's."""
    task: Task = "tal"
    """What `localize` makes of the method's answer: nothing for tal."""
    top: int = TOP
    """Moments of each sentence, for the task mr."""
    priors: Priors | None = None
    """What is known of queries besides their words, where a question brings no examples."""
    flow: "Encoder | None" = None
    """Sees motion, for methods that take it apart."""
    calibration: Fitted | None = None
    """Decides what to say of all that the method ranks."""
    checkpoint: str = ""
    """The fingerprint of the weights, of a method that was trained."""
    asked_for: frozenset[str] = frozenset()
    """Settings of the method that somebody gave, which no task overrules."""
    is_judged: bool = False
    """Whether, for people, presence is of the standing among the bank, whatever the method says: a
    method's score then counts as a share of the presence, and curves show the standing."""
    ranks_all: bool = False
    """Whether nothing is left out of what the method ranks."""

    @property
    def traits(self) -> Traits:
        """What the method takes and decides, with its settings."""
        return self.method.traits_of(self.method.config)

    def to_task(self, task: Task | None = None, *, top: int = TOP) -> "Pipeline":
        """This pipeline, asked for a task: by default the one that its method was trained for.

        Sentences (mr) are embedded as they are, and ranked without any threshold but those that
        were asked for. Raises ConfigError for a method that was trained for another task.
        """
        own = self.traits.task
        if task and own and task != own:
            raise ConfigError(
                f"This {self.method_name} was trained for the task {own}, not for {task}. Leave "
                "--task out, or give another checkpoint."
            )
        if top < 1:
            raise ConfigError(f"top: expected 1 or more moments of a sentence, got {top}.")
        asked = replace(self, task=task or own or "tal", top=top)
        if self.calibration and asked.task != "tal":
            raise ConfigError(f"A calibration decides for the task tal, not for {asked.task}.")
        if asked.task != "mr":
            return asked
        templates = self.templates or (() if own else (AS_IT_IS,))
        method = asked._all_ranked(self.asked_for)
        return replace(asked, method=method, templates=templates, ranks_all=True)

    def snippets(self, video: Path, *, progress: Progress | None = None) -> Snippets:
        """The video's features, from the cache if they are there. Raises VideoError."""
        if self.traits.takes_other_features:
            raise ConfigError(
                f"This {self.method_name} reads features of another encoder, which are not made "
                "here from video: give feature files, --features DIR."
            )
        snippets = encode_snippets(video, self.encoder, self.cache, fps=self.fps, progress=progress)
        if not self.traits.sees_flow:
            return snippets
        if self.flow is None:
            raise ConfigError(
                f"This {self.method_name} was trained on optical flow that is not made here from "
                "video: give feature files, --features DIR."
            )
        moving = encode_snippets(video, self.flow, self.cache, fps=self.fps, progress=progress)
        return replace(snippets, flow=moving)

    def queries(
        self,
        names: Sequence[str],
        *,
        examples: Mapping[str, Example] | None = None,
        progress: Progress | None = None,
    ) -> Queries:
        """Encode the words to look for, as `tidy_names` gives them, and examples of them.

        ``examples`` are those of `openmoment.priors.examples_of`; one whose name is no query yet
        becomes one. The first question of a backbone embeds its bank, of which ``progress`` hears.
        Raises QueryError, ConfigError for a method that cannot read examples.
        """
        traits = self.traits
        if examples is None and self.priors is not None:
            tidy = tidy_names(names)
            known = any(name in self.priors for name in tidy)
            examples = examples_of(tidy, priors=self.priors) if known else None
        if examples and traits.reads_words and not traits.pairing:
            raise ConfigError(
                f"This {self.method_name} reads the words themselves, and takes no pictures and no "
                "descriptions. Use a training-free method: --method similarity."
            )
        templates = self.templates or traits.templates
        asked = (*names, *(examples or ()))
        queries = encode_queries(
            asked, self.encoder, self.cache, templates=templates, progress=progress
        )
        queries = queries if traits.templates else replace(queries, variants=None)
        if traits.pairing:
            return pair_queries(queries, traits.pairing, self.encoder, self.cache, examples)
        if not examples:
            return queries
        return join_examples(queries, examples, self.encoder, self.cache)

    def hear(self, names: Sequence[str], *, examples: Mapping[str, Example] | None = None) -> Heard:
        """What a person asks for, judged by its words: what is to be looked for, and what not.

        Queries of which there are examples are taken as they are. Raises QueryError.
        """
        tidy = tidy_names((*names, *(examples or ())))
        known = [name for name in tidy if self.priors is not None and name in self.priors]
        shown = (*known, *(examples or ()))
        return hear(tidy, reads_english_alone=reads_english_alone(self.encoder), shown=shown)

    def queries_of(
        self,
        heard: Heard,
        *,
        examples: Mapping[str, Example] | None = None,
        progress: Progress | None = None,
    ) -> Queries | None:
        """What is to be looked for, as `queries` gives it; None where that is nothing."""
        if not heard.understood:
            return None
        return self.queries(heard.understood, examples=examples, progress=progress)

    def captioned(self, snippets: Snippets, captions: Captions) -> Snippets:
        """The snippets with their captions, which the text tower embeds as they are."""
        if not len(captions):
            return snippets
        vectors = encode_with(AS_IT_IS, captions.texts, self.encoder, self.cache)
        projected = self.encoder.space.project_text(vectors)
        return replace(snippets, captions=Captioned(captions.times_s, projected))

    def questions(self, texts: Sequence[str]) -> list[Question]:
        """Questions beyond one label, read. Raises QuestionError, ConfigError for another task."""
        if texts and self.task != "tal":
            raise ConfigError(f"Questions such as {texts[0]!r} are of actions: leave the task out.")
        return [parse(text) for text in texts]

    def explain(self, snippets: Snippets, queries: Queries) -> Explained:
        """How the method comes to its answer. Raises ConfigError where it cannot say."""
        if not isinstance(self.method, Explains):
            raise ConfigError(f"{self.method_name} has nothing to explain. Use t3al.")
        return self.method.explain(snippets, queries)

    def localize(
        self,
        snippets: Snippets,
        queries: Queries | None,
        *,
        video: str,
        explained: Explained | Answer | None = None,
        heard: Heard | None = None,
    ) -> Detections:
        """The method's detections, with where they come from.

        ``explained`` is what the method's own `explain` or `answer` gave, if it was asked before.
        ``heard`` is what the queries are of: the answer tells of all of it, and there may be
        nothing to look for.
        """
        found, curves = Detections.empty(()), np.zeros((0, len(snippets)))
        if queries is not None:
            answer = explained or self._answer(snippets, queries)
            found, curves = clip_to(answer.detections, snippets.duration_s), answer.curves
            if self._is_held_against_bank:
                found, curves = self._judge(found, curves, snippets, queries)
            if self.calibration:
                found = self.calibration.apply(found)
        origin = Origin(
            video=video,
            duration_s=snippets.duration_s,
            backbone=self.encoder.name,
            fingerprint=self.encoder.fingerprint,
            method=self.method_name,
            settings=self.settings
            | self._asked
            | ({"examples": dict(queries.examples)} if queries and queries.examples else {}),
            source_sha256=snippets.recipe.source_sha256,
            grid=snippets.grid,
            curves=None if curves is None else curves.astype(np.float32),
            occurs_at=SURE if self._shows_standing else None,
        )
        found = replace(found, origin=origin, notes=self.notes)
        match self.task:
            case "mr":
                guessed = [n for n, p in zip(found.names, found.presence, strict=True) if p < SURE]
                found = replace(best_of_each(found, self.top), unsure=frozenset(guessed))
            case "as" if queries is not None:
                found = segment(found, by_curves=self.traits.task == "as")
            case _:
                pass
        return Detections.holding(heard.whole(found) if heard else found)

    @property
    def notes(self) -> tuple[str, ...]:
        """What bears on how far to trust its answers, a sentence each."""
        weak = (self.encoder.caution,) if isinstance(self.encoder, IsWeak) else ()
        if self.traits.tells_presence or self.calibration:
            return weak
        whose = "How sure a moment is" if self._is_held_against_bank else "How sure all this is"
        own = f"{whose} goes by {self.method_name}'s own scores, which are not calibrated."
        return (*weak, f"{own} To calibrate them, judge some on the page: openmoment serve")

    @property
    def decision(self) -> Decision:
        """What is said of all that is ranked."""
        if self.ranks_all:
            return Decision()
        own = self.traits.decision
        if self.traits.tells_presence or not self._is_held_against_bank:
            return own
        return own._replace(min_presence=MIN_PRESENCE, sure=SURE)

    @property
    def shipped_decision(self) -> Decision:
        """What is said of all that is ranked where nothing was set to rank all."""
        cls, config = type(self.method), self.method.config
        usual = cls.Config()
        own = {n: getattr(usual, n) for n, v in cls.RANKING.items() if getattr(config, n) == v}
        return cls.traits_of(replace(config, **own)).decision

    @property
    def _shows_standing(self) -> bool:
        """Whether curves are of the standing."""
        return self.traits.shows_standing or (self._is_held_against_bank and self.task == "tal")

    @property
    def _is_held_against_bank(self) -> bool:
        return self.is_judged and not self.traits.takes_other_features

    def _judge(
        self,
        found: Found,
        curves: Float[Array, "k t"] | None,
        snippets: Snippets,
        queries: Queries,
    ) -> tuple[Found, Float[Array, "k t"] | None]:
        """The answer by the standing of each query, and the curves of that."""
        traits, is_shown = self.traits, self.task == "tal"
        if traits.shows_standing or (traits.tells_presence and not is_shown):
            return found, curves
        standing = standing_of(self.encoder.space, snippets, queries)
        shown = standing.shown if is_shown else curves
        if traits.tells_presence:
            return found, shown
        return decide(judged(found, standing), self.decision), shown

    @property
    def settings(self) -> dict[str, Any]:
        """What the settings of an answer say of how it is made."""
        made = {"checkpoint": self.checkpoint} if self.checkpoint else {}
        decided = {"calibration": self.calibration.fingerprint} if self.calibration else {}
        is_decided = self._is_held_against_bank and self.task != "mr"
        if is_decided and not self.traits.tells_presence:  # ranking or not: a calibration compares
            decided |= {"min_presence": MIN_PRESENCE, "sure": SURE}
        return to_table(self.method.config) | {"fps": self.fps} | made | decided

    @property
    def _asked(self) -> dict[str, object]:
        """What the settings of an answer say of the task."""
        asked = {"tal": (), "mr": ("task", "top"), "as": ("task",)}[self.task]
        return {name: getattr(self, name) for name in asked}

    def _answer(self, snippets: Snippets, queries: Queries) -> Answer | Explained:
        """Detections and curves, by whichever way the method has that does nothing twice."""
        method = self.method
        if isinstance(method, Explains):
            return method.explain(snippets, queries)
        if isinstance(method, Answers):
            return method.answer(snippets, queries)
        curves = method.curves(snippets, queries) if isinstance(method, HasCurves) else None
        return Answer(method.localize(snippets, queries), curves)

    def ranking(self) -> "Pipeline":
        """This pipeline, but its method decides nothing and ranks all it proposes, as mAP wants."""
        return replace(
            self, method=self._all_ranked(), task="tal", calibration=None, ranks_all=True
        )

    def _all_ranked(self, kept: Collection[str] = ()) -> Method:
        """The method with the settings that rank all it proposes, other than those ``kept``."""
        ranking = {n: value for n, value in type(self.method).RANKING.items() if n not in kept}
        method = copy(self.method)
        method.config = replace(method.config, **ranking)
        return method

    def calibrated(self, calibration: Fitted) -> "Pipeline":
        """This pipeline, but its method ranks, and what people marked decides.

        Raises ConfigError for a calibration of another backbone, method or settings, and for a
        pipeline of another task than tal.
        """
        if self.task != "tal":
            raise ConfigError(f"A calibration decides for the task tal, not for {self.task}.")
        ranking = self.ranking()
        made_by = MadeBy(
            self.encoder.name, self.encoder.fingerprint, self.method_name, ranking.settings
        )
        calibration.source.check(Source.of(made_by))
        return replace(ranking, calibration=calibration)

    def find(
        self,
        video: str | Path,
        queries: Queries | Sequence[str] = (),
        *,
        images: Sequence[str | Path] = (),
        priors: Priors | None = None,
        ask: Sequence[str] = (),
        progress: Progress | None = None,
    ) -> Detections:
        """When each query happens in the video, best first.

        ``images`` are queries too, and ``priors`` join the words that they are of. ``ask`` are
        questions beyond one label (docs/questions.md), each answered beside the queries. What a
        backbone cannot know of words is said: `Detections.not_understood`, `notes`. Raises
        VideoError for the video, QueryError for the queries, FormatError for the pictures.
        """
        if isinstance(queries, Queries):
            if images or priors or ask:
                raise QueryError("Encoded queries take no examples: give those to `queries`.")
            snippets = self.snippets(Path(video), progress=progress)
            return self.localize(snippets, queries, video=str(video))
        words = [queries] if isinstance(queries, str) else queries
        questions = self.questions(ask)
        names = [*words, *names_of(questions)]
        tidy = tidy_names(names) if names or not images else ()
        examples = examples_of(tidy, priors=priors, images=images)
        heard = self.hear(tidy, examples=examples)
        snippets = self.snippets(Path(video), progress=progress)
        # words after the video, where most mistakes are
        encoded = self.queries_of(heard, examples=examples)
        found = self.localize(snippets, encoded, video=str(video), heard=heard)
        return Detections.holding(answered(found, questions, words))
