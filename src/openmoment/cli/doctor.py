"""openmoment doctor: what is installed, what is ready, and what to do about the rest."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import typer

from openmoment.cli.options.outputs import Json
from openmoment.cli.text.console import INPUT_FAULT, print_json, verb
from openmoment.cli.text.ready import list_backbones, list_video_models
from openmoment.version import __version__

PACKAGES = ("av", "jaxtyping", "numpy", "safetensors", "tokenizers", "torch", "typer")
EXTRAS = {
    "clip": "open_clip_torch",
    "flow": "opencv-python-headless",
    "hf": "transformers",
    "images": "diffusers",
    "kinetics": "torchvision",
    "plot": "matplotlib",
    "pandas": "pandas",
    "priors": "openai",
    "raft": "torchvision",
    "server": "fastapi",
    "tensorboard": "tensorboard",
    "train": "accelerate",
}
"""What each extra is known by."""


@verb
def doctor_verb(as_json: Json = False) -> None:
    """Check this installation. Exits with 2 when no backbone can run."""
    facts = examine()
    if as_json:
        print_json(facts)
    else:
        for line in describe(facts):
            typer.echo(line)
    if not any(backbone["missing"] is None for backbone in facts["backbones"]):
        raise typer.Exit(INPUT_FAULT)


def examine() -> dict[str, Any]:
    """What is here, as plain values."""
    from openmoment.features.cache import Cache

    cache = Cache()
    return {
        "openmoment": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: installed(name) for name in PACKAGES},
        "extras": {extra: installed(name) is not None for extra, name in EXTRAS.items()},
        "backbones": list_backbones(),
        "video_models": list_video_models(),
        "cache": {
            "folder": str(cache.root),
            "bytes": cache.size_bytes(),
            "writable": is_writable(cache.root),
        },
    }


def describe(facts: dict[str, Any]) -> list[str]:
    """The same for people: a cure beside each thing that is missing."""
    lines = [f"openmoment {facts['openmoment']}, Python {facts['python']}, {facts['platform']}"]
    lines += ["", "packages"]
    for name, found in facts["packages"].items():
        lines.append(f"  {name:<12}  {found or f'MISSING. Run: pip install {name}'}")
    for title, key in (("backbones", "backbones"), ("for features alone", "video_models")):
        lines += ["", title]
        lines += [f"  {row['name']:<22}  {row['missing'] or 'ready'}" for row in facts[key]]
    lines += ["", "extras"]
    for extra, is_ready in facts["extras"].items():
        cure = f"not installed. Run: pip install 'openmoment[{extra}]'"
        lines.append(f"  {extra:<12}  {'ready' if is_ready else cure}")
    cache = facts["cache"]
    note = "" if cache["writable"] else ", NOT WRITABLE: set OPENMOMENT_CACHE to another folder"
    lines += ["", "cache", f"  {cache['folder']}, {cache['bytes'] / 1e6:.1f} MB{note}"]
    return lines


def installed(package: str) -> str | None:
    """A package's version, without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in the folder, or in the nearest one above that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
