"""Suites, runs that go on where they stopped, and what is told of them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from commands import refusal, run
from fakes import FakeEncoder
from videos import make_video

from openmoment.bench.apart import News, make_apart
from openmoment.bench.cards import card_pages
from openmoment.bench.job import Job, changed, plan_jobs, read_job, write_job
from openmoment.bench.ledger import to_ledger
from openmoment.bench.material import make_material, make_part
from openmoment.bench.measure import Stopwatch, limit_threads, peak_memory, share_cores
from openmoment.bench.method_card import card_of
from openmoment.bench.places import expand, missing_places, parse_places, place
from openmoment.bench.record import (
    Cost,
    Record,
    digest,
    is_finished,
    read_failure,
    read_record,
    read_records,
    write_record,
)
from openmoment.bench.report import write_reports
from openmoment.bench.runner import run_all
from openmoment.bench.suite import read_suite, shipped_suites, to_suite
from openmoment.bench.summary import group_records, published_rows
from openmoment.bench.tables import HOW, sections
from openmoment.bench.work import perform
from openmoment.bench.worker import FAILED, TAKEN, work
from openmoment.datasets import DATASETS, load_dataset
from openmoment.datasets.collect import collect
from openmoment.encoders.embedded.made_up import Synthetic
from openmoment.errors import ConfigError, FormatError, OpenMomentError
from openmoment.evaluation.published import published_results
from openmoment.experiments.synthesis import make_world
from openmoment.methods import METHODS
from openmoment.storage.leases import lease

WORLD = {"dataset": "synthetic-thumos14", "synthesize": {"world": "thumos14"}}
SIMPLE = {"title": "Simple", "datasets": {"made": WORLD}, "methods": {"similarity": {}}}


def suite_of(**more: object):
    return to_suite(SIMPLE | more, "simple", where="simple.toml")


# ---------------------------------------------------------------------------------------------
# Suites
# ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"title": "x"}, r"expected at least one table \[datasets.NAME\]"),
        (SIMPLE | {"methods": {}}, r"expected at least one table \[methods.NAME\]"),
        ({k: v for k, v in SIMPLE.items() if k != "title"}, "title is missing"),
        (SIMPLE | {"thread": 1}, "Unknown setting 'thread'. Did you mean 'threads'"),
        (SIMPLE | {"threads": -1}, "threads: expected 0 or more"),
        (SIMPLE | {"settings": ["80-20"]}, "datasets.made: settings: Unknown setting '80-20'"),
        (SIMPLE | {"splits": [10]}, "datasets.made: splits: expected 0 to 9, got 10"),
        (SIMPLE | {"methods": {"nothing": {}}}, "methods.nothing: method: Unknown method"),
        (SIMPLE | {"methods": {"a/b": {}}}, "the name becomes a folder's"),
        (SIMPLE | {"methods": {"t3al": {"preset": "no"}}}, "methods.t3al: preset: Unknown preset"),
        (SIMPLE | {"methods": {"t3al": {"datasets": ["no"]}}}, "methods.t3al: datasets: Unknown"),
        (SIMPLE | {"methods": {"t3al": {"sets": {}}}}, "methods.t3al: Unknown setting 'sets'"),
        (SIMPLE | {"datasets": {"no": {}}}, "datasets.no: dataset: Unknown dataset 'no'"),
        (SIMPLE | {"datasets": {"a": 1}}, "datasets.a: expected a table"),
        (SIMPLE | {"datasets": {"a": WORLD | {"synthesize": {}}}}, "synthesize: world is missing"),
        (SIMPLE | {"datasets": {"a": WORLD | {"compose": {"clips": "x"}}}}, "or compose, not both"),
        (
            SIMPLE | {"datasets": {"a": WORLD | {"unseen": ["x"], "settings": ["75-25"]}}},
            "unseen is a split of its own",
        ),
    ],
)
def test_a_mistake_in_a_suite_names_its_field(document, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as error:
        to_suite(document, "simple", where="simple.toml")
    assert str(error.value).startswith("simple.toml: ")


def test_a_suite_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("title = ")
    with pytest.raises(FormatError, match="is not TOML"):
        read_suite(str(tmp_path / "a.toml"))


@pytest.mark.parametrize("name", shipped_suites())
def test_the_suites_that_ship_can_be_planned(name: str) -> None:
    planned = plan_jobs(read_suite(name))
    assert len({job.name for job, _, _ in planned}) == len(planned)
    for job, part, method in planned:
        assert part.is_made or part.obtain
        rows = {row.method for row in published_rows(job.dataset, job.setting)}
        for paper in method.published:
            assert paper in rows or len(part.settings) > 1, (job.name, paper)


def test_runs_are_the_product_of_all() -> None:
    suite = suite_of(
        settings=["75-25", "50-50"],
        splits=[0, 3],
        backbones=["synthetic", "embedded"],
        methods={"similarity": {}, "flat": {"method": "whole_video", "settings": ["75-25"]}},
    )
    names = [job.name for job, _, _ in plan_jobs(suite)]
    assert len(names) == len(set(names)) == 8 + 4
    assert names[:3] == [
        "made/75-25/0/synthetic/similarity",
        "made/75-25/0/synthetic/flat",
        "made/75-25/0/embedded/similarity",
    ]
    assert [job.name for job, _, _ in plan_jobs(suite, only="*/50-50/3/*")] == [
        "made/50-50/3/synthetic/similarity",
        "made/50-50/3/embedded/similarity",
    ]
    assert len(plan_jobs(suite, only="flat, 50-50")) == 8
    assert len(plan_jobs(suite_of(settings=["75-25"]))) == 10  # published splits
    assert len(plan_jobs(suite_of())) == 1
    with pytest.raises(ConfigError, match="no run fits 'nothing'"):
        plan_jobs(suite, only="nothing")


# ---------------------------------------------------------------------------------------------
# Places
# ---------------------------------------------------------------------------------------------

BROUGHT = {
    "title": "Brought",
    "backbones": ["clip-vit-b-16", "embedded"],
    "datasets": {"thumos14": {}, "coin": {}},
    "methods": {"similarity": {}, "stale": {"preset": "i3d", "features": "i3d"}},
}


def test_what_has_to_be_brought_is_asked_for_by_name() -> None:
    suite = to_suite(BROUGHT, "brought", where="brought.toml")
    planned = plan_jobs(suite, only="thumos14")
    assert set(missing_places(planned, parse_places({}, suite.datasets))) == {
        "--root thumos14=DIR",
        "--features thumos14=DIR",
        "--features thumos14:embedded=DIR",
        "--features thumos14:i3d=DIR",
    }
    given = {"root": ["thumos14=r"], "videos": ["thumos14=v"], "features": ["thumos14:i3d=i"]}
    brought = parse_places(given, suite.datasets)
    assert missing_places(planned, brought) == {}
    placed = [place(*one, brought, Path("data")) for one in planned]
    assert [job.features for job in placed] == [
        str(Path("data/thumos14/features/clip-vit-b-16")),
        "i",
        str(Path("data/thumos14/features/embedded")),
        "i",
    ]
    assert {(job.root, job.videos) for job in placed} == {("r", "v")}


def test_the_one_line_that_asks() -> None:
    told = refusal("bench", "charades-sta", "--out", "x")
    assert "--root charades-sta=DIR (annotations of Charades-STA)" in told
    assert "--features charades-sta=DIR (feature files, clip-vit-b-16; or --videos)" in told
    assert "openmoment bench charades-sta --list" in told


def test_places_that_cannot_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    suite = to_suite(BROUGHT, "brought", where="brought.toml")
    with pytest.raises(ConfigError, match="--root: expected NAME=DIR"):
        parse_places({"root": ["folder"]}, suite.datasets)
    with pytest.raises(ConfigError, match="'no' is no dataset of this suite"):
        parse_places({"root": ["no=folder"]}, suite.datasets)
    alone = parse_places({"root": ["folder"]}, suite.datasets[:1])
    assert alone.find("root", "thumos14") == Path("folder")
    monkeypatch.setenv("SOMEWHERE", "here")
    assert expand("$SOMEWHERE/x", "a") == Path("here/x")
    with pytest.raises(ConfigError, match="a: set the environment variable NOWHERE"):
        expand("$NOWHERE/x", "a")


# ---------------------------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------------------------

_FINISH = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "times").open("a").write("x")
{}
(folder / "run.json").write_text("{{}}")
"""


