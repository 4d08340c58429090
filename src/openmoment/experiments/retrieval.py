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

from openmoment.datasets.base import Moment, RetrievalDataset
from openmoment.errors import FeatureError
from openmoment.evaluation.result import Card, made_here
from openmoment.evaluation.retrieval import MAX_WINDOWS, Retrieved, metrics_by_name
from openmoment.evaluation.retrieval_files import write_predictions, write_queries
from openmoment.experiments.detection import (
    Advance,
    Rename,
    SnippetSource,
    exchanged,
    find_missing,
    made_by,
    nonsense,
)
from openmoment.pipeline.queries import tidy_name
from openmoment.storage.atomic import write_text
from openmoment.types import Detections, Pairs, Queries

SCHEMA = "openmoment-retrieval/1"


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


def keep_retrieval(run: RetrievalRun, document: Mapping[str, Any], folder: Path) -> None:
    """Write a result as ``document`` tells it, with its predictions and ground truth.

    ``result.json``, ``predictions.jsonl`` and ``truth.jsonl``, into a folder, which is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(run.found, run.moments, folder / "predictions.jsonl")
    write_queries(run.moments, folder / "truth.jsonl")
    write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", folder / "result.json")
