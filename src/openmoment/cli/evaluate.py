"""openmoment evaluate: score a prediction file, or a method over a dataset."""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.reviewed import holds_reviews, load_reviews
from openmoment.cli.options.trained import checkpoints_of
from openmoment.cli.retrieval import (
    Sentences,
    evaluate_retrieval,
    is_retrieval,
    refuse_options,
    score_retrieval,
)
from openmoment.cli.segmentation import evaluate_segmentation, is_segmentation, refuse_moments
from openmoment.cli.text.console import (
    EVERY_SPLIT,
    Backbone,
    CheckpointPath,
    Device,
    Json,
    Precision,
    Preset,
    PriorsPath,
    Settings,
    UnseenNames,
    list_names,
    list_numbers,
    method_settings,
    print_json,
    progress_bar,
    say,
    verb,
)
from openmoment.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from openmoment.datasets.base import Dataset
    from openmoment.evaluation.protocol import Protocol, Run
    from openmoment.evaluation.result import Result
    from openmoment.experiments.detection import Checkpoints, SnippetSource
    from openmoment.pipeline.answering import Pipeline
    from openmoment.priors import Priors


class Form(StrEnum):
    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


class RuleChoice(StrEnum):
    OPENMOMENT = "openmoment"
    GAP = "gap-code"
    T3AL = "t3al-code"
    STALE = "stale-code"


_OWN = "folder"

FormOption = Annotated[Form, typer.Option("--format", help="Of the tables.")]


