"""openmoment features caption: put the frames of many videos into words."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openmoment.cli.options.methods import Device, Precision
from openmoment.cli.options.outputs import Json
from openmoment.cli.options.videos import Overwrite, VideoFolder, videos_of
from openmoment.cli.text.batch import Hear, conclude, follow
from openmoment.cli.text.console import verb

if TYPE_CHECKING:
    from openmoment.pipeline.extraction import Extracted


@verb
def caption_verb(
    folder: VideoFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the caption files go.")],
    captioner: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="tags (works offline), blip@FOLDER, coca-vit-l-14 or coca_ViT-L-14@FILE.",
        ),
    ],
    fps: Annotated[
        float, typer.Option(min=0, help="Captions per second; 0 for every frame.")
    ] = 1.0,
    overwrite: Overwrite = False,
    device: Device = "cpu",
    precision: Precision = "fp32",
    as_json: Json = False,
) -> None:
    """Caption the frames of every video below DIR, into one file each.

    Run it again to go on where it stopped; start it in several terminals, or on several machines
    that share the folder, to go faster. What was captioned before comes from the cache.
    """
    from openmoment.encoders.captioners.captioning import load_captioner
    from openmoment.features.cache import Cache
    from openmoment.pipeline.extraction import caption

    videos = videos_of(folder)
    chosen = load_captioner(captioner, device=device, precision=precision)

    def start(hear: Hear) -> "Iterator[Extracted]":
        return caption(
            videos, out, chosen, fps=fps, overwrite=overwrite, cache=Cache(), progress=hear
        )

    done = follow(start, len(videos))
    head = {"captioner": chosen.name, "fingerprint": chosen.fingerprint, "fps": fps}
    conclude(done, out, "captions", head if as_json else None)
