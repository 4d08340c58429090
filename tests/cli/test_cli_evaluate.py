"""openmoment evaluate, compare and datasets as a person meets them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder

from openmoment import encoders
from openmoment.datasets import load_dataset
from openmoment.errors import UnknownNameError
from openmoment.experiments.detection import exchanged, nonsense
from openmoment.features.file import write_features
from openmoment.reviews import Review, ReviewedQuery, ReviewedSegment, write_review


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "annotations.csv"
    path.write_text(
        "video,start_s,end_s,label\nday1,10,20,a dog\nday1,40,44,a cat\nday2,5,9,a dog\n"
    )
    return path


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """One hit, one miss by a second, one false alarm, nothing for the cat."""
    results = {
        "day1": [
            {"label": "a dog", "score": 0.9, "segment": [10, 20]},
            {"label": "a dog", "score": 0.8, "segment": [60, 70]},
        ],
        "v_day2": [{"label": "a dog", "score": 0.7, "segment": [6, 10]}],
    }
    path = tmp_path / "pred.json"
    path.write_text(json.dumps({"version": "1", "results": results, "external_data": {}}))
    return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Annotations and feature files of a world in which the fake backbone sees what is named."""
    encoder = FakeEncoder(dim_in=8)

    def load(name: str, **_: str) -> FakeEncoder:
        if name not in ("fake", "auto"):
            raise UnknownNameError("backbone", name, ["fake"])
        return encoder

    monkeypatch.setattr(encoders, "load_encoder", load)
    monkeypatch.setattr("openmoment.pipeline.loading.load_encoder", load)
    names = ("a dog", "a cat", "a cow")
    words = encoder.encode_text(names)
    features = tmp_path / "features"
    features.mkdir()
    lines = ["video,start_s,end_s,label"]
    rng = np.random.default_rng(0)
    for i in range(6):
        made = encoder.encode_video(video_file(tmp_path, i), fps=4.0, source_sha256=f"{i:064}")
        rows = 0.3 * rng.standard_normal(made.features.shape).astype(np.float32)
        for k, name in enumerate(names):
            start = 10 * k + i
            rows[4 * start : 4 * (start + 6)] += 3 * words[k]
            lines.append(f"film{i},{start},{start + 6},{name}")
        write_features(
            type(made)(rows, made.grid, made.recipe, made.duration_s),
            features / f"film{i}.safetensors",
        )
    path = tmp_path / "annotations.csv"
    path.write_text("\n".join(lines) + "\n")
    return path, features


def video_file(folder: Path, seed: int) -> Path:
    path = folder / f"film{seed}.bin"
    path.write_bytes(np.random.default_rng(seed).bytes(40 * 1024))  # forty seconds
    return path


# prediction files --------------------------------------------------------------------------------


def test_a_prediction_file_is_scored(predictions: Path, truth: Path, tmp_path: Path) -> None:
    done = run("evaluate", predictions, "--gt", truth, "--classes", "--out", tmp_path / "r")
    assert done.exit_code == 0, done.output
    assert "pred.json on folder test; 2 videos; 3 instances" in done.stdout
    table = json.loads(run("evaluate", predictions, "--gt", truth, "--json").stdout)
    # a dog: ranks 1 (hit) and 3 (tIoU 0.6), 2 instances; a cat: nothing was predicted
    assert table["mean"]["mAP@0.5"] == pytest.approx((1 / 2 * 1 + 1 / 2 * 2 / 3) / 2)
    assert table["mean"]["mAP@0.7"] == pytest.approx(0.5 / 2)
    assert table["splits"][0]["classes"]["a cat"] == {"num_instances": 1, "ap": [0.0] * 7}
    assert table["card"]["external_scores"] == "none"
    for name in ("result.json", "split_all.predictions.json", "split_all.truth.json"):
        assert (tmp_path / "r" / name).is_file()


