"""openmoment serve: a page in the browser for the videos of a folder."""

from pathlib import Path
from typing import Annotated

import typer

from openmoment.cli.options.methods import Backbone, CalibrationPath, CheckpointPath, FinderName
from openmoment.cli.text.console import say, verb

PORT = 8080


@verb
def serve_verb(
    folder: Annotated[
        Path, typer.Argument(help="A folder of videos, or one video.", show_default="here")
    ] = Path(),
    backbone: Backbone = "auto",
    method: FinderName = None,
    checkpoint: CheckpointPath = None,
    calibration: CalibrationPath = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Elsewhere than here, a token is asked for.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = PORT,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="SECRET",
            envvar="OPENMOMENT_TOKEN",
            help="What visitors have to know.",
            show_default="none here, made up elsewhere",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who reviews.", show_default="your login name"),
    ] = None,
    max_upload_gb: Annotated[
        float, typer.Option(metavar="GB", min=0.001, help="The largest video that may be sent.")
    ] = 20.0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
) -> None:
    """Look at the videos of a FOLDER, ask for moments, correct them, take them elsewhere.

    Everything stays on this machine. What you say of predictions is kept in FOLDER/openmoment.
    Ctrl-C ends it.

    openmoment serve holiday/

    openmoment serve holiday/ --host 0.0.0.0 --name ana
    """
    from openmoment.extras import require

    for module in ("fastapi", "uvicorn"):
        require(module, extra="server")
    from openmoment.server.service.settings import GIB, Settings
    from openmoment.server.serving import Start, serve

    settings = Settings(
        backbone=backbone,
        method=method,
        checkpoint=checkpoint,
        calibration=calibration,
        name=login_name() if name is None else name,
        host=host,
        token=token,
        max_upload_bytes=round(max_upload_gb * GIB),
    )
    serve(folder, settings, Start(port, opens_browser=browser, say=say))


def login_name() -> str:
    """Who is logged in, or nobody where the system does not tell."""
    from getpass import getuser

    try:
        return getuser()
    except (OSError, KeyError, ImportError):
        return ""
