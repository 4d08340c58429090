"""openmoment demo: the main job on a video made from photographs, to see that all is well."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.text.console import print_json, progress_bar, say, verb
from openmoment.cli.text.found import show


@verb
def demo_verb(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to.", show_default="the cache folder")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a short video from photographs, ask for what it shows, and write a report.

    A check that everything works on this machine. It says nothing about accuracy: photographs of
    things are what the default backbone knows best.
    """
    from openmoment.features.cache import Cache
    from openmoment.pipeline import load_pipeline
    from openmoment.report.page import write_report
    from openmoment.video.demo import QUERIES, make_demo_video

    folder = out or Cache().root / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    video, report = folder / "demo.mp4", folder / "demo.html"
    make_demo_video(video)
    pipeline = load_pipeline()
    with progress_bar(video.name) as progress:
        found = pipeline.find(video, QUERIES, progress=progress)
    write_report({str(video): found}, report)
    if as_json:
        print_json(found.to_dict())
    else:
        say(f"Asked of {video}: " + ", ".join(f'"{query}"' for query in QUERIES))
        show(video, found, with_name=False)
    say(f"Report: {report}")