def test_whether_it_is_told_what_does_not_occur(predictions: Path, truth: Path) -> None:
    asked = ("evaluate", predictions, "--gt", truth, "--cgf1")
    told = json.loads(run(*asked, "--json").stdout)["grounding"]
    # four pairs: the dog of day1 with a false alarm, its cat missed, the dog of day2 at tIoU 0.6,
    # and no cat there, rightly
    mcc = 2 / (2 * 3 * 1 * 2) ** 0.5
    assert told["pairs"] == 4
    assert told["mcc"] == pytest.approx(mcc, abs=1e-3)
    assert told["cgf1_at"]["0.5"] == pytest.approx(100 * 2 / 3 * mcc, abs=0.05)
    assert told["cgf1_at"]["0.75"] == pytest.approx(100 / 3 * mcc, abs=0.05)
    assert (told["yes_present"], told["yes_absent"]) == (pytest.approx(66.67), 0.0)
    lines = run(*asked).stdout
    assert "of 4 pairs of a video and a query" in lines
    assert "Found: 67 % of the queries that occur, 0 % of those that do not" in lines


def test_a_method_is_held_to_what_it_says_not_to_all_that_it_ranks(
    world: tuple[Path, Path],
) -> None:
    truth, features = world
    asked = ("evaluate", "--gt", truth, "--features", features, "--cgf1", "--json", "--method")
    told = json.loads(run(*asked, "similarity").stdout)["grounding"]
    assert told["pairs"] == 18  # three names in six films, and each occurs in all
    assert told["mcc"] is None and told["cgf1"] is None and told["yes_absent"] is None
    assert told["yes_present"] > 90
    blind = json.loads(run(*asked, "similarity", "--set", "min_presence=1").stdout)["grounding"]
    assert blind["yes_present"] == 0.0


