"""Feature files: one safetensors file per video, with the recipe that made it.

A file holds ``features`` (float32 ``[t, d_in]``, before the encoder's visual projection),
``edges_s`` (float64 ``[t + 1]``), for features of optical flow ``motion`` (float32 ``[t]``, see
`Snippets`) and, in the safetensors metadata, a JSON header under the key ``openmoment``: format,
encoder, fingerprint, fps, source_sha256, duration_s, version.

Axes: t snippets, d_in width of the stored features.
"""

import json
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Float, Shaped
from numpy import ndarray as Array
from safetensors import SafetensorError, safe_open

from openmoment.errors import FeatureError, RecipeError
from openmoment.storage.atomic import atomic_write
from openmoment.storage.rows import blocks, map_rows
from openmoment.types import Recipe, SnippetGrid, Snippets
from openmoment.version import __version__

FORMAT = "openmoment-features/1"
SUFFIX = ".safetensors"
FLOW_SUFFIX = ".flow.safetensors"
"""Of the second file of a video, beside the first: what an encoder makes of its optical flow."""
IMPORTED = "imported"
"""The fingerprint of features made elsewhere: their weights and preprocessing are not known."""

Layout = Literal["time-first", "width-first"]

_HEADER_KEY = "openmoment"
_CURE = "Extract the video again and overwrite the file"
_KINDS = {"features": "F32", "edges_s": "F64"}
_MOTION = {"motion": "F32"}


@dataclass(frozen=True)
class FeatureHeader:
    """What a feature file says of itself, without its numbers."""

    recipe: Recipe
    duration_s: float
    version: str
    """Of the program that wrote the file."""
    num_snippets: int
    dim_in: int


@dataclass(frozen=True)
class Stride:
    """Snippet i is centred at ``(i * frames + window / 2) / video_fps`` seconds.

    ``window`` frames are what one snippet saw; as many as the stride unless stated.
    """

    frames: int
    video_fps: float
    window: int | None = None


def write_features(snippets: Snippets, path: Path) -> None:
    """Write one feature file, or leave what was there. Raises FeatureError if it cannot."""
    header = {
        "format": FORMAT,
        **asdict(snippets.recipe),
        "duration_s": snippets.duration_s,
        "version": __version__,
    }
    small = {"edges_s": np.ascontiguousarray(snippets.grid.edges_s, dtype="<f8")}
    if snippets.motion is not None:
        small["motion"] = np.ascontiguousarray(snippets.motion, dtype="<f4")
    try:
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            metadata = {_HEADER_KEY: json.dumps(header)}
            file.write(_safetensors_head(small, snippets.features.shape, metadata))
            for array in small.values():
                file.write(array.data)
            for block in blocks(snippets.features):
                file.write(np.ascontiguousarray(block, dtype="<f4").data)
    except OSError as error:
        raise FeatureError(f"{path}: cannot be written ({_one_line(error)}).") from error


def _safetensors_head(
    small: dict[str, Array], shape: tuple[int, int], metadata: dict[str, str]
) -> bytes:
    """What comes before the numbers: the small arrays, then the features, of that shape.

    The library's own writer takes them all at once.
    """
    table: dict[str, object] = {"__metadata__": metadata}
    sizes = {name: (list(array.shape), array.nbytes) for name, array in small.items()}
    sizes["features"] = (list(shape), shape[0] * shape[1] * 4)
    start = 0
    for name, (extent, num_bytes) in sizes.items():
        offsets = [start, start + num_bytes]
        kind = (_KINDS | _MOTION)[name]
        table[name] = {"dtype": kind, "shape": extent, "data_offsets": offsets}
        start += num_bytes
    text = json.dumps(table).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_features(path: Path, *, expected: Recipe | None = None) -> Snippets:
    """The snippets of one feature file.

    Raises `RecipeError` when they were made in another way than ``expected``, and `FeatureError`
    when the file is missing, damaged, of another kind, or holds NaN.
    """
    with _open(path) as file:
        header = _parse_header(file, path)
        if expected:
            check_recipe(header.recipe, expected, path)
        edges_s = file.get_tensor("edges_s")
        motion = file.get_tensor("motion") if "motion" in file.keys() else None  # noqa: SIM118
    features = map_rows(
        path, offset=_features_offset(path), shape=(header.num_snippets, header.dim_in)
    )
    try:
        grid = SnippetGrid(edges_s)
        return Snippets(features, grid, header.recipe, header.duration_s, motion=motion)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None