class Launcher:
    """Starts small programs in place of runs."""

    def __init__(self, **programs: str) -> None:
        self.programs, self.started = programs, Counter[str]()

    def __call__(self, job: Job, folder: Path) -> "subprocess.Popen[bytes]":
        self.started[job.label] += 1
        program = _FINISH.format(self.programs.get(job.label, ""))
        return subprocess.Popen([sys.executable, "-c", program, str(folder)])


def job_of(label: str = "similarity", **more) -> Job:
    job = Job(
        "simple", "made", "made", "synthetic-thumos14", "75-25", "0", "synthetic", label, label
    )
    return replace(job, **more)


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    jobs = [job_of(label) for label in "abc"]
    first = Launcher()
    running = run_all(jobs, tmp_path, num_jobs=1, launch=first)
    assert next(running).job.label == "a"
    running.close()  # as when the bench is killed
    again = Launcher()
    outcomes = {o.job.label: o.status for o in run_all(jobs, tmp_path, num_jobs=2, launch=again)}
    assert outcomes == {"a": "present", "b": "done", "c": "done"}
    assert set(again.started) == {"b", "c"}
    assert (jobs[0].folder(tmp_path) / "times").read_text() == "x"


def test_a_bench_that_stops_stops_its_runs(tmp_path: Path) -> None:
    started = []

    def launch(job: Job, folder: Path) -> "subprocess.Popen[bytes]":
        pause = [] if job.label == "a" else ["import time; time.sleep(60)"]
        started.append(Launcher(**{job.label: "".join(pause)})(job, folder))
        return started[-1]

    running = run_all([job_of("a"), job_of("b")], tmp_path, num_jobs=2, launch=launch)
    next(running)
    running.close()
    assert all(process.poll() is not None for process in started)