def test_the_page_of_a_diagnosis_names_what_it_is_about(
    predictions: Path, truth: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = run("evaluate", predictions, "--gt", truth, "--diagnose", page)
    assert done.exit_code == 0, done.output
    assert "<h1>Diagnosis of pred.json on folder test</h1>" in page.read_text()


def test_names_that_only_one_side_has_are_named(predictions: Path, truth: Path) -> None:
    truth.write_text(truth.read_text().replace("a dog", "A dog"))
    done = run("evaluate", predictions, "--gt", truth)
    assert "'a dog' is predicted and no class of the ground truth." in done.stderr
    assert "'A dog' (and 1 more) is a class and was never predicted." in done.stderr


def test_scoring_a_file_imports_no_torch(predictions: Path, truth: Path) -> None:
    code = (
        "import sys\nfrom openmoment.cli.main import app\n"
        f"sys.argv = ['openmoment', 'evaluate', {str(predictions)!r}, '--gt', {str(truth)!r}]\n"
        "try:\n    app()\nexcept SystemExit as stop:\n    assert stop.code in (0, None)\n"
        "print([m for m in ('torch', 'pandas', 'av', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("moment", "says"),
    [
        ({"label": "a dog", "score": 0.9, "segment": [5, 2]}, "lies before"),
        ({"label": "a dog", "score": 0.9, "segment": [float("nan"), 2]}, "expected a number"),
        ({"label": "a dog", "score": None, "segment": [1, 2]}, "score"),
        ({"label": "a dog", "segment": [1, 2]}, "'score' is missing"),
        ({"score": 0.5, "segment": [1, 2]}, "'label' is missing"),
        ({"label": "a dog", "score": 0.9, "segment": "1-2"}, "segment"),
    ],
)
def test_malformed_predictions_are_refused_by_place(
    truth: Path, tmp_path: Path, moment: dict, says: str
) -> None:
    good = {"label": "a dog", "score": 0.9, "segment": [10, 20]}
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"results": {"day1": [good, moment]}}))
    line = refusal("evaluate", path, "--gt", truth)
    assert "bad.json" in line and "results['day1'][1]" in line and says in line


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "is not JSON"), ('{"a": 1}', "'results' is missing"), ("[1]", "expected an object")],
)
def test_files_that_are_no_predictions(truth: Path, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    assert says in refusal("evaluate", tmp_path / "bad.json", "--gt", truth)


def test_malformed_ground_truth_is_refused_by_line(predictions: Path, tmp_path: Path) -> None:
    path = tmp_path / "gt.csv"
    path.write_text("video,start_s,end_s,label\nday1,10,20,a dog\nday1,30,20,a dog\n")
    assert "gt.csv, line 3" in refusal("evaluate", predictions, "--gt", path)
    path.write_text("video,start_s,end_s,label\nday1,,20,a dog\n")
    assert "line 2" in refusal("evaluate", predictions, "--gt", path)
    assert "no such file" in refusal("evaluate", predictions, "--gt", tmp_path / "none.csv")


@pytest.mark.parametrize("profile", ["fine", "thumos14", "activitynet"])
@pytest.mark.parametrize("labels", [("a dog", "a cat"), ("Diving", "Shotput"), ("Archery", "BMX")])
def test_what_evaluate_keeps_is_scored_again(
    predictions: Path, truth: Path, tmp_path: Path, profile: str, labels: tuple[str, str]
) -> None:
    """Some are classes of THUMOS14, some of ActivityNet, whose subsets are then looked for."""
    for path in (predictions, truth):
        dog, cat = labels
        path.write_text(path.read_text().replace("a dog", dog).replace("a cat", cat))
    kept = tmp_path / "kept"
    args = ("--profile", profile, "--json")
    first = run("evaluate", predictions, "--gt", truth, "--out", kept, *args)
    truth = kept / "split_all.truth.json"
    again = run("evaluate", kept / "split_all.predictions.json", "--gt", truth, *args)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["mean"] == json.loads(first.stdout)["mean"]


def test_predictions_that_are_not_there_are_blamed_first(tmp_path: Path) -> None:
    (tmp_path / "gt.csv").write_text("no,columns\n")
    line = refusal("evaluate", tmp_path / "none.json", "--gt", tmp_path / "gt.csv")
    assert line.endswith("none.json: no such file or folder of predictions.")


def test_columns_that_are_expected_and_found_are_listed(predictions: Path, tmp_path: Path) -> None:
    path = tmp_path / "gt.csv"
    path.write_text("video-id,t-start,t-end,label\nday1,10,20,a dog\n")
    found = "found: video-id, t-start, t-end, label."
    assert refusal("evaluate", predictions, "--gt", path).endswith(
        "gt.csv, line 1: column 'video' is missing. "
        f"Expected: video, start_s, end_s, label or query; {found}"
    )
    truth = tmp_path / "annotations.csv"
    truth.write_text("video,start_s,end_s,kind\nday1,10,20,a dog\n")
    assert "column 'label or query' is missing" in refusal("evaluate", predictions, "--gt", truth)
    truth.write_text("video,start_s,end_s,label\nday1,10,20,a dog\n")
    assert refusal("evaluate", path, "--gt", truth).endswith(
        f"Expected: video, start_s, end_s, query, score; {found}"
    )


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--profile", "thumos"], "Unknown profile 'thumos'"),
        (["--setting", "50-50"], "no published class splits"),
        (["--splits", "a,b"], "--splits"),
        (["--subset", "validation"], "Unknown subset"),
        (["--exclude", "gap"], "no exclusion list"),
        (["--text-check"], "--method"),
        (["--method", "similarity"], "prediction file to score, or --method"),
        (["--dataset", "thumos15"], "Did you mean 'thumos14'"),
    ],
)
def test_options_of_evaluate_that_make_no_sense(
    predictions: Path, truth: Path, args: list[str], says: str
) -> None:
    assert says in refusal("evaluate", predictions, "--gt", truth, *args)


def test_evaluate_needs_something_to_compare_with(predictions: Path) -> None:
    assert "--gt FILE" in refusal("evaluate", predictions)
    assert "prediction file" in refusal("evaluate")


