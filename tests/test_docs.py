"""The documents say what is so: examples run, links lead somewhere, no command is forgotten."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openmoment.encoders import ENCODERS, FEATURE_ENCODERS
from openmoment.features.released import RELEASES
from openmoment.methods import METHODS
from openmoment.video.demo import make_demo_video

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = document.parent / name if name else document
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_the_command_reference_is_current() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "build_cli_docs.py", "--print"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    told = (ROOT / "docs" / "cli.md").read_text()
    assert told == made, "run: python scripts/build_cli_docs.py"


def test_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, in one namespace; a text block after an example is what it prints."""
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    make_demo_video(Path("match.mp4"))
    text = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"```(python|text)\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) > 8
    namespace: dict[str, object] = {}
    printed: list[str] = []
    namespace["print"] = lambda *values: printed.append(" ".join(map(str, values)))
    for kind, block in blocks:
        if kind == "python":
            printed.clear()
            exec(compile(block, "docs/python.md", "exec"), namespace)
        else:
            assert "\n".join(printed) == block.strip()
    for name in ("match.vtt", "match.html"):
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("name", [*ENCODERS, *FEATURE_ENCODERS, *METHODS, *RELEASES])
def test_every_method_backbone_and_release_is_described(name: str) -> None:
    assert any(f"`{name}`" in document.read_text() for document in DOCUMENTS)
