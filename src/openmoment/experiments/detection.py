"""A method over a dataset: features in, predictions and a result with its card out.

Features come from feature files or are made from videos once, and serve every split; words are
encoded once per set of names. Does the method read its text at all? `text_check` asks with the
names exchanged and with nonsense.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmoment.config import to_table
from openmoment.datasets.base import prompt_name
from openmoment.errors import FeatureError
from openmoment.evaluation.protocol import Protocol, Run, only_known, score_split
from openmoment.evaluation.result import Result
from openmoment.experiments.contender import Contender, Rename, SnippetSource
from openmoment.experiments.progress import Advance
from openmoment.experiments.proposals import read_proposals
from openmoment.methods.base import TakesTruth
from openmoment.pipeline.answering import Pipeline
from openmoment.types import Detections

Trained = Callable[[str], Pipeline]
"""From a split's name to the pipeline that was trained for it."""

_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


def detect_with_checks(
    protocol: Protocol, contender: Contender, *, proposals: Path | None = None
) -> tuple[Run, dict[str, Result]]:
    """Run a method over a dataset, and again for each text check.

    ``proposals`` is a file of others' proposals, for methods that classify them. Raises
    OpenMomentError.
    """
    trained = contender.trained(protocol)
    pipeline = trained.first() if trained else contender.load(None)
    source = contender.source(pipeline, read_proposals(proposals) if proposals else None)
    with contender.bar(pipeline.method_name) as advance:
        found = run(
            protocol,
            source,
            trained=trained,
            trained_on=trained.trained_on if trained else (),
            allow_missing=contender.allow_missing,
            advance=advance,
        )

    def again(rename: Rename, advance: Advance | None) -> Result:
        return run(
            protocol,
            source,
            trained=trained,
            allow_missing=True,
            rename=rename,
            advance=advance,
        ).result

    return found, contender.ask_again(text_checks(), again)


def run(
    protocol: Protocol,
    source: SnippetSource,
    *,
    trained: Trained | None = None,
    trained_on: tuple[str, ...] = (),
    tells_truth: bool = False,
    allow_missing: bool = False,
    rename: Rename = tuple,
    seed: int | None = None,
    advance: Advance | None = None,
) -> Run:
    """Localize the candidate classes in every test video of every split, and score it.

    ``trained`` gives each split its own pipeline, by default the source's; ``trained_on`` are
    classes for the card. ``tells_truth`` is for oracles, which are told what there is to find.
    Raises FeatureError for videos without features, unless ``allow_missing``: then they are left
    out of the ground truth, and the card lists them.
    """
    parts, paths = protocol.parts, source.paths()
    wanted = {video for part in parts.values() for video in part.test}
    missing = find_missing(wanted, paths, allow_missing=allow_missing)
    truth = {
        name: {v: true for v, true in part.test.items() if v in paths}
        for name, part in parts.items()
    }
    total, done, start = sum(map(len, truth.values())), 0, time.perf_counter()
    predictions: dict[str, dict[str, Detections]] = {}
    scores = []
    for name, part in parts.items():
        pipeline = trained(name) if trained else source.pipeline
        shown = replace(source, pipeline=pipeline)  # a split may see through a tower of its own
        asked = rename([prompt_name(candidate) for candidate in part.candidates])
        queries = pipeline.queries(asked)
        predictions[name] = {}
        for video in truth[name]:
            snippets = shown.load(paths[video])
            method, answer = pipeline.method, None
            if tells_truth and pipeline.traits.is_told_truth:
                assert isinstance(method, TakesTruth)
                answer = method.answer(snippets, queries, truth=truth[name][video])
            found = pipeline.localize(snippets, queries, video=video, explained=answer)
            found = replace(found, names=part.candidates)
            predictions[name][video] = only_known(protocol.dataset, video, found)
            done += 1
            if advance:
                advance(done, total)
        if not truth[name]:
            raise FeatureError(f"Split {name} has no test video with features.")
        scores.append(score_split(name, predictions[name], truth[name], protocol.tious))
    card = protocol.card(
        **made_by(source.pipeline),
        missing=missing,
        trained_on=trained_on,
        seed=seed,
        **_made_elsewhere(source),
        seconds=round(time.perf_counter() - start, 1),
    )
    decision = source.pipeline.shipped_decision
    return Run(Result(card, tuple(scores)), predictions, truth, decision=decision)


def find_missing(
    wanted: Collection[str], paths: Collection[str], *, allow_missing: bool
) -> tuple[str, ...]:
    """The wanted videos without a file. Raises FeatureError for any, unless ``allow_missing``."""
    missing = tuple(sorted(video for video in wanted if video not in paths))
    if missing and not allow_missing:
        raise FeatureError(
            f"{len(missing)} test videos have no file, the first is {missing[0]!r}. Add them, or "
            "declare them missing with --allow-missing."
        )
    return missing


def _made_elsewhere(source: SnippetSource) -> dict[str, str]:
    """What a card says of proposals: who made them may have met the unseen classes."""
    if source.proposals is None:
        return {}
    return {"external_scores": f"proposals of {source.proposals.path.name}"}


def made_by(pipeline: Pipeline) -> dict[str, object]:
    """What a card says of the method and its backbone."""
    return {
        "method": pipeline.method_name,
        "settings": to_table(pipeline.method.config),
        "backbone": pipeline.encoder.name,
        "fingerprint": pipeline.encoder.fingerprint,
        "fps": pipeline.fps,
    }


# ---------------------------------------------------------------------------------------------
# Does it read its text?
# ---------------------------------------------------------------------------------------------


def text_checks(seed: int = 0) -> Mapping[str, Rename]:
    """The two ways to take the meaning out of the names; the answers count for the true ones."""
    return {
        "names exchanged": lambda names: exchanged(names, seed),
        "nonsense words": lambda names: nonsense(len(names), seed),
    }


def exchanged(names: Sequence[str], seed: int) -> tuple[str, ...]:
    """The same names in another order, none of them where it was; needs at least two."""
    order = np.random.default_rng(seed).permutation(len(names))
    moved = np.empty(len(names), dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return tuple(names[i] for i in moved.tolist())


def nonsense(number: int, seed: int) -> tuple[str, ...]:
    """So many different words that can be said and mean nothing."""
    return tuple(_words(number, np.random.default_rng(seed)))


def _words(number: int, rng: np.random.Generator) -> Iterator[str]:
    seen: set[str] = set()
    while len(seen) < number:
        syllables = [rng.choice(list(_CONSONANTS)) + rng.choice(list(_VOWELS)) for _ in range(3)]
        word = "".join(syllables) + str(rng.choice(list(_CONSONANTS)))
        if word not in seen:
            seen.add(word)
            yield word
