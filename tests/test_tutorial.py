"""The commands of docs/evaluate_your_own.md, on real videos."""

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from openmoment.cli.main import app

TUTORIAL = Path(__file__).parents[1] / "docs" / "evaluate_your_own.md"
WORDS = {
    "BaseballPitch": "baseball pitch",
    "ThrowDiscus": "throwing a discus",
    "Clean and jerk": "weightlifting",
    "Walking the dog": "walking the dog",
}


@pytest.fixture
def footage(data_root: Path, tmp_path: Path) -> Path:
    """Four untrimmed videos and their published annotations, as a practitioner would have them."""
    folder = tmp_path / "footage"
    folder.mkdir()
    lines = ["video,start_s,end_s,label"]
    database = json.loads((data_root / "clips_temporal.json").read_text())["database"]
    for path, entry in database.items():
        if Path(path).parent.name in ("thumos14", "activitynet"):
            (folder / Path(path).name).symlink_to(data_root / path)
            for row in entry["annotations"]:
                start_s, end_s = row["segment"]
                lines.append(f"{Path(path).name},{start_s},{end_s},{WORDS[row['label']]}")
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n")
    (folder / "queries.txt").write_text("\n".join(WORDS.values()) + "\n")
    return folder


@pytest.mark.data
def test_the_tutorial_runs(footage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(footage.parent)
    blocks = re.findall(r"```console\n(.*?)```", TUTORIAL.read_text(), flags=re.DOTALL)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 3
    printed = []
    for command in commands:
        name, *args = shlex.split(command)
        assert name == "openmoment"
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, (command, done.output, done.exception)
        printed.append(done.stdout)
    found, scored, checked = printed
    assert "video_test_0000946.mp4" in found
    assert "mAP@0.5" in scored and "throwing a discus" in scored
    assert "false alarms" in scored.lower()
    assert Path("errors.html").stat().st_size > 1000
    assert "4 videos; 5 instances" in scored
    assert "names exchanged: average mAP" in checked
