"""One run: train where the method learns, answer, ask again with other words, and measure all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from openmoment.bench.job import Job
from openmoment.bench.measure import Stopwatch, processor_name
from openmoment.bench.record import Cost, Record
from openmoment.checkpoints.card import TrainingCard, read_card
from openmoment.datasets import DATASETS, load_either
from openmoment.datasets.base import Dataset, RetrievalDataset
from openmoment.encoders import load_encoder
from openmoment.errors import ConfigError
from openmoment.evaluation.diagnosis import ERRORS, KINDS, diagnose
from openmoment.evaluation.protocol import Protocol
from openmoment.evaluation.result import Card
from openmoment.experiments.detection import SnippetSource, run, text_checks
from openmoment.experiments.kept import keep
from openmoment.experiments.retrieval import keep_retrieval, run_retrieval, sentence_checks
from openmoment.experiments.segmentation import apart, run_segmentation
from openmoment.features.cache import Cache
from openmoment.methods import METHODS, preset_settings
from openmoment.methods.base import Learns
from openmoment.pipeline import load_pipeline
from openmoment.pipeline.answering import Pipeline
from openmoment.priors import read_priors
from openmoment.report.diagnosis import write_diagnosis
from openmoment.storage.atomic import write_text
from openmoment.training.processes import start_processes
from openmoment.training.run import class_splits, find_preset, is_done, make_plan, train_split

CHECKPOINT, RESULT, DIAGNOSIS = "checkpoint", "result", "diagnosis.html"


@dataclass(frozen=True)
class Answered:
    """What the evaluation of a task says."""

    card: Card
    metrics: Mapping[str, float]
    num_videos: int
    seconds: float
    peak_bytes: int | None
    text_check: Mapping[str, Mapping[str, float]]
    label_given: Mapping[str, float] = field(default_factory=dict[str, float])
    shares: Mapping[str, float] = field(default_factory=dict[str, float])
    gains: Mapping[str, float] = field(default_factory=dict[str, float])


def perform(job: Job, folder: Path) -> Record:
    """Do a run in its folder; a training that was stopped goes on. Raises OpenMomentError."""
    data = load_either(job.dataset, Path(job.root), exclude=job.exclude)
    checkpoint, training_bytes = None, None
    if learns(job):
        checkpoint = folder / CHECKPOINT
        training_bytes = _train(job, data, checkpoint)
    pipeline = _load(job, checkpoint)
    answered = _answer(job, data, pipeline, folder / RESULT)
    card = read_card(checkpoint) if checkpoint else None
    return Record(
        job=job,
        task=DATASETS[job.dataset].task,
        card=asdict(answered.card),
        metrics=answered.metrics,
        cost=_cost(job, pipeline, answered, card, training_bytes),
        label_given=answered.label_given,
        text_check=answered.text_check,
        shares=answered.shares,
        gains=answered.gains,
        seed=card.seed if card else None,
    )


def learns(job: Job) -> bool:
    """Whether the method has to be trained before it can be asked."""
    cls = METHODS[job.method]
    return issubclass(cls, Learns) and not cls.is_ready(job.set)


def _cost(
    job: Job,
    pipeline: Pipeline,
    answered: Answered,
    card: TrainingCard | None,
    training_bytes: int | None,
) -> Cost:
    method = pipeline.method
    parameters = method.parameters() if isinstance(method, nn.Module) else ()
    return Cost(
        inference_s=round(answered.seconds, 3),
        num_videos=answered.num_videos,
        num_parameters=sum(parameter.numel() for parameter in parameters),
        inference_bytes=answered.peak_bytes,
        training_s=round(card.seconds, 3) if card else None,
        training_bytes=training_bytes,
        threads=job.threads,
        processor=processor_name(job.device),
    )


# ---------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------


def _train(job: Job, data: Dataset | RetrievalDataset, folder: Path) -> int | None:
    """Train into a folder, or go on there; the peak of memory in bytes."""
    plan = make_plan(
        job.method,
        data,
        _path(job.features),
        load_encoder(job.backbone),
        videos=_path(job.videos),
        preset=job.preset,
        given=job.set,
        cache=Cache(),
        allow_missing=job.allow_missing,
        priors=_path(job.priors),
    )
    split = job.split if job.split.isdecimal() else None
    (wanted,) = class_splits(data, job.setting, split, job.unseen)
    folder.mkdir(parents=True, exist_ok=True)
    peak = folder.parent / "training_bytes"
    if is_done(plan, wanted, folder):
        return int(peak.read_text()) if peak.is_file() else None
    stopwatch = Stopwatch(job.device)
    train_split(plan, wanted, folder, processes=start_processes(job.device, plan.config.precision))
    found = stopwatch.peak_bytes()
    if found:
        write_text(str(found), peak)
    return found


def _load(job: Job, checkpoint: Path | None) -> Pipeline:
    """The method, ranking all that it proposes."""
    settings: dict[str, object] = {}
    if checkpoint is None:
        preset = find_preset(job.method, job.dataset, job.preset)
        settings = {**(preset_settings(job.method, preset) if preset else {}), **job.set}
    return load_pipeline(
        job.backbone,
        None if checkpoint else job.method,
        checkpoint=checkpoint,
        settings={**METHODS[job.method].RANKING, **settings},
        device=job.device,
        priors=read_priors(Path(job.priors)) if job.priors else None,
        is_judged=False,
    )


# ---------------------------------------------------------------------------------------------
# Answering
# ---------------------------------------------------------------------------------------------


def _answer(job: Job, data: Dataset | RetrievalDataset, pipeline: Pipeline, out: Path) -> Answered:
    if isinstance(data, RetrievalDataset):
        return _retrieve(job, data, _source(job, pipeline), out)
    split = (int(job.split),) if job.split.isdecimal() else ()
    protocol = Protocol(data, job.setting, split, subset=job.subset, unseen=job.unseen)
    if DATASETS[job.dataset].task == "segmentation":
        return _label_frames(job, protocol, _source(job, apart(pipeline)))
    return _detect(job, protocol, _source(job, pipeline), out)


def _source(job: Job, pipeline: Pipeline) -> SnippetSource:
    sees_frames = pipeline.traits.sees_frames
    if sees_frames and not job.videos:
        raise ConfigError(f"This {job.method} sees frames: give --videos {job.part}=DIR.")
    places = {"videos": _path(job.videos)} if sees_frames else {"features": _path(job.features)}
    return SnippetSource(pipeline, **places, captions=_path(job.captions))  # type: ignore[arg-type]


def _detect(job: Job, protocol: Protocol, source: SnippetSource, out: Path) -> Answered:
    stopwatch = Stopwatch(job.device)
    found = run(protocol, source, allow_missing=job.allow_missing)
    seconds, peak = stopwatch.seconds(), stopwatch.peak_bytes()
    keep(found.result, found.predictions, found.truth, out)
    checks = {
        name: run(protocol, source, allow_missing=True, rename=rename).result.mean
        for name, rename in _checks(job, text_checks())
    }
    (name,) = found.truth
    told = diagnose(found.predictions[name], found.truth[name], tious=protocol.tious)
    write_diagnosis(told, out / DIAGNOSIS, title=job.name)
    every = told.groups["all"]
    shares = zip(KINDS, every.share_of_all.tolist(), strict=True)
    return Answered(
        found.result.card,
        found.result.mean,
        len(found.truth[name]),
        seconds,
        peak,
        checks,
        found.result.label_given,
        {kind: share for kind, share in shares if share == share},
        dict(zip(ERRORS, every.gain.tolist(), strict=True)),
    )


def _retrieve(job: Job, data: RetrievalDataset, source: SnippetSource, out: Path) -> Answered:
    stopwatch = Stopwatch(job.device)
    found = run_retrieval(data, source, subset=job.subset, allow_missing=job.allow_missing)
    seconds, peak = stopwatch.seconds(), stopwatch.peak_bytes()
    keep_retrieval(found, found.to_dict(), out)
    checks = {
        name: run_retrieval(
            data, source, subset=job.subset, allow_missing=True, rename=rename
        ).metrics
        for name, rename in _checks(job, sentence_checks())
    }
    num_videos = len({moment.video for moment in found.moments})
    return Answered(found.card, found.metrics, num_videos, seconds, peak, checks)


def _label_frames(job: Job, protocol: Protocol, source: SnippetSource) -> Answered:
    stopwatch = Stopwatch(job.device)
    found = run_segmentation(protocol, source, allow_missing=job.allow_missing)
    seconds, peak = stopwatch.seconds(), stopwatch.peak_bytes()
    checks = {
        name: run_segmentation(protocol, source, allow_missing=True, rename=rename).metrics
        for name, rename in _checks(job, text_checks())
    }
    return Answered(found.card, found.metrics, found.num_videos, seconds, peak, checks)


def _checks(job: Job, checks: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(checks.items()) if job.text_check else []


def _path(text: str) -> Path | None:
    return Path(text) if text else None
