"""openmoment evaluate: score a prediction file, or a method over a dataset."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.datasets import (
    EVERY_SPLIT,
    MaybeExclusion,
    Splits,
    Subset,
    UnseenNames,
    list_names,
    list_numbers,
)
from openmoment.cli.options.methods import (
    Backbone,
    CheckpointPath,
    Device,
    NamedMethod,
    Precision,
    Preset,
    PriorsPath,
    Settings,
)
from openmoment.cli.options.outputs import Form, FormOption, Json
from openmoment.cli.text.console import progress_bar, say, verb
from openmoment.errors import ConfigError, FormatError

if TYPE_CHECKING:
    from openmoment.cli.text.results import Told
    from openmoment.experiments.contender import Contender
    from openmoment.experiments.retrieval import Sentences


class RuleChoice(StrEnum):
    OPENMOMENT = "openmoment"
    GAP = "gap-code"
    T3AL = "t3al-code"
    STALE = "stale-code"


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
    subset: Subset = None,
    setting: Annotated[
        str, typer.Option(metavar="NAME", help="75-25 or 50-50: only unseen classes; or all.")
    ] = "all",
    splits: Splits = EVERY_SPLIT,
    unseen: UnseenNames = None,
    rule: Annotated[
        RuleChoice, typer.Option(help="By whose convention videos and instances are kept.")
    ] = RuleChoice.OPENMOMENT,
    generalized: Annotated[
        bool, typer.Option("--generalized", help="All classes are candidates, not only unseen.")
    ] = False,
    exclude: MaybeExclusion = None,
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
    cgf1: Annotated[
        bool,
        typer.Option(
            "--cgf1", help="Also cgF1, yes-rates and calibration: is it told what does not occur?"
        ),
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
    from openmoment.cli.text import results, segmentation
    from openmoment.evaluation.protocol import ALL_CLASSES, Protocol
    from openmoment.experiments.contender import Contender
    from openmoment.experiments.detection import detect_with_checks
    from openmoment.experiments.kept import score_predictions
    from openmoment.experiments.retrieval import Sentences
    from openmoment.experiments.segmentation import segment_with_checks
    from openmoment.experiments.summary import seen_and_unseen, summarise
    from openmoment.experiments.truth import has_task, load_truth

    _refuse_nothing_to_score(predictions, method, checkpoint)
    given = [*(set_ or []), *(["proposals=file"] if proposals else [])]
    named = NamedMethod(method, preset, given, backbone, device, precision, priors)
    contender = Contender(
        named.load_ranking,
        checkpoint,
        features=features,
        videos=videos,
        captions=captions,
        allow_missing=allow_missing,
        text_check=text_check,
        bar=progress_bar,
        tell=say,
    )
    told = results.Told(form.value, as_json, classes, out)
    if (name := dataset or profile) and has_task(name, "retrieval"):
        of_classes = (setting != ALL_CLASSES, unseen, generalized, classes, review, diagnose)
        _refuse_classes(name, *of_classes, recall, regions, cgf1)
        _evaluate_sentences(predictions, Sentences(name, gt, root, subset), contender, told)
        return
    exclude = exclude or ("none" if predictions else "default")
    truth = load_truth(gt, dataset, root, profile=profile, exclude=exclude)
    results.say_unchecked(truth.unchecked)
    data, numbers, names = truth.data, list_numbers(splits), list_names(unseen)
    protocol = Protocol(data, setting, numbers, rule.value, subset, generalized, names)
    if has_task(data.name, "segmentation"):
        _refuse_moments(data.name, predictions, review, diagnose)
        keeps = any(one.startswith("overlap=") for one in given)
        segmentation.tell(*segment_with_checks(protocol, contender, keeps_overlap=keeps), told)
        return
    if predictions and text_check:
        raise ConfigError("--text-check needs --method: a file cannot be asked again.")
    if predictions:
        run, checks = score_predictions(predictions, protocol, external_scores, only_predicted), {}
        results.say_of_file(run, protocol)
    else:
        run, checks = detect_with_checks(protocol, contender, proposals=proposals)
    summary = summarise(
        run,
        checks,
        review=review,
        diagnose=diagnose is not None,
        regions=regions,
        recall=recall,
        grounding=protocol if cgf1 else None,
        groups=seen_and_unseen(protocol),
    )
    results.tell(summary, told, diagnose)


def _evaluate_sentences(
    predictions: Path | None, sentences: "Sentences", contender: "Contender", told: "Told"
) -> None:
    """Score a prediction file, or ask a method for every sentence."""
    from openmoment.cli.text.retrieval import tell, tell_file
    from openmoment.experiments.retrieval import retrieve_with_checks, score_file

    if predictions:
        tell_file(score_file(predictions, sentences), told)
    else:
        tell(*retrieve_with_checks(sentences, contender), told)


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


def _refuse_classes(name: str, *given: object) -> None:
    """Raises ConfigError for options that speak of classes."""
    if any(given):
        raise ConfigError(
            f"{name} has sentences and no classes: leave out --setting, --unseen, --generalized, "
            "--classes, --review, --diagnose, --recall, --cgf1 and --label-given."
        )


def _refuse_moments(name: str, *given: object) -> None:
    """Raises ConfigError for a prediction file, and options that speak of moments."""
    if any(one is not None for one in given):
        raise ConfigError(
            f"{name} is for action segmentation: run a method on it, without a prediction file, "
            "--review and --diagnose."
        )
