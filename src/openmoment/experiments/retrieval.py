"""A method over a dataset of moment retrieval: every sentence asked, and its moments scored.

All sentences of a video are asked at once, and each one's moments are ranked by themselves.
Does the method read them? `sentence_checks` asks with sentences exchanged and with nonsense.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from openmoment.datasets import DATASETS, load_retrieval
from openmoment.datasets.base import Moment, RetrievalDataset
from openmoment.errors import FeatureError
from openmoment.evaluation.published import Published, published_beside
from openmoment.evaluation.result import Card, made_here
from openmoment.evaluation.retrieval import (
    MAX_WINDOWS,
    Retrieved,
    highlights,
    metrics_by_name,
)
from openmoment.evaluation.retrieval_files import (
    read_predictions,
    read_ratings,
    read_saliency,
    read_truth,
    write_predictions,
    write_queries,
)
from openmoment.experiments.contender import Contender, Rename, SnippetSource
from openmoment.experiments.detection import exchanged, find_missing, made_by, nonsense
from openmoment.experiments.progress import Advance
from openmoment.experiments.truth import require_place
from openmoment.pipeline.queries import tidy_name
from openmoment.storage.atomic import write_text
from openmoment.storage.reading import read_text
from openmoment.types import Detections, Pairs, Queries

SCHEMA = "openmoment-retrieval/1"
_RATED = "qvhighlights"


@dataclass(frozen=True)
class Sentences:
    """Where the sentences are: official files below ``root``, or one file."""

    name: str
    gt: Path | None = None
    root: Path | None = None
    subset: str | None = None

    def load(self) -> RetrievalDataset:
        """Raises ConfigError where no place is given, FormatError."""
        require_place(self.gt, self.root)
        return load_retrieval(self.name, self.root or Path(), annotations=self.gt)

    def windows(self) -> Mapping[str, Any]:
        """The annotated segments of each query; the one file may be QVHighlights-style JSONL."""
        if self.gt and self.gt.suffix == ".jsonl":
            return read_truth(self.gt)
        data = self.load()
        moments = data.subset(self.subset or data.test_subset)
        return {moment.query_id: moment.windows for moment in moments}


# ---------------------------------------------------------------------------------------------
# A prediction file
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileScore:
    """How good the moments of a prediction file are."""

    file: Path
    profile: str
    num_queries: int
    num_answered: int
    metrics: Mapping[str, float]
    published: tuple[Published, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "profile": self.profile,
            "queries": self.num_queries,
            "answered": self.num_answered,
            "metrics": dict(self.metrics),
            "published_percent": _plain(self.published),
        }


def score_file(predictions: Path, sentences: Sentences) -> FileScore:
    """Score QVHighlights-style JSONL of any dataset of moment retrieval. Raises FormatError."""
    name, gt, truth = sentences.name, sentences.gt, sentences.windows()
    found = read_predictions(predictions)
    metrics = metrics_by_name(DATASETS[name].profile, found, truth)
    if name == _RATED and gt and gt.suffix == ".jsonl":
        metrics |= _highlights(predictions, gt)
    published = published_beside(name, "closed")
    return FileScore(predictions, name, len(truth), len(found), metrics, published)


def _highlights(predictions: Path, gt: Path) -> dict[str, float]:
    """Highlight detection, where both files hold saliency scores."""
    if '"pred_saliency_scores"' not in read_text(predictions):
        return {}
    scores = read_saliency(predictions)
    very_good = highlights(scores, read_ratings(gt))["VeryGood"]
    return {"HL mAP": very_good.mean_ap, "HL HIT@1": very_good.hit1}


# ---------------------------------------------------------------------------------------------
# A method
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RetrievalRun:
    """What a method found for the sentences of a subset, and how good that is."""

    card: Card
    metrics: Mapping[str, float]
    """By the names that papers use, as fractions."""
    found: Mapping[str, Retrieved]
    """By query id."""
    moments: tuple[Moment, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "schema": SCHEMA,
            "card": asdict(self.card),
            "num_queries": len(self.moments),
            "num_videos": len({moment.video for moment in self.moments}),
            "metrics": dict(self.metrics),
        }


def retrieve_with_checks(
    sentences: Sentences, contender: Contender
) -> tuple[RetrievalRun, dict[str, Mapping[str, float]]]:
    """Ask a method for every sentence of a subset, and again for each text check: its metrics.

    Raises OpenMomentError.
    """
    source = contender.source(contender.load(contender.checkpoint))
    data, subset = sentences.load(), sentences.subset
    with contender.bar(source.pipeline.method_name) as advance:
        run = run_retrieval(
            data, source, subset=subset, allow_missing=contender.allow_missing, advance=advance
        )

    def again(rename: Rename, advance: Advance | None) -> Mapping[str, float]:
        return run_retrieval(
            data, source, subset=subset, allow_missing=True, rename=rename, advance=advance
        ).metrics

    return run, contender.ask_again(sentence_checks(), again)


def run_retrieval(
    dataset: RetrievalDataset,
    source: SnippetSource,
    *,
    subset: str | None = None,
    allow_missing: bool = False,
    rename: Rename = tuple,
    advance: Advance | None = None,
) -> RetrievalRun:
    """Ask for every sentence of a subset, by default that which papers test on, and score it.

    Sentences are encoded once, as they are; up to `MAX_WINDOWS` moments of each are kept.
    ``rename`` takes the distinct sentences. Raises ConfigError for a method that was trained for
    classes, FeatureError for videos without features, unless ``allow_missing``: then their
    sentences are left out, and the card lists the videos.
    """
    start, subset = time.perf_counter(), subset or dataset.test_subset
    source = replace(source, pipeline=source.pipeline.to_task("mr", top=MAX_WINDOWS))
    paths = source.paths()
    missing = find_missing(
        {moment.video for moment in dataset.subset(subset)}, paths, allow_missing=allow_missing
    )
    moments = tuple(m for m in dataset.subset(subset) if m.video in paths)
    if not moments:
        raise FeatureError(f"{dataset.name} {subset}: no sentence's video has features.")
    asked = Asked(source, moments, rename)
    found: dict[str, Retrieved] = {}
    videos = list(dict.fromkeys(moment.video for moment in moments))
    for done, video in enumerate(videos, start=1):
        found |= asked.answer(video)
        if advance:
            advance(done, len(videos))
    metrics = metrics_by_name(dataset.profile, found, {m.query_id: m.windows for m in moments})
    card = Card(
        dataset=dataset.name,
        subset=subset,
        profile=dataset.profile,
        tious=(),
        missing=missing,
        seconds=round(time.perf_counter() - start, 1),
        **made_by(source.pipeline),  # type: ignore[arg-type]
        **made_here(),  # type: ignore[arg-type]
    )
    return RetrievalRun(card, metrics, found, moments)


class Asked:
    """The sentences of videos, encoded once, and what they are asked as."""

    def __init__(self, source: SnippetSource, moments: Sequence[Moment], rename: Rename) -> None:
        sentences = tuple(dict.fromkeys(tidy_name(moment.query) for moment in moments))
        self._source, self._paths = source, source.paths()
        self._queries = source.pipeline.queries(rename(sentences))
        self._rows = {sentence: row for row, sentence in enumerate(sentences)}
        self._told: dict[str, list[Moment]] = {}
        for moment in moments:
            self._told.setdefault(moment.video, []).append(moment)

    def answer(self, video: str) -> dict[str, Retrieved]:
        """What is found for each sentence of a video, by query id."""
        snippets = self._source.load(self._paths[video])
        told = {moment.query_id: tidy_name(moment.query) for moment in self._told[video]}
        sentences = list(dict.fromkeys(told.values()))
        queries = _part(self._queries, [self._rows[sentence] for sentence in sentences])
        found = self._source.pipeline.localize(snippets, queries, video=video)
        return {
            query_id: _retrieved(found, sentences.index(sentence))
            for query_id, sentence in told.items()
        }


def _part(queries: Queries, rows: list[int]) -> Queries:
    variants, pairs = queries.variants, queries.pairs
    return replace(
        queries,
        names=tuple(queries.names[row] for row in rows),
        embeddings=queries.embeddings[rows],
        variants=None if variants is None else variants[rows],
        pairs=None if pairs is None else Pairs(pairs.tokens[rows], pairs.points[rows]),
    )


def _retrieved(found: Detections, label: int) -> Retrieved:
    own = found[found.labels == label]
    return Retrieved(own.segments.astype(np.float64), own.scores.astype(np.float64))


# ---------------------------------------------------------------------------------------------
# Does it read its text?
# ---------------------------------------------------------------------------------------------


def sentence_checks(seed: int = 0) -> Mapping[str, Rename]:
    """The two ways to take the meaning out; the answers count for the true sentences."""
    return {
        "sentences exchanged": lambda sentences: exchanged(sentences, seed),
        "nonsense sentences": lambda sentences: nonsense_sentences(sentences, seed),
    }


def nonsense_sentences(sentences: Sequence[str], seed: int) -> tuple[str, ...]:
    """For each sentence one of as many words that mean nothing."""
    lengths = [len(sentence.split()) for sentence in sentences]
    words = iter(nonsense(sum(lengths), seed))
    return tuple(" ".join(next(words) for _ in range(length)) for length in lengths)


# ---------------------------------------------------------------------------------------------
# A result on disk
# ---------------------------------------------------------------------------------------------


def to_document(run: RetrievalRun, checks: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The result as JSON has it, with what papers report of the dataset."""
    document = run.to_dict()
    if checks:
        document["text_check"] = {check: dict(metrics) for check, metrics in checks.items()}
    document["published_percent"] = _plain(published_beside(run.card.dataset, "closed"))
    return document


def _plain(published: Sequence[Published]) -> list[dict[str, Any]]:
    return [{**vars(row), "percent": dict(row.percent)} for row in published]


def keep_retrieval(run: RetrievalRun, document: Mapping[str, Any], folder: Path) -> None:
    """Write a result as ``document`` tells it, with its predictions and ground truth.

    ``result.json``, ``predictions.jsonl`` and ``truth.jsonl``, into a folder, which is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(run.found, run.moments, folder / "predictions.jsonl")
    write_queries(run.moments, folder / "truth.jsonl")
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", folder / "result.json")