# methods -----------------------------------------------------------------------------------------


def test_a_method_is_run_and_shown_to_read_its_text(world: tuple[Path, Path]) -> None:
    truth, features = world
    args = ("evaluate", "--method", "similarity", "--gt", truth, "--features", features)
    done = run(*args, "--text-check")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("% is left") == 2
    assert done.stdout.count("Verdict:") == done.stdout.count("it reads its text") == 1
    table = json.loads(run(*args, "--text-check", "--json").stdout)
    assert table["mean"]["mAP@0.5"] > 0.9
    assert max(check["mAP_avg"] for check in table["text_check"].values()) < 0.3
    assert table["card"]["method"] == "similarity"
    assert table["card"]["settings"]["min_presence"] == 0
    assert table["card"]["fingerprint"] == "fake-1"


def test_a_method_that_ignores_its_text_is_found_out(world: tuple[Path, Path]) -> None:
    """whole_video ranks by labels, and every video here has all of them: names change nothing."""
    truth, features = world
    settings = ("--set", "top_labels=3")
    args = ("evaluate", "--method", "whole_video", "--gt", truth, "--features", features)
    done = run(*args, *settings, "--text-check")
    assert "does not seem to read its text" in done.stdout


def test_proposals_of_others_are_classified_without_any_training(
    world: tuple[Path, Path], tmp_path: Path
) -> None:
    truth, features = world
    videos = {
        f"film{i}": [{"segment": [10 * k + i, 10 * k + i + 6], "score": 0.5} for k in range(3)]
        for i in range(6)
    }
    path = tmp_path / "proposals.json"
    path.write_text(json.dumps({"results": videos}))
    args = ("evaluate", "--method", "two_stage", "--gt", truth, "--features", features)
    assert "has to be trained first" in refusal(*args)
    done = run(*args, "--proposals", path, "--recall", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["mean"]["mAP_avg"] > 0.9
    assert found["card"]["external_scores"] == "proposals of proposals.json"
    recall = found["proposal_recall"]
    assert (recall["AR@1"], recall["AR@100"]) == (pytest.approx(1 / 3), 1)
    assert list(recall) == ["AR@1", "AR@5", "AR@10", "AR@50", "AR@100", "AUC"]
    done = run(*args, "--proposals", path, "--recall")
    assert "AR@100" in done.stdout and "labels aside" in done.stdout
    path.write_text(json.dumps({"results": {}}))
    assert "holds no video 'film0'" in refusal(*args, "--proposals", path)


def test_videos_without_features_are_declared_or_refused(world: tuple[Path, Path]) -> None:
    truth, features = world
    (features / "film3.safetensors").unlink()
    args = ("evaluate", "--method", "similarity", "--gt", truth, "--features", features)
    assert "1 test videos have no file, the first is 'film3'" in refusal(*args)
    card = json.loads(run(*args, "--allow-missing", "--json").stdout)["card"]
    assert card["missing"] == ["film3"]


def test_features_of_another_recipe_are_refused(world: tuple[Path, Path]) -> None:
    truth, features = world
    made = FakeEncoder(dim_in=8, fingerprint="other").encode_video(
        video_file(features.parent, 3), fps=4.0, source_sha256=""
    )
    write_features(made, features / "film3.safetensors")
    args = ("evaluate", "--method", "similarity", "--gt", truth, "--features", features)
    line = refusal(*args)
    assert "film3.safetensors" in line and "other" in line
    assert "--features DIR or --videos DIR" in refusal(*args[:-2])
    assert "no such folder" in refusal(*args[:-1], features / "none")


def test_names_without_their_meaning() -> None:
    names = tuple("abcdefg")
    for seed in range(20):
        moved = exchanged(names, seed)
        assert sorted(moved) == sorted(names)
        assert all(a != b for a, b in zip(names, moved, strict=True))
    words = nonsense(200, 0)
    assert len(set(words)) == 200 and words == nonsense(200, 0)
    assert words != nonsense(200, 1)


# comparing ---------------------------------------------------------------------------------------


def test_results_are_compared(world: tuple[Path, Path], tmp_path: Path) -> None:
    truth, features = world
    for name in ("similarity", "frame_threshold"):
        args = ("--gt", truth, "--features", features, "--out", tmp_path / name)
        assert run("evaluate", "--method", name, *args).exit_code == 0
    done = run("compare", tmp_path / "frame_threshold", tmp_path / "similarity")
    assert done.exit_code == 0, done.output
    assert "1000 resamplings of videos" in done.stdout
    assert "too few to tell (videos: 6, it takes 10)" in done.stdout
    table = json.loads(
        run("compare", tmp_path / "frame_threshold", tmp_path / "similarity", "--json").stdout
    )
    (difference,) = table["differences"].values()
    assert difference["over"] == "videos"
    assert difference["verdict"].startswith("too few to tell")
    other = (*args[:-1], tmp_path / "fine", "--profile", "thumos14")
    assert run("evaluate", "--method", "similarity", *other).exit_code == 0
    line = refusal("compare", tmp_path / "similarity", tmp_path / "fine")
    assert "profile: fine and thumos14" in line
    assert "given twice" in refusal("compare", tmp_path / "fine", tmp_path / "fine")
    assert "none" in refusal("compare", tmp_path / "none", tmp_path / "fine")


# datasets ----------------------------------------------------------------------------------------


def test_datasets_list_and_splits() -> None:
    names = [
        row["name"] for row in json.loads(run("datasets", "list", "--json").stdout)["datasets"]
    ]
    assert {"thumos14", "activitynet", "charades-sta", "qvhighlights", "coin", "folder"} <= set(
        names
    )
    assert "crcv.ucf.edu" in run("datasets", "list").stdout
    split = json.loads(run("datasets", "splits", "thumos14/75-25/0", "--json").stdout)
    assert (len(split["seen"]), len(split["unseen"])) == (15, 5)
    assert "unseen (10): " in run("datasets", "splits", "thumos14/50-50/9").stdout
    assert "like thumos14/50-50/3" in refusal("datasets", "splits", "thumos14")


def test_datasets_check_says_what_is_wrong(truth: Path, tmp_path: Path) -> None:
    done = run("datasets", "check", "folder", "--root", tmp_path)
    assert done.exit_code == 0, done.output
    assert "no duration: 2" in done.stdout
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "day1.safetensors").touch()
    (tmp_path / "features" / "day9.safetensors").touch()
    done = run(
        "datasets", "check", "folder", "--root", tmp_path, "--features", tmp_path / "features"
    )
    assert "missing: 1" in done.stdout and "extra: 1" in done.stdout
    truth.write_text(truth.read_text() + "day2,9,5,a dog\n")
    done = run("datasets", "check", "folder", "--root", tmp_path)
    assert done.exit_code == 2
    assert "inverted: 1" in done.stdout and "line 5" in done.stdout
    report = json.loads(run("datasets", "check", "folder", "--root", tmp_path, "--json").stdout)
    assert report["usable"] is False
    (tmp_path / "empty").mkdir()
    assert "holds no annotations" in refusal(
        "datasets", "check", "coin", "--root", tmp_path / "empty"
    )


