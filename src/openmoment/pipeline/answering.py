"""The main job: an encoder, a method and a cache, from a video and words to detections."""

from collections.abc import Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.calibration import Fitted, Source, read_calibration
from openmoment.config import to_table
from openmoment.encoders import AUTO, Encoder, load_encoder
from openmoment.encoders.base import Progress
from openmoment.encoders.joint import Pairing
from openmoment.encoders.motion.flow import flow_of
from openmoment.encoders.prompts import AS_IT_IS, encode_with
from openmoment.errors import ConfigError, QueryError
from openmoment.features.cache import Cache, sha256
from openmoment.features.captions import Captions
from openmoment.methods import DEFAULT, METHODS, Method, load_method
from openmoment.methods.background import BACKGROUND
from openmoment.methods.base import Answer, Answers, Explained, Explains, HasCurves, Learns
from openmoment.pipeline.tasks import TOP, Task, best_of_each, segment
from openmoment.postprocess import clip_to
from openmoment.priors.examples import Example, blend, describe, embed_pictures, examples_of
from openmoment.priors.files import Priors, read_priors
from openmoment.priors.pairs import encode_pairs
from openmoment.questions import Question, answered, names_of, parse
from openmoment.reviews import MadeBy
from openmoment.types import Captioned, Detections, Origin, Queries, Recipe, Snippets


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

    def to_task(self, task: Task | None = None, *, top: int = TOP) -> "Pipeline":
        """This pipeline, asked for a task: by default the one that its method was trained for.

        Sentences (mr) are embedded as they are, and ranked without any threshold but those that
        were asked for. Raises ConfigError for a method that was trained for another task.
        """
        own = trained_for(self.method)
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
        return replace(asked, method=asked._all_ranked(self.asked_for), templates=templates)

    def snippets(self, video: Path, *, progress: Progress | None = None) -> Snippets:
        """The video's features, from the cache if they are there. Raises VideoError."""
        if reads_other_features(self.method):
            raise ConfigError(
                f"This {self.method_name} reads features of another encoder, which are not made "
                "here from video: give feature files, --features DIR."
            )
        snippets = encode_snippets(video, self.encoder, self.cache, fps=self.fps, progress=progress)
        if not sees_flow(self.method):
            return snippets
        if self.flow is None:
            raise ConfigError(
                f"This {self.method_name} was trained on optical flow that is not made here from "
                "video: give feature files, --features DIR."
            )
        moving = encode_snippets(video, self.flow, self.cache, fps=self.fps, progress=progress)
        return replace(snippets, flow=moving)

    def queries(
        self, names: Sequence[str], *, examples: Mapping[str, Example] | None = None
    ) -> Queries:
        """Encode the words to look for, as `tidy_names` gives them, and examples of them.

        ``examples`` are those of `openmoment.priors.examples_of`; one whose name is no query yet
        becomes one. Raises QueryError, ConfigError for a method that cannot read examples.
        """
        pairing = method_pairing(self.method)
        if examples is None and self.priors is not None:
            tidy = tidy_names(names)
            known = any(name in self.priors for name in tidy)
            examples = examples_of(tidy, priors=self.priors) if known else None
        if examples and not (pairing or reads_embeddings_alone(self.method)):
            raise ConfigError(
                f"This {self.method_name} reads the words themselves, and takes no pictures and no "
                "descriptions. Use a training-free method: --method similarity."
            )
        own = method_templates(self.method)
        templates = self.templates or own
        asked = (*names, *(examples or ()))
        queries = encode_queries(asked, self.encoder, self.cache, templates=templates)
        queries = queries if own else replace(queries, variants=None)
        if pairing:
            return pair_queries(queries, pairing, self.encoder, self.cache, examples)
        return self._shown(queries, examples) if examples else queries

    def _shown(self, queries: Queries, examples: Mapping[str, Example]) -> Queries:
        """The queries, each joined by its sentences, as they are, and its pictures."""
        embeddings = queries.embeddings.copy()
        for row, name in enumerate(queries.names):
            if (example := examples.get(name)) is None:
                continue
            kinds = [embeddings[row : row + 1]] if example.has_words else []
            if example.texts:
                kinds.append(encode_with(AS_IT_IS, example.texts, self.encoder, self.cache))
            if example.images:
                kinds.append(embed_pictures(example.images, self.encoder, self.cache))
            embeddings[row] = blend(kinds, self.encoder.space)
        return replace(queries, embeddings=embeddings, examples=describe(examples))

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
        queries: Queries,
        *,
        video: str,
        explained: Explained | Answer | None = None,
    ) -> Detections:
        """The method's detections, with where they come from.

        ``explained`` is what the method's own `explain` or `answer` gave, if it was asked before.
        """
        answer = explained or self._answer(snippets, queries)
        found, curves = clip_to(answer.detections, snippets.duration_s), answer.curves
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
            | ({"examples": dict(queries.examples)} if queries.examples else {}),
            source_sha256=snippets.recipe.source_sha256,
            grid=snippets.grid,
            curves=None if curves is None else curves.astype(np.float32),
        )
        found = replace(found, origin=origin)
        match self.task:
            case "mr":
                return best_of_each(found, self.top)
            case "as":
                return segment(found, by_curves=trained_for(self.method) == "as")
            case _:
                return found

    @property
    def settings(self) -> dict[str, Any]:
        """What the settings of an answer say of how it is made."""
        made = {"checkpoint": self.checkpoint} if self.checkpoint else {}
        decided = {"calibration": self.calibration.fingerprint} if self.calibration else {}
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
        return replace(self, method=self._all_ranked(), task="tal", calibration=None)

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
        questions beyond one label (docs/questions.md), each answered beside the queries. Raises
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
        snippets = self.snippets(Path(video), progress=progress)
        # words after the video, where most mistakes are
        found = self.localize(snippets, self.queries(tidy, examples=examples), video=str(video))
        return answered(found, questions, words)


