"""The drawing of the house is a test: imports point down only, and the light half stays light."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import openmoment

SOURCE = Path(openmoment.__file__).parent
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"
FLOORS = (
    ("errors", "version"),
    ("config", "registry", "extras", "storage"),
    ("types",),
    ("postprocess", "video", "features", "questions", "figures"),
    ("detections", "encoders", "encoders.weights"),
    ("reviews", "encoders.towers"),
    ("datasets", "blocks", "encoders.two_tower"),
    ("datasets.made_up", "evaluation", "methods", "encoders.motion"),
    ("export", "behaviour", "calibration", "checkpoints", "encoders.embedded"),
    ("priors", "encoders.captioners"),
    ("pipeline",),
    ("training", "report"),
    ("experiments",),
    ("bench",),
    ("server.work", "server.service"),
    ("server.routes",),
    ("server",),
    ("cli.text",),
    ("cli.options",),
    ("cli",),
    ("__main__", "openmoment"),
)
"""The house from the ground up. A room is a folder, or a module at the root; of one floor none
imports another, and none imports one above it, wherever in a file the import stands."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = (
    "torch",
    "av",
    "cv2",
    "matplotlib",
    "pandas",
    "skimage",
    "sentence_transformers",
    "sklearn",
    "torchvision",
)
NEEDS_TORCH = {
    "openmoment.experiments.ablation",
    "openmoment.experiments.training",
    "openmoment.bench.work",
    "openmoment.blocks.attention",
    "openmoment.blocks.batch",
    "openmoment.blocks.borrowed",
    "openmoment.blocks.boundary_matching",
    "openmoment.blocks.boundary_targets",
    "openmoment.blocks.class_sampling",
    "openmoment.blocks.context",
    "openmoment.blocks.convolution",
    "openmoment.blocks.fusion",
    "openmoment.blocks.instance_masks",
    "openmoment.blocks.labels",
    "openmoment.blocks.losses",
    "openmoment.blocks.pairs",
    "openmoment.blocks.points",
    "openmoment.blocks.processes",
    "openmoment.blocks.pyramid",
    "openmoment.blocks.targets",
    "openmoment.blocks.temporal",
    "openmoment.blocks.text_reader",
    "openmoment.blocks.words",
    "openmoment.encoders.captioners.decoding",
    "openmoment.encoders.embedded.efficientnet_lite",
    "openmoment.encoders.towers.image_tower",
    "openmoment.encoders.embedded.minilm_tower",
    "openmoment.encoders.towers.t5",
    "openmoment.encoders.towers.text_tower",
    "openmoment.methods.contrans",
    "openmoment.methods.dense_clip",
    "openmoment.methods.effprompt",
    "openmoment.methods.grizal",
    "openmoment.methods.proposing",
    "openmoment.methods.stale",
    "openmoment.methods.trained",
    "openmoment.methods.two_stage",
    "openmoment.methods.unloc",
    "openmoment.training.augment",
    "openmoment.checkpoints.weights",
    "openmoment.training.clips",
    "openmoment.training.data",
    "openmoment.training.frames",
    "openmoment.training.initial",
    "openmoment.training.lesson",
    "openmoment.training.loop",
    "openmoment.training.pretrain",
    "openmoment.training.processes",
    "openmoment.training.run",
    "openmoment.training.sentences",
    "openmoment.training.state",
}
NEEDS_AV = "openmoment.video"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(path: Path) -> str:
    """The folder below the package; of a module at the root its own name."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1]) or {"__init__": "openmoment"}.get(parts[0], parts[0])


def imports_of(path: Path) -> Iterator[tuple[int, Path]]:
    """The line and the file of each import from the package, also in functions and for types."""
    for node in ast.walk(ast.parse(path.read_text())):
        named: list[str] = []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("openmoment"):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            named = [a.name for a in node.names if a.name.split(".")[0] == "openmoment"]
        for name in named:
            yield node.lineno, file_of(name)  # type: ignore[attr-defined]


def file_of(name: str) -> Path:
    """The file that a dotted name lies in: a module's own, or that of the module that has it."""
    base = SOURCE.parent.joinpath(*name.split("."))
    if (base / "__init__.py").is_file():
        return base / "__init__.py"
    return (
        base.with_suffix(".py")
        if base.with_suffix(".py").is_file()
        else file_of(name.rpartition(".")[0])
    )


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_room_reaches_up(path: Path) -> None:
    here = room_of(path)
    assert here in FLOOR_OF, f"give the room {here} a floor"
    for line, file in imports_of(path):
        there = room_of(file)
        is_down = here == there or FLOOR_OF[there] < FLOOR_OF[here]
        assert is_down, (
            f"the room {here} imports the room {there}, which does not lie below it: "
            f"{path.relative_to(SOURCE)}:{line} imports {file.relative_to(SOURCE)}"
        )