def test_one_failed_run_loses_no_other(tmp_path: Path) -> None:
    error = "(folder / 'error.json').write_text('{\"error\": \"no such thing.\"}'); sys.exit(2)"
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    jobs = [job_of(label) for label in ("bad", "shot", "good")]
    launch = Launcher(bad=error, shot=killed)
    outcomes = {o.job.label: o for o in run_all(jobs, tmp_path, num_jobs=3, launch=launch)}
    assert outcomes["good"].status == "done"
    assert (outcomes["bad"].status, outcomes["bad"].message) == ("failed", "no such thing.")
    assert "was ended by signal 9: too little memory?" in outcomes["shot"].message
    (again,) = run_all(jobs[:1], tmp_path, num_jobs=1, launch=Launcher())
    assert again.status == "done"  # a failed run is tried again


def test_a_run_of_another_bench_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openmoment.bench.runner._WAIT_S", 0.05)
    taken = "seen = len((folder / 'times').read_text())\nif seen < 3: sys.exit(3)"
    launch = Launcher(a=taken)
    outcomes = list(run_all([job_of("a"), job_of("b")], tmp_path, num_jobs=1, launch=launch))
    assert [o.job.label for o in outcomes] == ["b", "a"]
    assert launch.started["a"] == 3


def test_several_go_at_once(tmp_path: Path) -> None:
    jobs = [job_of(label) for label in "abcd"]
    pause = dict.fromkeys("abcd", "import time; time.sleep(0.5)")
    start = time.perf_counter()
    assert len(list(run_all(jobs, tmp_path, num_jobs=4, launch=Launcher(**pause)))) == 4
    at_once = time.perf_counter() - start
    assert at_once < 4 * 0.5 + 1


def test_a_run_of_other_settings_is_refused(tmp_path: Path) -> None:
    job = job_of()
    write_job(job, job.folder(tmp_path))
    moved = replace(job, root="elsewhere", threads=7)
    assert changed(moved, read_job(job.folder(tmp_path))) == []
    other = replace(job, set={"smooth_s": 1.0})
    with pytest.raises(ConfigError, match="holds a run with another set"):
        list(run_all([other], tmp_path, num_jobs=1, launch=Launcher()))