def reads_other_features(method: Method) -> bool:
    """Whether a method takes features of another encoder than the one that reads its words."""
    return getattr(method.config, "features", "joint") == "own"


def sees_flow(method: Method) -> bool:
    """Whether a method takes features of optical flow beside the others."""
    return getattr(method.config, "sees_flow", False)


def reads_embeddings_alone(method: Method) -> bool:
    """Whether all that a method knows of a query is its embedding."""
    reads_words = getattr(method.config, "adapt_text_encoder", False)
    return not (isinstance(method, Learns) or reads_words)


def trained_for(method: Method) -> Task | None:
    """The one task that a method answers; None for those that answer any."""
    return getattr(method.config, "task", None)


def method_templates(method: Method) -> tuple[str, ...]:
    """The sentences that a method reads names in; none for those that leave it to the backbone."""
    return getattr(method, "templates", ())


def method_pairing(method: Method) -> Pairing | None:
    """Which pairs of a picture and a sentence a method reads of each query."""
    return getattr(method, "pairing", None)


def pair_queries(
    queries: Queries,
    pairing: Pairing,
    encoder: Encoder,
    cache: Cache | None,
    examples: Mapping[str, Example] | None,
) -> Queries:
    """The queries, with what is generated about each as a joint encoder reads it."""
    pairs = encode_pairs(
        queries.names, queries.embeddings, pairing, encoder, cache, examples=examples
    )
    return replace(queries, pairs=pairs, examples=describe(examples) if examples else None)


def encode_snippets(
    video: Path,
    encoder: Encoder,
    cache: Cache | None,
    *,
    fps: float,
    progress: Progress | None = None,
) -> Snippets:
    """A video's features, from the cache if they are there. Raises VideoError."""
    digest = cache.sha256(video) if cache else sha256(video)
    known = cache.load(Recipe(encoder.name, encoder.fingerprint, fps, digest)) if cache else None
    if known:
        return known
    made = encoder.encode_video(video, fps=fps, source_sha256=digest, progress=progress)
    if cache:
        cache.store(made)
    return made


def encode_queries(
    names: Sequence[str],
    encoder: Encoder,
    cache: Cache | None,
    *,
    templates: Sequence[str] = (),
) -> Queries:
    """Names and background in an encoder's space, in ``templates`` or in the encoder's own.

    Raises QueryError.
    """
    tidy = tidy_names(names)
    texts = [*tidy, *BACKGROUND]
    if not templates:
        encode = encoder.encode_text
        vectors = cache.texts(encoder.fingerprint, texts, encode) if cache else encode(texts)
        return Queries(tidy, vectors[: len(tidy)], vectors[len(tidy) :])
    variants = np.stack([encode_with(t, texts, encoder, cache) for t in templates], axis=1)
    vectors = variants.mean(axis=1)
    return Queries(tidy, vectors[: len(tidy)], vectors[len(tidy) :], variants[: len(tidy)])


def tidy_names(names: Sequence[str]) -> tuple[str, ...]:
    """Queries without stray white space; repeated ones count once. Raises QueryError."""
    tidy = tuple(dict.fromkeys(map(tidy_name, names)))
    if not tidy:
        raise QueryError("No query given. Say what to look for, for example 'pole vault'.")
    if "" in tidy:
        raise QueryError("A query is empty. Say what to look for, for example 'pole vault'.")
    return tidy


def tidy_name(name: str) -> str:
    """Without stray white space."""
    return " ".join(name.split())


