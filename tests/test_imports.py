"""The drawing of the house is a test: imports point left only, and the light half stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import openmoment

SOURCE = Path(openmoment.__file__).parent
COLUMNS = (
    (
        *("types", "errors", "registry", "config", "extras", "files", "reading", "listing", "rows"),
        "intervals",
    ),
    (
        "video",
        "features",
        "released",
        "captions",
        "cache",
        "leases",
        "postprocess",
        "proposals",
        "tasks",
        "datasets",
        "evaluation",
        "export",
        "reviews",
        "questions",
        "behaviour",
    ),
    ("encoders", "blocks", "priors"),
    # extraction takes an encoder as a part and knows no method
    ("methods", "extraction", "calibration"),
    (
        "pipeline",
        "training",
        "report",
        "demo",
        "experiment",
        "ablation",
        "retrieval_run",
        "segmentation_run",
        "synthesis",
        "bench",
    ),
    ("cli", "server", "archive", "__main__"),
)
COLUMN_OF = {part: i for i, parts in enumerate(COLUMNS) for part in parts}
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
    "openmoment.bench.work",
    "openmoment.blocks.attention",
    "openmoment.blocks.batch",
    "openmoment.blocks.borrowed",
    "openmoment.blocks.boundary_matching",
    "openmoment.blocks.boundary_targets",
    "openmoment.blocks.context",
    "openmoment.blocks.convolution",
    "openmoment.blocks.fusion",
    "openmoment.blocks.instance_masks",
    "openmoment.blocks.losses",
    "openmoment.blocks.points",
    "openmoment.blocks.processes",
    "openmoment.blocks.pyramid",
    "openmoment.blocks.targets",
    "openmoment.blocks.temporal",
    "openmoment.blocks.text_reader",
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
    "openmoment.training.loop",
    "openmoment.training.pretrain",
    "openmoment.training.processes",
    "openmoment.training.run",
    "openmoment.training.sentences",
}
NEEDS_AV = "openmoment.video"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_parts(path: Path) -> set[str]:
    """The parts of the package that a module imports when it is imported, types aside."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("openmoment."):
            found.add(node.module.split(".")[1])
        if isinstance(node, ast.Import):
            found |= {n.name.split(".")[1] for n in node.names if n.name.startswith("openmoment.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_reaches_up(path: Path) -> None:
    parts = module_name(path).split(".")
    if len(parts) == 1:
        return  # the public list re-exports
    assert parts[1] in COLUMN_OF, f"give {parts[1]} a column"
    up = {p for p in imported_parts(path) if COLUMN_OF.get(p, 0) > COLUMN_OF[parts[1]]}
    assert not up


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