def test_a_worker_leaves_one_line_of_what_went_wrong(tmp_path: Path) -> None:
    job = job_of(root=str(tmp_path / "nowhere"))
    folder = job.folder(tmp_path)
    write_job(job, folder)
    with lease(folder / "run.lease"):
        assert work(folder) == TAKEN
    assert work(folder) == FAILED
    assert read_failure(folder) == f"{tmp_path / 'nowhere'}: no such folder."
    assert not is_finished(folder)


@pytest.mark.parametrize(
    ("world", "metric", "checks"),
    [("charades-sta", "R@1,IoU=0.5", ["sentences exchanged", "nonsense sentences"]),
     ("coin", "frame_accuracy", [])],
)  # fmt: skip
def test_sentences_and_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: str, metric: str, checks: list[str]
) -> None:
    def encode(_: Synthetic, texts: Sequence[str], *, templates=None) -> np.ndarray:
        """Quicker than to read them."""
        rows = [np.random.default_rng(list(t.encode())).normal(size=Synthetic.dim) for t in texts]
        return np.array(rows, dtype=np.float32)

    monkeypatch.setattr(Synthetic, "encode_text", encode)
    make_world(world, tmp_path / "data", train=1, test=1)
    dataset = f"synthetic-{world}"
    places = {"root": str(tmp_path / "data"), "features": str(tmp_path / "data" / "features")}
    job = job_of(dataset=dataset, setting="all", split="all", text_check=bool(checks), **places)
    record = perform(job, tmp_path)
    assert record.task == DATASETS[dataset].task
    assert 0 <= record.metrics[metric] <= 1
    assert list(record.text_check) == checks
    assert all(found.keys() == record.metrics.keys() for found in record.text_check.values())
    assert record.cost.num_videos == 1
    assert sections([record])[0].tables[0].rows[0][0] == "similarity"


def test_videos_are_composed_and_encoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for label in ("jump", "run", "background"):
        (tmp_path / "clips" / label).mkdir(parents=True)
        for i in range(2):
            make_video(tmp_path / "clips" / label / f"{i}.mp4", seconds=1)
    monkeypatch.setenv("CLIPS", str(tmp_path / "clips"))
    monkeypatch.setattr("openmoment.bench.material.load_encoder", lambda _: FakeEncoder())
    compose = {"clips": "$CLIPS", "train": 1, "test": 1}
    suite = suite_of(
        backbones=["fake"],
        datasets={"mine": {"dataset": "folder", "unseen": ["run"], "compose": compose}},
    )
    (one,) = plan_jobs(suite)
    job, part = place(*one, parse_places({}, suite.datasets), tmp_path), suite.datasets[0]
    told: list[str] = []
    make_part(part, [job], tmp_path, told.append, None)
    assert [line.partition(":")[2][:12] for line in told] == [" being made ", " features of"]
    assert len(list(Path(job.features).glob("*.safetensors"))) == 2
    assert Path(job.features) == tmp_path / "mine" / "features" / "fake"
    make_part(part, [job], tmp_path, told.append, None)
    assert len(told) == 2
    other = replace(part, unseen=("jump",))
    with pytest.raises(ConfigError, match="was made with other settings of mine"):
        make_part(other, [job], tmp_path, told.append, None)


def make_or_fail(name: str, folder: Path, tell, advance) -> None:
    if name == "bad":
        raise ConfigError("bad: is bad.")
    if name == "dead":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "slow":
        time.sleep(60)
    tell(f"{name}: {os.environ['OMP_NUM_THREADS']} threads")
    advance(name)(1, 2)
    (folder / name).touch()


