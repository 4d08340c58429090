"""A method asked of videos at hand, one after the other: what it finds, and what it cannot read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from openmoment.encoders.base import Progress
from openmoment.errors import ConfigError, FormatError, OpenMomentError
from openmoment.experiments.progress import Bar, Tell, no_bar
from openmoment.export.json import to_document
from openmoment.features.captions import captions_for
from openmoment.methods.base import Explains
from openmoment.pipeline.answering import Pipeline
from openmoment.pipeline.heard import Heard
from openmoment.pipeline.queries import tidy_names
from openmoment.priors import Example, examples_of, read_priors
from openmoment.questions import Question, answered, names_of
from openmoment.types import Detections, Queries, Snippets


@dataclass
class Answers:
    """What a run found, and what it could not read."""

    is_folder: bool
    found: dict[str, Detections] = field(default_factory=dict)
    ranked: dict[str, Detections] = field(default_factory=dict)
    """Everything that the method proposes, where predictions are kept."""
    explained: dict[str, Any] = field(default_factory=dict)
    """How each answer came about, and its grid, where that was asked for."""
    failed: dict[str, str] = field(default_factory=dict)

    def all_found(self) -> Detections | dict[str, Detections]:
        """One video's answer by itself; of a folder, all by path."""
        return self.found if self.is_folder else next(iter(self.found.values()))

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: one video's answer, or a list of them and of failures."""
        document = to_document(self.all_found())
        if not self.is_folder:
            return document
        failed = [{"path": path, "error": message} for path, message in self.failed.items()]
        return document | {"failed": failed}


@dataclass(frozen=True)
class Asking:
    """What is asked of every video."""

    pipeline: Pipeline
    heard: Heard
    """All queries, also those of the questions."""
    words: Sequence[str] = ()
    questions: Sequence[Question] = ()
    examples: Mapping[str, Example] = field(default_factory=dict[str, Example])
    captions: Path | None = None
    ranking: Pipeline | None = None
    """Ranks all that the method proposes, where that is kept."""
    is_explained: bool = False

    def snippets(self, path: Path, progress: Progress | None) -> Snippets:
        """The video's features, with its captions where there are some."""
        snippets = self.pipeline.snippets(path, progress=progress)
        if self.captions is None:
            return snippets
        captions = captions_for(path.stem, self.captions)
        if captions is None:
            raise FormatError(f"{self.captions}: holds no captions of {path.name}.")
        return self.pipeline.captioned(snippets, captions)

    def answer(
        self, path: Path, snippets: Snippets, queries: Queries | None, answers: Answers
    ) -> Detections:
        """Localize one video, and keep what else was asked for."""
        explained = None
        video = str(path)
        if self.is_explained and queries is not None:
            explained = self.pipeline.explain(snippets, queries)
            answers.explained[video] = (explained, snippets.grid)
        if self.ranking:
            answers.ranked[video] = self.ranking.localize(
                snippets, queries, video=video, heard=self.heard
            )
        found = self.pipeline.localize(
            snippets, queries, video=video, explained=explained, heard=self.heard
        )
        return answered(found, self.questions, self.words)


def prepare(
    pipeline: Pipeline,
    words: Sequence[str],
    questions: Sequence[Question] = (),
    *,
    priors: Path | None = None,
    images: Sequence[Path] = (),
    captions: Path | None = None,
    is_ranked: bool = False,
    is_explained: bool = False,
) -> tuple[Asking, list[str]]:
    """What is asked of every video, and the queries of which ``priors`` has nothing.

    ``images`` are queries too, or join the words of their files' names. With ``is_ranked`` all
    that the method proposes is kept, with ``is_explained`` how it came to its answer. Raises
    QueryError, FormatError.
    """
    looked_for = [*words, *names_of(questions)]
    names = tidy_names(looked_for) if looked_for or not images else ()
    examples: dict[str, Example] = {}
    bare: list[str] = []
    if priors or images:
        known = read_priors(priors) if priors else None
        examples = examples_of(names, priors=known, images=images)
        bare = [name for name in names if known is not None and name not in known]
    asking = Asking(
        pipeline,
        pipeline.hear(names, examples=examples),
        words,
        questions,
        examples,
        captions=captions,
        ranking=replace(pipeline.ranking(), is_judged=False) if is_ranked else None,
        is_explained=is_explained,
    )
    return asking, bare


def ask(
    asking: Asking,
    videos: Sequence[Path],
    answers: Answers,
    *,
    bar: Bar = no_bar,
    tell: Tell | None = None,
) -> Iterator[tuple[Path, Detections]]:
    """One video after the other; of several, one that cannot be read is told and passed over."""
    queries: Queries | None = None
    for number, path in enumerate(videos, start=1):
        label = f"{number}/{len(videos)} {path.name}" if len(videos) > 1 else path.name
        try:
            with bar(label) as progress:
                snippets = asking.snippets(path, progress)
            if queries is None:  # once, and after the first video, where most mistakes are
                with bar("reading the words") as progress:
                    queries = asking.pipeline.queries_of(
                        asking.heard, examples=asking.examples, progress=progress
                    )
            found = asking.answer(path, snippets, queries, answers)
        except OpenMomentError as error:
            if len(videos) == 1:
                raise
            answers.failed[str(path)] = " ".join(str(error).split())
            if tell:
                tell(answers.failed[str(path)])
            continue
        answers.found[str(path)] = found
        yield path, found


def require_explains(pipeline: Pipeline) -> None:
    """Raises ConfigError for a method that cannot say how it came to an answer."""
    if not isinstance(pipeline.method, Explains):
        raise ConfigError(
            f"--explain: {pipeline.method_name} has nothing to explain. Use --method t3al."
        )