def load_pipeline(
    backbone: str = AUTO,
    method: str | None = None,
    *,
    checkpoint: Path | None = None,
    settings: Mapping[str, object] | None = None,
    fps: float | None = None,
    cache: Cache | None = None,
    use_cache: bool = True,
    device: str = "cpu",
    precision: str = "fp32",
    priors: Priors | None = None,
    calibration: Fitted | None = None,
) -> Pipeline:
    """A pipeline by names. ``fps`` is snippets per second of video, by default the backbone's.

    A ``checkpoint`` of `openmoment train` brings its method, its backbone and its rate.
    ``settings`` are the method's. ``cache`` is by default the user's. ``device`` and
    ``precision`` are the backbone's, and a checkpoint's. ``priors`` join the queries that they are
    of. A ``calibration`` decides instead of the method. Raises UnknownNameError, ConfigError,
    MissingWeightsError, FormatError, RecipeError for a backbone that is not the checkpoint's.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise ConfigError(f"fps must be over 0 and at most 1000 snippets per second, got {fps}.")
    own_cache = (cache or Cache()) if use_cache else None
    if checkpoint is None:
        name = method or DEFAULT
        cls = METHODS[name]
        if issubclass(cls, Learns) and not cls.is_ready(settings or {}):
            raise ConfigError(
                f"{name} has to be trained first: openmoment train {name} ... Then give "
                "--checkpoint DIR."
            )
        encoder = load_encoder(backbone, device=device, precision=precision)
        made = load_method(name, encoder.space, settings)
        rate = encoder.fps if fps is None else fps
        pipeline = Pipeline(
            encoder, made, name, rate, own_cache, priors=priors, asked_for=frozenset(settings or {})
        )
        return _decided(pipeline, calibration, settings)

    from openmoment.checkpoints.card import check_backbone, read_card
    from openmoment.checkpoints.weights import checkpoint_fingerprint, load_checkpoint

    card = read_card(checkpoint)
    if method not in (None, card.method):
        raise ConfigError(f"{checkpoint}: is a checkpoint of {card.method}, not of {method}.")
    wanted = card.backbone if backbone == AUTO else backbone
    encoder = load_encoder(wanted, device=device, precision=precision)
    check_backbone(card, encoder)
    trained = load_checkpoint(checkpoint, encoder.space).to(device).told(settings or {})
    rate = fps or card.fps or encoder.fps
    flow = flow_of(card.flow_encoder, card.flow_fingerprint, encoder)
    adapted = trained.adapted(encoder)
    made = Pipeline(
        adapted,
        trained,
        card.method,
        rate,
        own_cache,
        priors=priors,
        flow=flow,
        checkpoint=checkpoint_fingerprint(card, checkpoint),
        asked_for=frozenset(settings or {}),
    )
    return _decided(made, calibration, settings)


def _decided(
    pipeline: Pipeline, calibration: Fitted | None, settings: Mapping[str, object] | None
) -> Pipeline:
    """The pipeline, decided by a calibration if there is one, which no setting may contradict."""
    if calibration is None:
        return pipeline
    decided = sorted(set(settings or {}) & set(type(pipeline.method).RANKING))
    if decided:
        raise ConfigError(f"{', '.join(decided)}: the calibration decides that. Leave it out.")
    return pipeline.calibrated(calibration)


def find(
    video: str | Path,
    queries: Sequence[str] = (),
    *,
    images: Sequence[str | Path] = (),
    priors: str | Path | None = None,
    ask: Sequence[str] = (),
    backbone: str = AUTO,
    method: str | None = None,
    checkpoint: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
    fps: float | None = None,
    task: Task | None = None,
    top: int = TOP,
    calibration: str | Path | None = None,
) -> Detections:
    """When each of ``queries`` happens in ``video``: the main job, with the usual parts.

    >>> found = openmoment.find("match.mp4", ["tennis serve", "players shaking hands"])
    >>> found = openmoment.find("match.mp4", images=["serve.jpg"])
    >>> found = openmoment.find("match.mp4", ask=['"tennis serve" then "applause" within 10 s'])

    ``images`` are examples: each is looked for under its file's stem, together with the words of
    that name. ``priors`` is a folder of descriptions and pictures of the queries. ``ask`` are
    questions beyond one label (docs/questions.md).

    ``task`` is "tal" for actions, "mr" for the ``top`` moments that each sentence may mean, or
    "as" for one query, or none, at any time; by default the checkpoint's, else "tal". For several
    questions or videos make a pipeline once with `load_pipeline`. ``calibration`` is a file of
    `openmoment calibrate`, which then decides. Raises OpenMomentError for bad input.
    """
    pipeline = load_pipeline(
        backbone,
        method,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        settings=settings,
        fps=fps,
        calibration=None if calibration is None else read_calibration(Path(calibration)),
    )
    known = None if priors is None else read_priors(priors)
    asked = pipeline.to_task(task, top=top)
    return asked.find(video, queries, images=images, priors=known, ask=ask)