def test_datasets_are_made_apart_and_one_failure_ends_the_others(tmp_path: Path) -> None:
    told: list[News] = []
    make_apart(
        make_or_fail,
        [("a", tmp_path), ("b", tmp_path), ("c", tmp_path)],
        num_jobs=2,
        threads=3,
        hear=told.append,
    )
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c"}
    assert sorted(news.line for news in told if news.line) == [f"{n}: 3 threads" for n in "abc"]
    assert {(news.label, news.done, news.total) for news in told if news.label} == {
        (name, 1, 2) for name in "abc"
    }
    for name, message in (("bad", "^bad: is bad.$"), ("dead", "ended with -9")):
        start = time.monotonic()
        items = [(name, tmp_path), ("slow", tmp_path), ("after", tmp_path)]
        with pytest.raises(OpenMomentError, match=message):
            make_apart(make_or_fail, items, num_jobs=2, threads=1, hear=told.append)
        assert time.monotonic() - start < 30
        assert not (tmp_path / "after").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc to see processes in")
def test_a_run_ends_with_its_bench() -> None:
    child = (
        "from openmoment.bench.worker import end_with_parent; end_with_parent(every_s=0.05); "
        "import time; print('watching', flush=True); time.sleep(60)"
    )
    parent = (
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE); "
        "child.stdout.readline(); print(child.pid, flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True)
    status = Path(f"/proc/{done.stdout.strip()}/status")
    ends = time.monotonic() + 10
    while status.exists() and "State:\tZ" not in status.read_text():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_scattered_videos_are_collected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    make_video(tmp_path / "a" / "one.mp4")
    make_video(tmp_path / "a" / "two.mp4")

    def entry(*labels: str) -> dict:
        rows = [{"segment": [0.5, 1.5], "label": label} for label in labels]
        return {"duration": 2.0, "annotations": rows}

    database = {"a/one.mp4": entry("run", "sit"), "a/two.mp4": entry(), "b/three.mp4": entry("run")}
    (tmp_path / "all.json").write_text(json.dumps({"database": database}))
    monkeypatch.setenv("HERE", str(tmp_path))
    given = {"annotations": "$HERE/all.json", "labels": ["run"], "include": ["a/*"]}
    suite = suite_of(datasets={"mine": {"dataset": "folder", "collect": given}})
    part = suite.datasets[0]
    make_material([(part, [])], tmp_path, tell=lambda _: None)
    data = load_dataset("folder", tmp_path / "mine")
    assert (data.class_names, list(data.subset("test"))) == (("run",), ["one"])
    assert [p.name for p in (tmp_path / "mine" / "videos").iterdir()] == ["one.mp4"]
    with pytest.raises(FormatError, match=r"there is no .*three\.mp4"):
        collect(tmp_path / "all.json", tmp_path / "x", include=["b/*"])
    with pytest.raises(FormatError, match="no video fits"):
        collect(tmp_path / "all.json", tmp_path / "x", labels=["fly"])


def test_cores_are_used_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmoment.bench.measure.num_cores", lambda: 8)
    assert share_cores(None, 0) == (8, 1)
    assert share_cores(2, 0) == (2, 4)
    assert share_cores(None, 2) == (4, 2)
    assert share_cores(16, 0) == (16, 1)
    assert limit_threads(3)["OMP_NUM_THREADS"] == "3"


def test_the_peak_of_memory_begins_anew() -> None:
    if peak_memory() is None:
        pytest.skip("this system does not say")
    first = Stopwatch()
    held = np.ones(100 << 17)  # 100 MiB
    with_it = first.peak_bytes()
    del held
    later = Stopwatch()
    assert with_it is not None and (after := later.peak_bytes()) is not None
    assert 0 < after <= with_it
    assert later.seconds() <= first.seconds()


# ---------------------------------------------------------------------------------------------
# What is told
# ---------------------------------------------------------------------------------------------


