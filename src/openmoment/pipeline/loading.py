"""A pipeline by names, and the main job in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from openmoment.calibration import Fitted, read_calibration
from openmoment.checkpoints.card import check_backbone, read_card
from openmoment.detections import Detections
from openmoment.encoders import AUTO, load_encoder
from openmoment.encoders.motion.flow import flow_of
from openmoment.errors import ConfigError
from openmoment.features.cache import Cache
from openmoment.methods import DEFAULT, METHODS, load_method
from openmoment.methods.base import Learns
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.tasks import TOP
from openmoment.priors.files import Priors, read_priors
from openmoment.types import Task


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
    is_judged: bool = True,
) -> Pipeline:
    """A pipeline by names. ``fps`` is snippets per second of video, by default the backbone's.

    A ``checkpoint`` of `openmoment train` brings its method, its backbone and its rate.
    ``settings`` are the method's. ``cache`` is by default the user's. ``device`` and
    ``precision`` are the backbone's, and a checkpoint's. ``priors`` join the queries that they are
    of. A ``calibration`` decides instead of the method. ``is_judged`` is for people: whether
    methods that tell presence in their own way are held against the bank (`Pipeline.is_judged`);
    benchmarks want their own scores. Raises UnknownNameError, ConfigError,
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
            encoder,
            made,
            name,
            rate,
            own_cache,
            priors=priors,
            asked_for=frozenset(settings or {}),
            is_judged=is_judged,
        )
        return _decided(pipeline, calibration, settings)

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
        is_judged=is_judged,
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