def join_streams(first: Snippets, second: Snippets) -> Snippets:
    """Two features of every snippet side by side, such as those of pictures and of flow.

    Raises FeatureError where they are not of the same video and the same snippets.
    """
    one, two = first.recipe, second.recipe
    edges = first.grid.edges_s, second.grid.edges_s
    is_same = len(edges[0]) == len(edges[1]) and np.allclose(*edges, rtol=0, atol=1e-3)
    if one.source_sha256 != two.source_sha256 or not is_same:
        raise FeatureError(
            f"Features of {one.encoder} and of {two.encoder}: expected the same snippets of the "
            f"same video, got {len(first)} of {one.source_sha256[:12] or 'an unknown file'} and "
            f"{len(second)} of {two.source_sha256[:12] or 'an unknown file'}."
        )
    fingerprint = sha256(f"{one.fingerprint} {two.fingerprint}".encode()).hexdigest()[:16]
    name = f"{one.encoder} & {two.encoder}"
    return Snippets(
        np.concatenate([first.features, second.features], axis=1),
        first.grid,
        Recipe(name, fingerprint, one.fps, one.source_sha256),
        first.duration_s,
    )


def find_features(folder: Path, suffix: str = SUFFIX) -> dict[str, Path]:
    """The feature files of a folder by the id of their video, with and without ``v_``.

    ``suffix`` tells those of optical flow (`FLOW_SUFFIX`) from the others.
    """
    paths = sorted(folder.glob(f"*{suffix}"))
    if suffix != FLOW_SUFFIX:
        paths = [path for path in paths if not path.name.endswith(FLOW_SUFFIX)]
    found = {path.name.removesuffix(suffix): path for path in paths}
    return {stem.removeprefix("v_"): path for stem, path in found.items()} | found