def record_of(
    label: str = "contrans", split: str = "0", average: float = 0.3, **job: object
) -> Record:
    made = {"dataset": "thumos14", "part": "thumos14", "group": "thumos14", "method": "contrans"}
    return Record(
        job=job_of(label, split=split, **(made | job)),
        task="detection",
        card={"backbone": "clip-vit-b-16", "date": "2026-01-01", "seconds": 3.0, "missing": []},
        metrics={"mAP@0.5": average + 0.1, "mAP_avg": average},
        cost=Cost(2.0, 10, 1_500_000, 300 << 20, 60.0, 900 << 20, 1, "<Processor> | 1"),
        text_check={"names exchanged": {"mAP_avg": 0.01}, "nonsense words": {"mAP_avg": 0.2}},
        label_given={"R@IoU0.5": 0.5, "mIoU": 0.4},
        shares={"true positive": 0.25, "background": 0.75},
        gains={"background": 0.05},
        seed=4,
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = record_of(set={"length": 128}, unseen=("a", "b"))
    folder = record.job.folder(tmp_path)
    folder.mkdir(parents=True)
    write_record(record, folder)
    assert read_record(folder) == record
    assert read_records(tmp_path) == [record]
    document = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(document | {"schema": "other/9"}))
    with pytest.raises(FormatError, match="schema: expected"):
        read_record(folder)
    with pytest.raises(FormatError, match="holds no runs"):
        read_records(tmp_path / "nowhere")


def test_one_word_for_all_numbers() -> None:
    record = record_of()
    slower = replace(record, cost=replace(record.cost, inference_s=9.0))
    slower = replace(slower, card={**record.card, "date": "later", "seconds": 9.0})
    assert digest([record]) == digest([slower])
    nudged = replace(record, metrics={**record.metrics, "mAP_avg": np.nextafter(0.3, 1.0)})
    assert digest([record]) != digest([nudged])


def test_ours_and_the_papers_in_one_table() -> None:
    (section,) = sections([record_of(), record_of(split="1", average=0.4)])
    results, given, texts, wrong, dear, cost = section.tables
    assert section.title == "thumos14, unseen classes of 75-25"
    assert results.header == ("method", "whose", "mAP@0.5", "mAP_avg", HOW)
    ours, paper, *others = results.rows
    assert ours[:4] == ("contrans", "ours", "45.0 ± 7.1", "35.0 ± 7.1")
    assert ours[4] == "clip-vit-b-16; 2 of 10 splits"
    assert paper[:4] == ("ConTrans", "ConTrans, Table 1", "33.1", "33.3")
    told = {row[0]: row for row in others}
    assert "ConTrans" not in told
    assert told["B-I"][4] == "proposals of AFSD, by T3AL's account"
    assert given.rows[0] == ("contrans", "ours", "50.0 ± 0.0", "40.0 ± 0.0")
    assert texts.rows[0][-1] == "57 % left: it reads its text in part"
    assert (wrong.rows[0][1], dear.rows[0][-1]) == ("25 ± 0", "5.0 ± 0.0")
    assert cost.rows == (("contrans", "1.50", "60.0", "900", "2.0", "200", "300"),)


def test_a_score_near_zero_has_no_verdict() -> None:
    (section,) = sections([record_of(average=0.009)])
    (row,) = section.tables[2].rows
    assert row[-1] == "too little to tell (the score itself is below 1 %)"


def test_zeros_with_the_label_given_are_explained() -> None:
    some, none = record_of(), replace(record_of("other"), label_given=dict.fromkeys(["mIoU"], 0.0))
    assert sections([some])[0].tables[1].note == ""
    assert "no snippet that shows its label" in sections([some, none])[0].tables[1].note


def test_a_made_up_world_stands_beside_no_paper() -> None:
    record = record_of(dataset="synthetic-thumos14")
    (section,) = sections([record])
    assert [row[1] for row in section.tables[0].rows] == ["ours"]
    assert "made-up world" in section.note


def test_rotations_of_a_group_are_averaged() -> None:
    parts = [
        record_of(part=f"rotation-{i}", group="composed", dataset="folder", setting="all",
                  split="own", unseen=(str(i),), average=0.1 * i)
        for i in range(3)
    ]  # fmt: skip
    (group,) = group_records(parts)
    assert group.title == "composed, unseen classes"
    (row,) = group.rows
    assert np.mean(row.values("metrics", "mAP_avg")) == pytest.approx(0.1)