# moment retrieval --------------------------------------------------------------------------------


@pytest.mark.data
def test_retrieval_predictions_score_as_their_authors_say(data_root: Path) -> None:
    sample = data_root / "eval_samples" / "qvhighlights"
    truth = data_root / "annotations" / "qvhighlights" / "highlight_val_release.jsonl"
    file = sample / "sample_val_preds.jsonl"
    done = run("evaluate", file, "--gt", truth, "--profile", "qvhighlights", "--json")
    metrics = json.loads(done.stdout)["metrics"]
    brief = json.loads((sample / "sample_val_preds_metrics_raw.json").read_text())["brief"]
    for ours, theirs in (
        ("R@1,IoU=0.5", "MR-full-R1@0.5"),
        ("mAP_avg", "MR-full-mAP"),
        ("mAP_avg short", "MR-short-mAP"),
        ("HL mAP", "HL-min-VeryGood-mAP"),
    ):
        assert 100 * metrics[ours] == pytest.approx(brief[theirs], abs=0.005 + 1e-9)
    table = run("evaluate", file, "--gt", truth, "--profile", "qvhighlights").stdout
    assert "QD-DETR (SF+CLIP)" in table


def test_sentences_are_written_answered_and_scored(tmp_path: Path) -> None:
    (tmp_path / "charades_sta_test.txt").write_text(
        "AAAAA 2.0 8.0##a person opens a door.\nBBBBB 0.0 5.0##a person sits.\n"
    )
    queries, answers = tmp_path / "queries.jsonl", tmp_path / "answers.jsonl"
    run("datasets", "queries", "charades-sta", "--root", tmp_path, "--out", queries)
    rows = [json.loads(line) for line in queries.read_text().splitlines()]
    assert [row["query"] for row in rows] == ["a person opens a door.", "a person sits."]
    found = [
        {"qid": rows[0]["qid"], "pred_relevant_windows": [[2.0, 8.0, 0.9]]},
        {"qid": rows[1]["qid"], "pred_relevant_windows": [[9.0, 12.0, 0.8], [0.0, 5.0, 0.1]]},
    ]
    answers.write_text("".join(json.dumps(row) + "\n" for row in found))
    for truth in (["--gt", queries], ["--root", tmp_path]):
        done = run("evaluate", answers, "--profile", "charades-sta", *truth, "--json")
        metrics = json.loads(done.stdout)["metrics"]
        assert (metrics["R@1,IoU=0.7"], metrics["R@5,IoU=0.7"]) == (0.5, 1.0)
        assert metrics["mIoU"] == 0.5
    assert "--gt FILE" in refusal("evaluate", answers, "--profile", "charades-sta")
    asked = ("evaluate", "--method", "similarity", "--dataset", "charades-sta")
    assert "--features DIR or --videos DIR" in refusal(*asked, "--root", tmp_path)
    answers.write_text('{"qid": 1}\n')
    line = refusal("evaluate", answers, "--profile", "charades-sta", "--gt", queries)
    assert "answers.jsonl, line 1" in line and "pred_relevant_windows" in line


