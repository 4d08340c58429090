"""Weights from the user's own hub cache, and the one function that downloads.

Looking into the cache imports nothing and asks nobody; the layout is huggingface_hub's.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from openmoment.errors import MissingWeightsError
from openmoment.extras import require

WEIGHT_NAMES = ("open_clip_model.safetensors", "model.safetensors")
"""Of one model, in the order of preference. Pickled weights are never loaded."""

_SHA256 = hashlib.sha256().digest_size * 2  # letters
_SMALL = (".json", ".txt", "tokenizer.model")


def cache_folder() -> Path:
    """The hub's cache, where the user's environment says it is."""
    home = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def cached_weights(repo: str) -> Path | None:
    """The safetensors file of a repository that was downloaded before, or None."""
    folder = _folder(repo)
    main = folder / "refs" / "main"
    if not main.is_file():
        return None
    snapshot = folder / "snapshots" / main.read_text().strip()
    return next((snapshot / name for name in WEIGHT_NAMES if (snapshot / name).is_file()), None)


def _folder(repo: str) -> Path:
    return cache_folder() / f"models--{repo.replace('/', '--')}"


def pull(repo: str) -> Path:
    """Download a repository's weights into the hub cache, resuming, with progress, and check them.

    Raises MissingWeightsError when the hub cannot be reached, has no such file, or the file is
    not what the hub announced.
    """
    hub = require("huggingface_hub", extra="clip")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it counts its retries aloud
    try:
        there = {sibling.rfilename for sibling in hub.HfApi().model_info(repo, timeout=20).siblings}
        name = next((name for name in WEIGHT_NAMES if name in there), None)
        if name:
            _fetch(hub, repo, name)
        path = Path(hub.hf_hub_download(repo, name)) if name else None
        for small in sorted(file for file in there if file.endswith(_SMALL)):
            hub.hf_hub_download(repo, small)  # its settings and tokenizer
    except MissingWeightsError:
        raise
    except Exception as error:  # the library's errors have no common base
        reason = " ".join(str(error).split())[:160]
        raise MissingWeightsError(
            f"The weights of {repo} could not be downloaded ({reason}). Check the network, and run "
            "it again: what has arrived is kept. Or copy the file to this machine and give its "
            f"path: MODEL@/path/to/{WEIGHT_NAMES[0]}"
        ) from error
    if path is None:
        raise MissingWeightsError(f"{repo} holds none of {', '.join(WEIGHT_NAMES)}.")
    _check(path)
    return path


def _fetch(hub: Any, repo: str, name: str) -> None:
    """A large file into its place in the cache, from where an earlier try ended.

    The library itself forgets, since its version 2, what arrived before it was stopped.
    """
    url = hub.hf_hub_url(repo, name)
    announced = hub.get_hf_file_metadata(url)
    digest = announced.etag or ""
    blob = _folder(repo) / "blobs" / digest
    if len(digest) != _SHA256 or blob.exists():
        return
    blob.parent.mkdir(parents=True, exist_ok=True)
    part = blob.with_name(f"{digest}.part")
    with part.open("ab") as file:
        hub.file_download.http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=hub.utils.build_hf_headers(),
            expected_size=announced.size,
            displayed_filename=name,
        )
    if (found := _sha256(part)) != digest:
        part.unlink()
        raise _damaged(part, found, digest)
    part.replace(blob)


@contextmanager
def offline() -> Iterator[None]:
    """Keep libraries that use the hub from asking it, whatever they are asked for."""
    try:
        from huggingface_hub import constants
    except ImportError:
        yield
        return
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _check(path: Path) -> None:
    """Large files are stored in the cache under their SHA-256."""
    announced = path.resolve().name
    if len(announced) == _SHA256 and (found := _sha256(path)) != announced:
        path.resolve().unlink()
        raise _damaged(path, found, announced)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _damaged(path: Path, found: str, announced: str) -> MissingWeightsError:
    return MissingWeightsError(
        f"{path}: damaged in transfer (SHA-256 {found[:12]}…, announced {announced[:12]}…). "
        "It was removed; pull again."
    )