def test_no_file_leads_back_to_itself() -> None:
    leads = {path: {file for _, file in imports_of(path) if file != path} for path in MODULES}
    assert not (circle := circle_in(leads)), " -> ".join(map(module_name, circle))


def circle_in(leads: dict[Path, set[Path]]) -> list[Path]:
    """The first way that comes back to where it was; empty where there is none."""
    done: set[Path] = set()
    for start in leads:
        way, open_ends = [start], [iter(leads[start])]
        while way:
            new = next((n for n in open_ends[-1] if n not in done), None)
            if new is None:
                done.add(way.pop())
                open_ends.pop()
            elif new in way:
                return [*way[way.index(new) :], new]
            else:
                way.append(new)
                open_ends.append(iter(leads[new]))
    return []


def test_rooms_and_circles_are_noticed() -> None:
    a, b, c = (Path(name) for name in "abc")
    assert circle_in({a: {b}, b: {c}, c: {b}}) == [b, c, b]
    assert circle_in({a: {b, c}, b: {c}, c: set()}) == []
    assert room_of(SOURCE / "encoders" / "embedded" / "minilm.py") == "encoders.embedded"
    assert (room_of(SOURCE / "types.py"), room_of(SOURCE / "__init__.py")) == (
        "types",
        "openmoment",
    )
    assert file_of("openmoment.types.Detections") == SOURCE / "types.py"
    assert {room_of(path) for path in MODULES} == set(FLOOR_OF)


def test_the_map_of_the_house_is_what_is_built() -> None:
    """docs/architecture.md says of every room what it imports, but for the ground floor."""
    rows = re.findall(r"^\| `([\w.]+)/?` \| .+ \| ?(.*)\|$", ARCHITECTURE.read_text(), re.MULTILINE)
    drawn = {room: set(re.findall(r"`([\w.]+)`", imports)) for room, imports in rows}
    ground = {room for rooms in FLOORS[:3] for room in rooms}
    built = {room: set() for room in FLOOR_OF}
    for path in MODULES:
        built[room_of(path)] |= {room_of(file) for _, file in imports_of(path)} - ground
    for room, there in built.items():
        is_any = any(named == room and "any" in imports for named, imports in rows)
        assert is_any or drawn[room] == there - {room}, (
            f"the row of {room}: {sorted(there - {room})}"
        )
    assert drawn.keys() == built.keys()


def loaded_after(statement: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after a statement."""
    report = f"{statement}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_no_module_loads_what_is_heavy_when_imported() -> None:
    names = [module_name(path) for path in MODULES]
    light = [n for n in names if n not in NEEDS_TORCH and not n.startswith(NEEDS_AV)]
    assert loaded_after("\n".join(f"import {name}" for name in light)) == set()


def test_video_needs_pyav_alone() -> None:
    assert loaded_after("import openmoment.video") == {"av"}


def test_torch_is_where_it_is_said_to_be() -> None:
    assert "torch" in loaded_after("import openmoment.encoders.embedded.efficientnet_lite")


def test_words_and_cached_features_need_no_torch() -> None:
    statement = (
        "from openmoment.encoders import load_encoder\n"
        "load_encoder('embedded').encode_text(['pole vault'])"
    )
    assert "torch" not in loaded_after(statement)


def test_public_names() -> None:
    assert sorted(openmoment.__all__) == openmoment.__all__
    for name in openmoment.__all__:
        assert getattr(openmoment, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = openmoment.nothing


def test_no_method_is_named_outside_its_file() -> None:
    """A2 of our style: nobody asks which method this is."""
    from openmoment.methods import DEFAULT, METHODS

    for path in MODULES:
        if path.parent.name == "methods":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_compared = isinstance(node, ast.Compare) and any(
                isinstance(c, ast.Constant) and c.value in METHODS for c in node.comparators
            )
            assert not is_compared, f"{path}:{node.lineno}"
    assert DEFAULT in METHODS