def test_t3al_is_evaluated_from_feature_files_alone(world: tuple[Path, Path]) -> None:
    truth, features = world
    args = ("evaluate", "--method", "t3al", "--gt", truth, "--features", features)
    table = json.loads(run(*args, "--set", "norms_every=1", "--text-check", "--json").stdout)
    assert table["mean"]["mAP@0.5"] > 0.6
    assert max(check["mAP_avg"] for check in table["text_check"].values()) < 0.4
    settings = table["card"]["settings"]
    assert (settings["norms_every"], settings["min_presence"]) == (1, 0)
    preset = json.loads(run(*args, "--preset", "thumos14-t0", "--json").stdout)["card"]["settings"]
    assert (preset["labels"], preset["steps"]) == ("single", 0)
    assert "Did you mean 'thumos14-t0'" in refusal(*args, "--preset", "thumos14-t1")


# reviews as ground truth -------------------------------------------------------------------------


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """One checked query and one that is not, in one video; one that does not occur in another."""
    folder = tmp_path / "openmoment" / "reviews"
    folder.mkdir(parents=True)
    dog, cat = ReviewedQuery("a dog", checked=True), ReviewedQuery("a cat")
    first = Review(
        "day/day1.mp4",
        100.0,
        queries=(dog, cat),
        segments=(
            ReviewedSegment("1", 10.0, 20.0, "a dog", None, "accepted"),
            ReviewedSegment("2", 60.0, 70.0, "a dog", 0.8, "rejected"),
            ReviewedSegment("3", 40.0, 44.0, "a cat", None, "accepted"),
        ),
    )
    second = Review("day2.mp4", 100.0, queries=(ReviewedQuery("a dog", occurs=False), cat))
    third = Review("day3.mp4", 100.0, queries=(cat,))
    for name, review in (("day1", first), ("day2", second), ("day3", third)):
        write_review(review, folder / f"{name}.json")
    return folder