def test_the_report_in_three_forms(tmp_path: Path) -> None:
    records = [record_of(), record_of("other", average=0.5)]
    failed = [("thumos14/x", "<it> broke")]
    page, markdown, latex = (
        path.read_text() for path in write_reports(records, tmp_path, title="A & B", failed=failed)
    )
    assert "<h1>A &amp; B</h1>" in page and "&lt;it&gt; broke" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    assert page.index(">other<") < page.index(">contrans<")  # best first
    assert f"All numbers together: {digest(records)}" in markdown
    assert "- `thumos14/x`: <it> broke" in markdown
    assert r"\toprule" in latex and "33.3" in latex
    for text in (page, markdown, latex):
        assert "30.0" in text and "What it costs" in text


def test_the_ledger() -> None:
    made = record_of(dataset="synthetic-thumos14", group="made")
    record = record_of(suite="thumos14-zero-shot", backbone="clip-vit-b-16")
    lines = to_ledger([record, made]).splitlines()
    (ours,) = (one for one in lines if one.startswith("| ConTrans (ConTrans, Table 1)")
               and "75-25" in one and "33.1 / 33.3" in one)  # fmt: skip
    for told in ("40.0 / 30.0", "seed 4", r"<Processor> \| 1", "--only contrans --out DIR"):
        assert told in ours
    for paper in ("| STALE (STALE, Table 1)", "| GRIZAL (GRIZAL, Table 1)"):
        (other,) = (one for one in lines if one.startswith(paper) and "50-50" in one and
                    "THUMOS14" in one)  # fmt: skip
        assert "not attempted: needs features of THUMOS14, clip-vit-b-16" in other
    assert lines.index("## Ours alone") < len(lines) - 3
    assert lines[-1].startswith("| made, unseen classes of 75-25")


def test_every_method_has_a_card() -> None:
    pages = card_pages([record_of()])
    known = {row.method for row in published_results()}
    for name in METHODS:
        card = card_of(name)
        assert card.what
        assert set(card.published) <= known
        assert f"`{name}`" in pages[f"{name}.md"].splitlines()[0]
        assert f"({name}.md)" in pages["README.md"]
    assert "30.0" in pages["contrans.md"] and "`thumos14-paper`" in pages["contrans.md"]
    assert "No run of it was given" in pages["stale.md"]
    assert card_of("from elsewhere").what == ""


def test_a_method_without_a_card_speaks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openmoment.bench.method_card._cards", dict)
    assert card_of("whole_video").what.startswith("One segment, the whole video")
    page = card_pages([])["whole_video.md"]
    assert "Reference implementation" not in page and "## Known failure modes" not in page


# ---------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------

TINY = """
title = "Tiny"
threads = 1
settings = ["75-25"]
splits = [0]
backbones = ["synthetic"]

[datasets.made]
dataset = "synthetic-thumos14"
synthesize = { world = "thumos14", train = 12, test = 12 }

[methods.similarity]

[methods.contrans]
set = { length = 32, num_layers = 1, epochs = 1, batch_size = 8 }

[methods.broken]
method = "t3al"
set = { steps = -1 }
"""