@verb
def evaluate_verb(
    predictions: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PRED]",
            help="A prediction file, or a folder with one file a split: 0.json, 1.json …",
            show_default=False,
        ),
    ] = None,
    gt: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="The ground truth: an annotation file, or reviews (a folder of)."
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="openmoment datasets list; by default as --profile."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The dataset's annotations, for --dataset.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="thumos14, activitynet, fine (tIoU 0.1 to 0.7), or a retrieval dataset.",
        ),
    ] = None,
    subset: Annotated[
        str | None, typer.Option(metavar="NAME", help="By default the one that papers test on.")
    ] = None,
    setting: Annotated[
        str, typer.Option(metavar="NAME", help="75-25 or 50-50: only unseen classes; or all.")
    ] = "all",
    splits: Annotated[
        str, typer.Option(metavar="LIST", help="Which of the ten, such as 0,1,2.")
    ] = EVERY_SPLIT,
    unseen: UnseenNames = None,
    rule: Annotated[
        RuleChoice, typer.Option(help="By whose convention videos and instances are kept.")
    ] = RuleChoice.OPENMOMENT,
    generalized: Annotated[
        bool, typer.Option("--generalized", help="All classes are candidates, not only unseen.")
    ] = False,
    exclude: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="A named list of videos to leave out.",
            show_default="none for a file, default for a method",
        ),
    ] = None,
    method: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run this method: openmoment models.")
    ] = None,
    checkpoint: CheckpointPath = None,
    backbone: Backbone = "auto",
    set_: Settings = None,
    preset: Preset = None,
    features: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Feature files of the videos.")
    ] = None,
    videos: Annotated[Path | None, typer.Option(metavar="DIR", help="The videos.")] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Captions of the videos: openmoment features caption."),
    ] = None,
    proposals: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Proposals of others, for methods that classify them."),
    ] = None,
    priors: PriorsPath = None,
    device: Device = "cpu",
    precision: Precision = "fp32",
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out videos that are not there.")
    ] = False,
    regions: Annotated[
        bool,
        typer.Option(
            "--label-given", help="Also R@tIoU and mIoU with the label given, as GRIZAL reports."
        ),
    ] = False,
    recall: Annotated[
        bool,
        typer.Option("--recall", help="Also AR@AN and its AUC: what is proposed, labels aside."),
    ] = False,
    text_check: Annotated[
        bool,
        typer.Option("--text-check", help="Ask again with exchanged names and with nonsense."),
    ] = False,
    external_scores: Annotated[
        str, typer.Option(metavar="TEXT", help="Scores of others that PRED is made with.")
    ] = "none",
    only_predicted: Annotated[
        bool,
        typer.Option("--only-predicted", help="Count only videos with predictions."),
    ] = False,
    review: Annotated[
        float | None,
        typer.Option(metavar="RECALL", help="What reviewing costs at this recall, such as 0.8."),
    ] = None,
    diagnose: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page of what goes wrong.")
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="Print each class's AP.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep result, predictions and ground truth.")
    ] = None,
    form: FormOption = Form.TEXT,
    as_json: Json = False,
) -> None:
    """Score a prediction file, or run and score a method over a dataset.

    openmoment evaluate PRED.json --gt GT.json --profile thumos14

    openmoment evaluate PRED.json --gt FOLDER/openmoment/reviews

    openmoment evaluate --method similarity --dataset thumos14 --root DIR --features DIR

    openmoment evaluate --checkpoint DIR --dataset thumos14 --root DIR --features DIR …

    Datasets of moment retrieval are asked for every sentence: --dataset charades-sta …
    """
    from openmoment.cli.text.results import Report
    from openmoment.evaluation.protocol import ALL_CLASSES, Protocol
    from openmoment.experiments.detection import SnippetSource
    from openmoment.experiments.kept import keep
    from openmoment.experiments.proposals import read_proposals
    from openmoment.report.diagnosis import write_diagnosis

    _refuse_nothing_to_score(predictions, method, checkpoint)
    given = [*(set_ or []), *(["proposals=file"] if proposals else [])]
    how = Asked(method, preset, given, backbone, device, precision, priors)
    if (name := dataset or profile) and is_retrieval(name):
        of_classes = (setting != ALL_CLASSES, unseen, generalized, classes, review, diagnose)
        refuse_options(name, *of_classes, recall, regions)
        sentences = Sentences(name, gt, root, subset)
        if predictions:
            score_retrieval(predictions, sentences, form=form.value, as_json=as_json)
            return
        evaluate_retrieval(
            SnippetSource(how.load(checkpoint), features, videos, captions),
            sentences,
            text_check=text_check,
            allow_missing=allow_missing,
            out=out,
            form=form.value,
            as_json=as_json,
        )
        return
    exclusions = exclude or ("none" if predictions else "default")
    data = _load(gt, dataset, root, profile, exclusions)
    protocol = Protocol(
        data, setting, list_numbers(splits), rule.value, subset, generalized, list_names(unseen)
    )
    if is_segmentation(data.name):
        refuse_moments(data.name, predictions, review, diagnose)
        evaluate_segmentation(
            protocol,
            lambda pipeline: SnippetSource(pipeline, features, videos, captions),
            how.load,
            checkpoint,
            keeps_overlap=any(one.startswith("overlap=") for one in set_ or []),
            text_check=text_check,
            allow_missing=allow_missing,
            with_classes=classes,
            out=out,
            form=form.value,
            as_json=as_json,
        )
        return
    checks: dict[str, Result] = {}
    if predictions:
        if text_check:
            raise ConfigError("--text-check needs --method: a file cannot be asked again.")
        run = _score_predictions(predictions, protocol, external_scores, only_predicted)
    else:
        trained = checkpoints_of(checkpoint, protocol, how.load)
        pipeline = trained(next(iter(protocol.parts))) if trained else how.load()
        made = read_proposals(proposals) if proposals else None
        source = SnippetSource(pipeline, features, videos, captions, made)
        run = _run(protocol, source, trained, allow_missing)
        checks = _check_text(protocol, source, trained, run.result) if text_check else {}
    report = Report(
        run,
        checks,
        review=review,
        diagnose=diagnose is not None,
        regions=regions,
        recall=recall,
        groups=_groups(protocol),
    )
    if out:
        keep(run.result, run.predictions, run.truth, out)
    if as_json:
        print_json(report.to_dict())
    else:
        report.show(form.value, with_classes=classes)
    if diagnose and report.diagnosis:
        write_diagnosis(report.diagnosis, diagnose, title=_diagnosis_title(run.result))
        say(f"Wrote {diagnose}: open it in a browser.")
    if out:
        say(f"Result, predictions and ground truth are in {out}.")


def _refuse_nothing_to_score(
    predictions: Path | None, method: str | None, checkpoint: Path | None
) -> None:
    """Raises ConfigError unless one way is given, FormatError for predictions not there."""
    if (predictions is None) == (method is None and checkpoint is None):
        raise ConfigError(
            "Give a prediction file to score, or --method NAME or --checkpoint DIR to run one."
        )
    if predictions and not predictions.exists():
        raise FormatError(f"{predictions}: no such file or folder of predictions.")


def _diagnosis_title(result: "Result") -> str:
    card = result.card
    return f"Diagnosis of {card.method} on {card.dataset} {card.subset}"


