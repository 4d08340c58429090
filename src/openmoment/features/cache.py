"""What was computed once: features of videos, embeddings of words, hashes of files.

Everything is addressed by content, so nothing in the cache can be out of date, and every entry can
be lost without harm: a folder that cannot be written to, or a damaged file, costs time only.
Several processes may share one folder.

    <root>/index-1.sqlite                      file hashes and text embeddings
    <root>/features-1/ab/cdef….safetensors     one feature file per video and recipe
    <root>/captions-1/ab/cdef….captions.json   one caption file per video and recipe
    <root>/generated-1/ab/cdef…                what was made for a prompt, or for the page
"""

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.errors import FeatureError, FormatError, OpenMomentError, VideoError
from openmoment.features.captions import SUFFIX as CAPTIONS_SUFFIX
from openmoment.features.captions import Captions, read_captions, write_captions
from openmoment.features.file import SUFFIX, read_features, write_features
from openmoment.storage.atomic import atomic_write
from openmoment.types import Recipe, Snippets

ENVIRONMENT_VARIABLE = "OPENMOMENT_CACHE"
"""Names the folder to use instead of the user's cache folder."""

_INDEX = "index-1.sqlite"
_FEATURES = "features-1"
_CAPTIONS = "captions-1"
_GENERATED = "generated-1"
_SETTLED_S = 2.0  # FAT keeps times in steps of two seconds


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal. Raises VideoError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