def test_a_bench_of_two_runs_and_one_that_fails(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    out = tmp_path / "out"
    command = ("bench", tmp_path / "tiny.toml", "--out", out)
    done = run(*command)
    assert done.exit_code == 2, (done.output, done.exception)
    assert "made/75-25/0/synthetic/broken: failed: method t3al: steps" in done.stderr
    assert "2 runs are there, 1 failed" in done.stderr
    trained, plain = read_records(out)
    assert (trained.job.label, plain.job.label) == ("contrans", "similarity")
    assert set(trained.text_check) == {"names exchanged", "nonsense words"}
    assert sum(trained.shares.values()) == pytest.approx(1)
    assert trained.cost.training_s and trained.cost.num_parameters > 1000
    assert plain.cost.training_s is None and plain.cost.num_parameters == 0
    assert trained.seed == 0 and "mIoU" in plain.label_given
    for record in (trained, plain):
        folder = record.job.folder(out)
        assert record.cost.inference_s > 0 and (folder / "result" / "diagnosis.html").is_file()
    assert "steps" in (out / "report.html").read_text()
    times = {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    both = (*command, "--only", "similarity", "--only", "contrans")
    again = run(*both)
    assert again.exit_code == 0, again.output
    some = run(*both, "--list").stdout
    assert "/similarity:" in some and "/contrans:" in some and "/broken:" not in some
    assert times == {path: path.stat().st_mtime_ns for path in out.rglob("run.json")}
    listed = run(*command, "--list").stdout
    assert "made/75-25/0/synthetic/similarity: finished" in listed
    assert "made/75-25/0/synthetic/broken: failed: method t3al" in listed


def test_other_settings_do_not_mix_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    write_job(replace(job_of(), set={"top": 1}), job_of().folder(tmp_path))
    made = tmp_path / "data" / "made"
    made.mkdir(parents=True)
    (made / "made.json").write_text(json.dumps({"world": "activitynet"}))
    told = refusal("bench", tmp_path / "tiny.toml", "--out", tmp_path, "--only", "similarity")
    assert "was made with other settings of made" in told


def test_reports_ledger_and_cards_of_results(tmp_path: Path) -> None:
    record = record_of()
    folder = record.job.folder(tmp_path / "r")
    folder.mkdir(parents=True)
    write_record(record, folder)
    assert run("bench", "report", tmp_path / "r", "--out", tmp_path / "told").exit_code == 0
    assert (tmp_path / "told" / "report.md").read_text().startswith("# Benchmark")
    assert run("bench", "ledger", tmp_path / "r", "--out", tmp_path / "a" / "l.md").exit_code == 0
    assert run("bench", "ledger").stdout.startswith("# Reproduction ledger")
    assert run("bench", "cards", tmp_path / "r", "--out", tmp_path / "cards").exit_code == 0
    assert len(list((tmp_path / "cards").iterdir())) == len(METHODS) + 1
    assert "holds no runs" in refusal("bench", "report", tmp_path, "--out", tmp_path / "x")


def test_a_report_of_some_runs_says_which_are_missing(tmp_path: Path) -> None:
    records, out = [record_of(), record_of(split="1")], tmp_path / "told"
    for record in records:
        record.job.folder(tmp_path).mkdir(parents=True)
        write_record(record, record.job.folder(tmp_path))
    whole = write_reports(records, tmp_path, title="Benchmark")
    assert run("bench", "report", tmp_path, "--out", out).stderr.startswith("Wrote")
    for path in whole:  # not a byte more
        assert (out / path.name).read_text() == path.read_text()

    jobs = [job_of("never"), *(job_of("x", split=str(i)) for i in range(11))]
    begun = run_all(jobs, tmp_path, num_jobs=1, launch=Launcher(never="sys.exit(2)"))
    next(begun)
    begun.close()
    told = "2 of 14 runs are there; missing: made/75-25/0/synthetic/never, "
    result = run("bench", "report", tmp_path, "--out", out)
    assert result.stderr.startswith("2 of 14 ")
    for name in ("report.md", "report.html", "report.tex"):
        assert told in (out / name).read_text()
    assert "/x and 2 more." in (out / "report.md").read_text()


def test_a_plan_without_a_description_has_no_gap(tmp_path: Path) -> None:
    (tmp_path / "tiny.toml").write_text(TINY)
    assert run("bench", tmp_path / "tiny.toml", "--list").stdout.startswith("Tiny\n\nmade: ")


def test_ctrl_c_says_what_a_bench_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*args: object, **how: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.setattr("openmoment.bench.material.make_material", stop)
    done = run("bench", tmp_path / "tiny.toml", "--out", tmp_path / "out")
    assert done.exit_code == 130
    assert done.stderr.endswith("Finished runs are kept; the same command goes on.\n")


def test_the_suites_are_listed() -> None:
    listed = run("bench", "list").stdout
    assert all(f"{name}: " in listed for name in shipped_suites())
    told = run("bench", "thumos14-zero-shot", "--list").stdout
    assert "openmoment features extract videos/" in told and "missing: --root thumos14=DIR" in told
    assert "Unknown suite 'nothing'" in refusal("bench", "nothing", "--out", "x")
    assert "--out DIR" in refusal("bench", "smoke")
    assert asdict(read_suite("smoke"))["threads"] == 1