def _load(
    gt: Path | None, name: str | None, root: Path | None, profile: str | None, exclude: str
) -> "Dataset":
    """The dataset from ``--gt`` or ``--root``, with the tIoUs of ``--profile``."""
    from openmoment.datasets import load_dataset
    from openmoment.errors import UnknownNameError
    from openmoment.evaluation.detection import PROFILES

    if profile is not None and profile not in PROFILES:
        raise UnknownNameError("profile", profile, list(PROFILES))
    if gt is None and root is None:
        raise ConfigError("Say where the ground truth is: --gt FILE, or --dataset NAME --root DIR.")
    if gt and name in (None, _OWN) and holds_reviews(gt):
        data = load_reviews(gt)
        return replace(data, profile=profile or data.profile)
    if name is None:
        name = profile if profile and gt and _has_classes_of(profile, gt) else _OWN
    folder = root or (gt.parent if gt else Path())
    data = load_dataset(name, folder, annotations=gt, exclude=exclude)
    if name == _OWN and len(data.subsets) == 1:
        data = replace(data, test_subset=next(iter(data.subsets)))
    return replace(data, profile=profile or data.profile)


def _groups(protocol: "Protocol") -> dict[str, tuple[str, ...]]:
    """Seen and unseen classes, where a split evaluates both."""
    if not (protocol.generalized and len(protocol.splits) == 1):
        return {}
    (part,) = protocol.parts.values()
    return {"seen": part.seen, "unseen": part.unseen}


def _has_classes_of(name: str, gt: Path) -> bool:
    """Whether annotations are of a known dataset, by their labels."""
    from openmoment.datasets import DATASETS
    from openmoment.datasets.base import read_records

    if name not in DATASETS:
        return False
    try:
        records, _ = read_records(DATASETS[name], gt.parent, gt)
    except FormatError:
        return False
    classes = DATASETS[name].classes
    return any(i.label in classes for record in records for i in record.instances)


def _score_predictions(
    path: Path, protocol: "Protocol", external_scores: str, only_predicted: bool
) -> "Run":
    from openmoment.evaluation.protocol import ALL_CLASSES, score_files
    from openmoment.experiments.kept import read_predictions, split_file

    if path.is_dir():
        files = {str(i): split_file(path, i) for i in protocol.splits}
    else:
        files = {ALL_CLASSES: path}
    run = score_files(
        protocol,
        {name: read_predictions(file) for name, file in files.items()},
        method=path.name,
        external_scores=external_scores,
        only_predicted=only_predicted,
    )
    if run.num_aside:
        queries = ", or of queries," if protocol.dataset.known else ""
        say(
            f"{run.num_aside} predictions are in videos{queries} that are not evaluated; they do "
            "not count."
        )
    _say_strange_names(run)
    return run


def _say_strange_names(run: "Run") -> None:
    """Names that only one side has: most often a label that is written in two ways."""
    predicted = {
        found.names[label]
        for videos in run.predictions.values()
        for found in videos.values()
        for label in set(found.labels.tolist())
    }
    true = {name for score in run.result.splits for name in score.classes}
    for names, told in (
        (predicted - true, "is predicted and no class of the ground truth"),
        (true - predicted, "is a class and was never predicted"),
    ):
        if names:
            others = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            say(f"{min(names)!r}{others} {told}.")


@dataclass(frozen=True)
class Asked:
    """A method and its backbone as the options name them."""

    method: str | None
    preset: str | None
    assignments: list[str]
    backbone: str
    device: str
    precision: str
    priors: Path | None

    def load(self, checkpoint: Path | None = None) -> "Pipeline":
        """Ranking all that it proposes; of the checkpoint, where the method is trained."""
        from openmoment.checkpoints.card import read_card
        from openmoment.methods import METHODS
        from openmoment.pipeline import load_pipeline

        method = read_card(checkpoint).method if checkpoint else self.method
        assert method
        given = method_settings(method, self.preset, self.assignments)
        return load_pipeline(
            self.backbone,
            self.method,
            checkpoint=checkpoint,
            settings={**METHODS[method].RANKING, **given},
            device=self.device,
            precision=self.precision,
            priors=self._known,
        )

    @cached_property
    def _known(self) -> "Priors | None":
        """What the folder of priors holds, read once for all splits."""
        from openmoment.priors import read_priors

        return read_priors(self.priors) if self.priors else None


def _run(
    protocol: "Protocol",
    source: "SnippetSource",
    trained: "Checkpoints | None",
    allow_missing: bool,
) -> "Run":
    from openmoment.experiments.detection import run

    with progress_bar(source.pipeline.method_name) as advance:
        return run(
            protocol,
            source,
            trained=trained,
            trained_on=trained.trained_on if trained else (),
            allow_missing=allow_missing,
            advance=advance,
        )


def _check_text(
    protocol: "Protocol", source: "SnippetSource", trained: "Checkpoints | None", result: "Result"
) -> dict[str, "Result"]:
    from openmoment.experiments.detection import run, text_checks

    found = {}
    for name, rename in text_checks().items():
        with progress_bar(name) as advance:
            again = run(
                protocol,
                source,
                trained=trained,
                allow_missing=True,
                rename=rename,
                advance=advance,
            )
        found[name] = again.result
    return found
