"""openmoment features: import-released, join. Feature files from others', and from two of ours."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.outputs import Json
from openmoment.cli.options.videos import Overwrite
from openmoment.cli.text.batch import Hear, conclude, follow
from openmoment.cli.text.console import verb

if TYPE_CHECKING:
    from openmoment.pipeline.extraction import Extracted
    from openmoment.types import Snippets


@verb
def import_released_verb(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The unpacked feature files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where our feature files go.")],
    release: Annotated[
        str, typer.Option(metavar="NAME", help="Which release: docs/backbones.md lists them.")
    ],
    annotations: Annotated[
        Path,
        typer.Option(metavar="FILE", help="The release's own annotations: durations and rates."),
    ],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the features that the field shares, I3D and others, as feature files.

    For --set features=own of a method that learns. Each file is named by its video.
    """
    from openmoment.errors import FeatureError
    from openmoment.features.released import find_release, find_times, import_released, read_times

    suffix = find_release(release).suffix
    times = read_times(annotations)
    paths = sorted(folder.glob(f"*{suffix}"))
    if not paths:
        raise FeatureError(f"{folder}: no {suffix} file in this folder.")

    def make(path: Path) -> "Snippets":
        return import_released(path, release, find_times(times, path))

    _make_all(paths, out, make, overwrite=overwrite, head={"release": release} if as_json else None)


@verb
def join_verb(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Feature files, with those of flow beside them.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the joined files go.")],
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Put the features of pictures and of flow side by side: two streams in one file.

    For --set features=own of a method that learns, as the papers use I3D.
    """
    from openmoment.errors import FeatureError
    from openmoment.features.file import FLOW_SUFFIX, SUFFIX, join_streams, read_features

    paths = sorted(folder.glob(f"*{FLOW_SUFFIX}"))
    if not paths:
        raise FeatureError(f"{folder}: no *{FLOW_SUFFIX} in this folder: features extract --flow.")
    if out.resolve() == folder.resolve():
        raise FeatureError(f"{out}: the joined files need a folder of their own.")
    videos = [path.with_name(path.name.removesuffix(FLOW_SUFFIX) + SUFFIX) for path in paths]

    def make(path: Path) -> "Snippets":
        flow = path.with_name(path.name.removesuffix(SUFFIX) + FLOW_SUFFIX)
        return join_streams(read_features(path), read_features(flow))

    _make_all(videos, out, make, overwrite=overwrite, head={} if as_json else None)


def _make_all(
    paths: list[Path],
    out: Path,
    make: "Callable[[Path], Snippets]",
    *,
    overwrite: bool,
    head: dict[str, str] | None,
) -> None:
    from openmoment.errors import FeatureError
    from openmoment.features.file import SUFFIX, check_recipe, read_header, write_features
    from openmoment.pipeline.extraction import Extracted

    def one(path: Path) -> "Extracted":
        target = out / f"{path.stem}{SUFFIX}"
        try:
            snippets = make(path)
            if target.exists() and not overwrite:
                check_recipe(read_header(target).recipe, snippets.recipe, target)
                return Extracted(path, target, "present")
        except FeatureError as error:
            return Extracted(path, target, "failed", str(error))
        write_features(snippets, target)
        return Extracted(path, target, "made")

    def start(_: Hear) -> "Iterator[Extracted]":
        return map(one, paths)

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FeatureError(f"{out}: cannot be made ({error.strerror or error}).") from error
    conclude(follow(start, len(paths)), out, "features", head)