def test_reviews_are_ground_truth_for_what_was_checked(reviews: Path, tmp_path: Path) -> None:
    hit = {"label": "a dog", "score": 0.5, "segment": [10, 20]}
    ignored = [
        {"label": "a cat", "score": 0.9, "segment": [0, 5]},
        {"label": "a cow", "score": 0.9, "segment": [0, 5]},
    ]
    elsewhere = {"day2": ignored, "day3": [*ignored, hit], "day9": [hit]}
    path = tmp_path / "pred.json"

    def score(results: dict[str, list]) -> tuple[float, str]:
        path.write_text(json.dumps({"version": "1", "results": results, "external_data": {}}))
        result = run("evaluate", path, "--gt", reviews, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["mean"]["mAP_avg"], result.stderr

    best, told = score({"day1": [hit, *ignored], **elsewhere})
    assert best == pytest.approx(1.0)
    assert "nobody checked: 'a cat' in day/day1.mp4 and 2 more, in 3 videos." in told
    assert "8 predictions are in videos, or of queries, that are not evaluated" in told
    false = {"label": "a dog", "score": 0.9, "segment": [60, 70]}
    assert score({"day1": [hit, false]})[0] < 1.0, "rejected in a checked query"
    assert score({"day1": [hit], "day2": [false]})[0] < 1.0, "said not to occur"


def test_one_review_and_a_served_folder_are_read_too(reviews: Path, tmp_path: Path) -> None:
    path = tmp_path / "pred.csv"
    path.write_text("video,start_s,end_s,query,score\nday1.mp4,10,20,a dog,0.9\n")
    result = run("evaluate", path, "--gt", reviews / "day1.json", "--json")
    assert json.loads(result.stdout)["mean"]["mAP_avg"] == pytest.approx(1.0), result.stderr
    found = load_dataset("folder", tmp_path)
    assert found.class_names == ("a dog",)
    assert set(found.subset("test")) == {"day1", "day2"}
    assert found.known["day1"] == {"a dog"}


def test_reviews_in_which_nobody_checked_anything_are_no_ground_truth(
    predictions: Path, reviews: Path
) -> None:
    line = refusal("evaluate", predictions, "--gt", reviews / "day3.json")
    assert "no query is checked" in line


def test_a_method_is_scored_on_what_was_checked(world: tuple[Path, Path], tmp_path: Path) -> None:
    """The cat is in both videos and was checked in one: in the other, finding it is no mistake."""
    _, features = world
    folder = tmp_path / "reviews"
    folder.mkdir()
    for i, names in enumerate((("a dog", "a cat"), ("a dog",))):
        spans = [(10.0 * ("a dog", "a cat").index(name) + i, name) for name in names]
        review = Review(
            f"film{i}.mp4",
            40.0,
            queries=tuple(ReviewedQuery(name, checked=True) for name in names),
            segments=tuple(
                ReviewedSegment(name, start_s, start_s + 6, name, None, "accepted")
                for start_s, name in spans
            ),
        )
        write_review(review, folder / f"{i}.json")
    args = ("--method", "similarity", "--gt", folder, "--features", features)
    done = run("evaluate", *args, "--out", tmp_path / "kept", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["mean"]["mAP@0.5"] > 0.9
    kept = json.loads((tmp_path / "kept" / "split_all.predictions.json").read_text())["results"]
    assert {row["label"] for row in kept["film0"]} == {"a dog", "a cat"}
    assert {row["label"] for row in kept["film1"]} == {"a dog"}
