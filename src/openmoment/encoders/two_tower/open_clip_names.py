"""open_clip's models by name, and where their weights are: on disk, or in the user's hub cache."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from openmoment.encoders.weights.hub import WEIGHT_NAMES, cached_weights
from openmoment.errors import ConfigError, MissingWeightsError

CONFIG = "open_clip_config.json"
MOBILE = "MobileCLIP"
"""What the architectures are called whose image towers have branches that fold into one."""


class Pixels(NamedTuple):
    """How a model wants its pictures, in open_clip's words."""

    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"


OPENAI = Pixels()
"""What open_clip takes for a file of weights that nothing else is known of."""


class Weights(NamedTuple):
    """Where a model's weights come from; one of ``tag`` and ``path``."""

    architecture: str
    """An open_clip model's name, or ``local-dir:FOLDER``."""
    tag: str = ""
    path: Path | None = None
    repo: str = ""
    """On the hub, where it is known without asking open_clip."""


def parse_spec(text: str) -> Weights | None:
    """``ARCHITECTURE@TAG``, ``ARCHITECTURE@PATH`` or a folder; None for any other name.

    Raises MissingWeightsError for a path that does not exist or holds no safetensors.
    """
    folder = Path(text).expanduser()
    if folder.is_dir() and (folder / CONFIG).is_file():
        return Weights(f"local-dir:{folder}", path=_in_folder(folder))
    architecture, at, where = text.partition("@")
    if not at or not architecture or not where:
        return None
    path = Path(where).expanduser()
    if path.is_dir():
        return Weights(architecture, path=_in_folder(path))
    if path.suffix or "/" in where:
        if not path.is_file():
            raise MissingWeightsError(f"{path}: no such weights file. Check the path.")
        if path.suffix != ".safetensors":
            raise MissingWeightsError(
                f"{path}: expected a .safetensors file. Pickled weights can run code and are not "
                "loaded; convert them first."
            )
        return Weights(architecture, path=path)
    return Weights(architecture, tag=where)


def name_of(weights: Weights) -> str:
    """A short name that holds no path, so that features can move between machines."""
    if weights.architecture.startswith("local-dir:"):
        return Path(weights.architecture.removeprefix("local-dir:")).name
    return f"{weights.architecture}@{weights.path.stem if weights.path else weights.tag}"


def find_weights(weights: Weights) -> Path | None:
    """The file, where it is on this machine. Asks open_clip only for tags that are no preset's."""
    if weights.path:
        return weights.path
    repo = weights.repo or repo_of(weights)
    return cached_weights(repo) if repo else None


def repo_of(weights: Weights) -> str:
    """The hub repository of an open_clip tag. Raises ConfigError for an unknown one."""
    if weights.repo:
        return weights.repo
    open_clip = import_open_clip()
    known = open_clip.get_pretrained_cfg(weights.architecture, weights.tag)
    if not known:
        tags = open_clip.list_pretrained_tags_by_model(weights.architecture)
        raise ConfigError(
            f"open_clip has no weights {weights.tag!r} of {weights.architecture!r}."
            + (f" Known: {', '.join(tags)}." if tags else " Known models: open_clip.list_models().")
        )
    return known.get("hf_hub", "").rstrip("/")


def pixels_of(weights: Weights) -> Pixels:
    """How weights want their pictures: by their tag, by what lies beside a file, or by its model.

    open_clip itself goes by the tag alone, and takes OpenAI's way for any file. Of a model whose
    tags do not agree, so do we.
    """
    if weights.tag:
        return _pixels(import_open_clip().get_pretrained_cfg(weights.architecture, weights.tag))
    if weights.path and (beside := _read_config(weights.path.parent)):
        return _pixels(beside)
    open_clip = import_open_clip()
    tags = open_clip.list_pretrained_tags_by_model(weights.architecture)
    known = {_pixels(open_clip.get_pretrained_cfg(weights.architecture, tag)) for tag in tags}
    return known.pop() if len(known) == 1 else OPENAI


def _pixels(table: dict[str, Any]) -> Pixels:
    known = {name: table[name] for name in Pixels._fields if table.get(name) is not None}
    numbers = {name: tuple(known[name]) for name in ("mean", "std") if name in known}
    return OPENAI._replace(**known | numbers)


def _read_config(folder: Path) -> dict[str, Any]:
    """What the hub's folder of a model says of pictures; empty where it says nothing."""
    try:
        document = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return dict(document["preprocess_cfg"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def import_open_clip() -> Any:
    """open_clip, also beside a torchvision that does not fit torch. Raises MissingExtraError."""
    from openmoment.encoders.weights.torchvision_ops import declare_missing
    from openmoment.extras import require

    declare_missing()
    return require("open_clip", extra="clip")


def _in_folder(folder: Path) -> Path:
    for name in WEIGHT_NAMES:
        if (folder / name).is_file():
            return folder / name
    raise MissingWeightsError(f"{folder}: holds none of {', '.join(WEIGHT_NAMES)}.")


def missing_packages(*, has_hub_tokenizer: bool = False) -> str | None:
    from importlib.util import find_spec

    lacks_tokenizers = has_hub_tokenizer and find_spec("transformers") is None
    extras = "clip,hf" if lacks_tokenizers else "clip"
    if find_spec("open_clip") is None:
        return f"Needs open_clip. Run: pip install 'openmoment[{extras}]'"
    if lacks_tokenizers:
        return "Needs transformers. Run: pip install 'openmoment[hf]'"
    return None


def missing_weights(weights: Weights, name: str) -> str | None:
    if find_weights(weights):
        return None
    return f"{name}: no weights on this machine. Run: openmoment models pull {name}"