class Cache:
    """One cache folder; making the object touches no disk.

    ``root`` is by default what OPENMOMENT_CACHE names, else the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        stated = root or os.environ.get(ENVIRONMENT_VARIABLE)
        self.root = Path(stated) if stated else platformdirs.user_cache_path("openmoment")
        self._index = _Index(self.root / _INDEX)

    def sha256(self, video: Path) -> str:
        """The SHA-256 of a video, hashed again only when path, size, time or inode changed.

        Raises VideoError if it cannot be read.
        """
        before = _identity(video)
        (known,) = self._index.read(
            "SELECT sha256 FROM sources WHERE path = ? AND stamp = ?", [before]
        )
        if known:
            return known
        digest = sha256(video)
        # A file written a moment ago may change again without its time showing it.
        is_settled = not 0 <= time.time() - video.stat().st_mtime < _SETTLED_S
        if is_settled and _identity(video) == before:
            self._index.write(
                "INSERT OR REPLACE INTO sources VALUES (?, ?, ?)", [(*before, digest)]
            )
        return digest

    def features_path(self, recipe: Recipe) -> Path:
        """Where the features of that video and recipe are kept, present or not."""
        return self._entry_path(_FEATURES, recipe, SUFFIX)

    def captions_path(self, recipe: Recipe) -> Path:
        """Where the captions of that video and recipe are kept, present or not."""
        return self._entry_path(_CAPTIONS, recipe, CAPTIONS_SUFFIX)

    def load(self, recipe: Recipe) -> Snippets | None:
        """The snippets of that video and recipe, or None; a damaged file is dropped."""
        path = self.features_path(recipe)
        if not path.is_file():
            return None
        try:
            return read_features(path, expected=recipe)
        except FeatureError:
            with suppress(OSError):
                path.unlink()
            return None

    def store(self, snippets: Snippets) -> bool:
        """Keep snippets for `load`; says whether that was possible."""
        path = self.features_path(snippets.recipe)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(snippets, path)
        except (OSError, OpenMomentError):
            return False
        return True

    def load_captions(self, recipe: Recipe) -> Captions | None:
        """The captions of that video and recipe, or None; a damaged file is dropped."""
        path = self.captions_path(recipe)
        if not path.is_file():
            return None
        try:
            return read_captions(path, expected=recipe)
        except (FormatError, FeatureError):
            with suppress(OSError):
                path.unlink()
            return None

    def store_captions(self, captions: Captions) -> bool:
        """Keep captions for `load_captions`; says whether that was possible."""
        path = self.captions_path(captions.recipe)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_captions(captions, path)
        except (OSError, OpenMomentError):
            return False
        return True

    def generated(self, recipe: Mapping[str, Any], generate: Callable[[], bytes]) -> bytes:
        """What a generator gave for that recipe, or now gives, and is kept.

        ``recipe`` has to change with everything that the generator depends on.
        """
        path = self._path(_GENERATED, recipe, "")
        with suppress(OSError):
            return path.read_bytes()
        made = generate()
        with suppress(OSError, OpenMomentError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(made)
        return made

    def kept_path(self, recipe: Mapping[str, Any], suffix: str) -> Path:
        """Where a file of that recipe is kept that others write, present or not."""
        return self._path(_GENERATED, recipe, suffix)

    def texts(
        self,
        fingerprint: str,
        names: Sequence[str],
        encode: Callable[[Sequence[str]], Float[Array, "k d"]],
    ) -> Float[Array, "k d"]:
        """One float32 embedding per name; ``encode`` is called once, with the unknown names.

        ``fingerprint`` has to change with everything that ``encode`` depends on: the encoder's
        weights and the prompt templates.
        """
        if not names:
            return encode(names)
        unique = list(dict.fromkeys(names))
        keys = [(fingerprint, name.encode(errors="surrogatepass")) for name in unique]
        found = self._index.read(
            "SELECT embedding FROM texts WHERE fingerprint = ? AND name = ?", keys
        )
        known = {
            name: np.frombuffer(blob, dtype="<f4")
            for name, blob in zip(unique, found, strict=True)
            if blob is not None
        }
        unknown = {n: key for n, key in zip(unique, keys, strict=True) if n not in known}
        if unknown:
            made = np.asarray(encode(list(unknown)), dtype="<f4")
            known.update(zip(unknown, made, strict=True))
            rows = [(*key, known[name].tobytes()) for name, key in unknown.items()]
            self._index.write("INSERT OR REPLACE INTO texts VALUES (?, ?, ?)", rows)
        return np.stack([known[name] for name in names])

    def size_bytes(self) -> int:
        """How much disk the cache takes."""
        total = 0
        for path in self._files():
            with suppress(FileNotFoundError):  # another process has just finished with it
                total += path.stat().st_size
        return total

    def clear(self) -> None:
        """Delete what the cache has written, and nothing else. Raises OpenMomentError."""
        for path in list(self._files()):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise OpenMomentError(f"{path}: cannot be deleted ({error.strerror}).") from error

    def _files(self) -> Iterator[Path]:
        yield from self.root.glob(f"{_INDEX}*")
        for folder in (_FEATURES, _CAPTIONS, _GENERATED):
            yield from (self.root / folder).glob("[0-9a-f][0-9a-f]/*")

    def _entry_path(self, folder: str, recipe: Recipe, suffix: str) -> Path:
        if not recipe.source_sha256:
            raise ValueError(f"without the hash of their video, {folder} cannot be cached")
        return self._path(folder, asdict(recipe) | {"fps": float(recipe.fps)}, suffix)

    def _path(self, folder: str, recipe: Mapping[str, Any], suffix: str) -> Path:
        content = json.dumps(recipe, sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return self.root / folder / digest[:2] / f"{digest[2:]}{suffix}"


class _Index:
    """Small facts in one SQLite file; a failure of it means "not known" and "not kept".

    Connections live for one call, so the object may be used by any thread and after a fork. The
    rollback journal is kept: the write-ahead log does not work on network file systems.
    """

    TABLES = (
        "CREATE TABLE IF NOT EXISTS sources (path BLOB PRIMARY KEY, stamp TEXT, sha256 TEXT)",
        "CREATE TABLE IF NOT EXISTS texts (fingerprint TEXT, name BLOB, embedding BLOB,"
        " PRIMARY KEY (fingerprint, name)) WITHOUT ROWID",
    )
    BUSY_S = 10.0

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, sql: str, keys: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The first column that ``sql`` selects for each of the keys, or None."""
        try:
            if not self.path.is_file():
                return [None] * len(keys)
            with closing(self._connect()) as database:
                rows = [database.execute(sql, key).fetchone() for key in keys]
        except (sqlite3.Error, OSError) as error:
            self._drop_if_damaged(error)
            return [None] * len(keys)
        return [row and row[0] for row in rows]

    def write(self, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run ``sql`` for all of the rows, in one transaction."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as database:
                database.execute("BEGIN IMMEDIATE")  # waits for its turn; an upgrade would not
                for table in self.TABLES:
                    database.execute(table)
                database.executemany(sql, rows)
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._drop_if_damaged(error)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=self.BUSY_S, isolation_level=None)

    def _drop_if_damaged(self, error: Exception) -> None:
        if type(error) is sqlite3.DatabaseError:  # its children say busy, full, read-only
            with suppress(OSError):
                self.path.unlink()


def _identity(path: Path) -> tuple[bytes, str]:
    """Where a file is, and what changes with its content."""
    try:
        resolved, stat = path.resolve(strict=True), path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return os.fsencode(resolved), f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}"


def _unreadable(path: Path, error: OSError) -> VideoError:
    if isinstance(error, FileNotFoundError):
        return VideoError(f"{path}: no such file. Check the path.")
    return VideoError(f"{path}: cannot be read ({error.strerror or error}).")