def _features_offset(path: Path) -> int:
    """Where the features begin in a file that the library has found to be sound."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return 8 + length + json.loads(file.read(length))["features"]["data_offsets"][0]


def read_header(path: Path) -> FeatureHeader:
    """The recipe and the size of a feature file; its numbers are not read. Raises FeatureError."""
    with _open(path) as file:
        return _parse_header(file, path)


def check_recipe(found: Recipe, expected: Recipe, path: Path) -> None:
    """Refuse the features in ``path`` if they were made in another way. Raises RecipeError."""
    if differences := found.differences(expected):
        raise RecipeError(
            f"{path}: made with another recipe. {'; '.join(differences)}. "
            f"{_CURE}, or ask with the recipe that made it."
        )


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """The file, memory-mapped; whatever is wrong with it becomes one line that names it."""
    if not path.is_file():
        raise FeatureError(f"{path}: no such feature file.")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise FeatureError(
            f"{path}: not a readable feature file ({_one_line(error)}). {_CURE}."
        ) from error


def _parse_header(file: Any, path: Path) -> FeatureHeader:
    text = (file.metadata() or {}).get(_HEADER_KEY)
    if text is None:
        raise FeatureError(
            f"{path}: a safetensors file, but not one of OpenMoment's feature files (no recipe)."
        )
    try:
        table = json.loads(text)
        if table["format"] != FORMAT:
            raise FeatureError(
                f"{path}: written in format {table['format']!r}, this version reads {FORMAT!r}."
            )
        recipe = Recipe(
            encoder=str(table["encoder"]),
            fingerprint=str(table["fingerprint"]),
            fps=float(table["fps"]),
            source_sha256=str(table["source_sha256"]),
        )
        duration_s, version = float(table["duration_s"]), str(table["version"])
    except (ValueError, TypeError, KeyError) as error:
        raise FeatureError(
            f"{path}: the header is damaged ({_one_line(error)}). {_CURE}."
        ) from error
    num_snippets, dim_in = _check_tensors(file, path)
    return FeatureHeader(recipe, duration_s, version, num_snippets, dim_in)


def _check_tensors(file: Any, path: Path) -> tuple[int, int]:
    """The shape of the features, once names, kinds and shapes are what the format says."""
    found = {
        name: (piece.get_dtype(), piece.get_shape())
        for name in file.keys()  # noqa: SIM118
        for piece in (file.get_slice(name),)
    }
    kinds = {name: kind for name, (kind, _) in found.items()}
    if kinds in (_KINDS, _KINDS | _MOTION):
        features, edges = found["features"][1], found["edges_s"][1]
        if len(features) == 2 and edges == [features[0] + 1]:
            return features[0], features[1]
    raise FeatureError(
        f"{path}: expected features (F32, [t, d]) and edges_s (F64, [t + 1]), got {found}. {_CURE}."
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------------------------
# Features that others made
# ---------------------------------------------------------------------------------------------


def import_features(
    path: Path,
    *,
    encoder: str,
    duration_s: float,
    fps: float | None = None,
    stride: Stride | None = None,
    times_s: Float[Array, " t"] | None = None,
    dim_in: int | None = None,
    key: str | None = None,
    layout: Layout | None = None,
) -> Snippets:
    """Snippets from another program's ``.npy``, ``.npz`` or ``.csv``, its time axis stated.

    With ``fps``, snippet i covers ``[i / fps, (i + 1) / fps)``; with ``stride`` see `Stride`; with
    ``times_s``, of key frames, each covers what is nearer to it than to the others; with none of
    them, the snippets share the ``duration_s`` of the video equally. Snippets that begin after
    the end of the video are dropped. ``dim_in`` is the width that ``encoder`` makes and tells which
    axis is time; where it is not known, say the ``layout``. ``key`` picks an array of an ``.npz``;
    the first line of a ``.csv`` is its header.

    Raises FeatureError when the file holds no such array, when its width or its axes are not those
    stated, or when its time axis does not fit the duration.
    """
    array = _orient(_load_array(path, key), path, encoder=encoder, dim_in=dim_in, layout=layout)
    try:
        grid, rate = _import_grid(len(array), duration_s, fps=fps, stride=stride, times_s=times_s)
        with np.errstate(over="ignore"):  # too large for float32: refused as infinite by Snippets
            features = array[: len(grid)].astype(np.float32)
        return Snippets(features, grid, Recipe(encoder, IMPORTED, rate, ""), duration_s)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None


def _load_array(path: Path, key: str | None) -> Shaped[Array, "..."]:
    if path.suffix not in (".npy", ".npz", ".csv"):
        raise FeatureError(
            f"{path}: expected a .npy or .npz file, or a .csv. Save the array with numpy.save "
            "first; for a PyTorch file, "
            "numpy.save('x.npy', torch.load('x.pt', weights_only=True).numpy())."
        )
    if not path.is_file():
        raise FeatureError(f"{path}: no such file.")
    try:
        if path.suffix == ".csv":
            return np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return np.asarray(loaded[_pick_key(loaded.files, key, path)])
    except (ValueError, OSError, EOFError, MemoryError, BadZipFile, zlib.error) as error:
        if "pickle" in str(error):
            raise FeatureError(
                f"{path}: holds Python objects (a pickle), which can run code when read. Save the "
                "plain array of numbers instead."
            ) from None
        raise FeatureError(f"{path}: not a readable array ({_one_line(error)}).") from error


def _pick_key(keys: list[str], key: str | None, path: Path) -> str:
    if key in keys:
        return key
    if key is None and len(keys) == 1:
        return keys[0]
    wanted = "several arrays" if key is None else f"no array {key!r}"
    raise FeatureError(f"{path}: {wanted}. Say which one with key: {', '.join(keys)}.")


def _orient(
    array: Shaped[Array, "..."],
    path: Path,
    *,
    encoder: str,
    dim_in: int | None,
    layout: Layout | None,
) -> Shaped[Array, "t d_in"]:
    """The array with time first. Raises FeatureError where width and layout leave a doubt."""
    if array.ndim != 2 or not array.size or array.dtype.kind not in "fiu":
        raise FeatureError(
            f"{path}: expected numbers as [snippets, width], got {array.dtype} {array.shape}."
        )
    if layout is None:
        fits = [axis for axis in (0, 1) if dim_in is None or array.shape[axis] == dim_in]
        if len(fits) == 2:
            raise FeatureError(
                f"{path}: {array.shape} may be time by width or width by time. "
                "Say the width or the layout (time-first or width-first)."
            )
        layout = "width-first" if fits == [0] else "time-first"
    array = array.T if layout == "width-first" else array
    if dim_in is not None and array.shape[1] != dim_in:
        raise FeatureError(
            f"{path}: features are {array.shape[1]} wide, but {encoder} makes {dim_in} (before its "
            "visual projection). Name the encoder that made them, or extract them again."
        )
    return array


def _import_grid(
    num: int,
    duration_s: float,
    *,
    fps: float | None,
    stride: Stride | None,
    times_s: Float[Array, " t"] | None,
) -> tuple[SnippetGrid, float]:
    """Where ``num`` snippets lie, and how many there are per second. Raises FeatureError."""
    if sum(axis is not None for axis in (fps, stride, times_s)) > 1:
        raise FeatureError("The time axis is stated twice: give fps, a stride or times, not two.")
    _require_positive(duration_s, "duration in seconds")
    if stride is not None:
        return _strided_grid(num, stride, duration_s)
    if fps is not None:
        _require_positive(fps, "fps")
        return _strided_grid(num, Stride(1, fps), duration_s)
    if times_s is not None:
        return _timed_grid(num, np.asarray(times_s, dtype=np.float64), duration_s)
    return SnippetGrid.uniform(num, end_s=duration_s), num / duration_s


def _timed_grid(
    num: int, times_s: Float[Array, " t"], duration_s: float
) -> tuple[SnippetGrid, float]:
    if times_s.shape != (num,):
        raise FeatureError(f"{num} snippets, but {times_s.size} times.")
    if not (np.isfinite(times_s).all() and (np.diff(times_s) > 0).all() and times_s[0] >= 0):
        raise FeatureError("The times of snippets must be finite, rise, and begin at 0 or later.")
    if times_s[-1] >= duration_s:
        raise FeatureError(
            f"The last snippet is at {times_s[-1]:.1f} s, but the video lasts {duration_s:.1f} s."
        )
    edges_s = np.concatenate([[0.0], (times_s[1:] + times_s[:-1]) / 2, [duration_s]])
    return SnippetGrid(edges_s), num / duration_s


def _strided_grid(num: int, stride: Stride, duration_s: float) -> tuple[SnippetGrid, float]:
    window = stride.frames if stride.window is None else stride.window
    for value, name in (
        (stride.frames, "stride"),
        (stride.video_fps, "video fps"),
        (window, "window"),
    ):
        _require_positive(value, name)
    step_s = stride.frames / stride.video_fps
    start_s = (window - stride.frames) / 2 / stride.video_fps
    edges_s = start_s + step_s * np.arange(num + 1)
    slack_s = max(2 * step_s, window / stride.video_fps)
    if not 0.8 * duration_s - slack_s <= edges_s[-1] <= duration_s + slack_s:
        raise FeatureError(
            f"{num} snippets, one every {step_s:.4g} s, end at {edges_s[-1]:.1f} s, but the video "
            f"lasts {duration_s:.1f} s. Check the time axis and the duration."
        )
    kept = np.searchsorted(edges_s, duration_s - 1e-6 * step_s)
    grid = SnippetGrid(np.clip(edges_s[: kept + 1], 0.0, duration_s))
    return grid, stride.video_fps / stride.frames


def _require_positive(value: float | int, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise FeatureError(f"Expected a positive {name}, got {value}.")
