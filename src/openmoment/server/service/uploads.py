"""Videos that are sent: streamed to disk, bounded, whole or not there, never over another."""

import shutil
from pathlib import Path

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from openmoment.server.service.names import clean_name, place
from openmoment.server.service.problems import UNREADABLE, RefusedError
from openmoment.server.service.settings import GIB
from openmoment.server.service.shared import Service
from openmoment.server.service.videos import Video

SPARE_BYTES = 2**28
"""What an upload leaves free on the disk."""
TOO_LARGE = 413


async def receive_video(request: Request, name: str, service: Service) -> Video:
    """Take the body as a video of that name.

    Raises RefusedError: 413 for what is too large for the bound or the disk, 422 for a name that
    cannot be, or a file that is no video; 400 when the sender goes away.
    """
    plain = clean_name(name)
    limit = service.settings.max_upload_bytes
    root = service.folder.root
    _check_size(request.headers.get("content-length", ""), limit, root)
    with service.folder.arriving() as folder:
        arrived = folder / plain
        try:
            async with await anyio.open_file(arrived, "wb") as file:
                got = 0
                async for chunk in request.stream():
                    got += len(chunk)
                    if got > limit:
                        raise _over(limit)
                    await file.write(chunk)
        except ClientDisconnect:
            raise RefusedError(400, f"{plain}: did not arrive whole.") from None
        except OSError as error:
            raise RefusedError(TOO_LARGE, f"{plain}: {error.strerror}.") from error
        return await anyio.to_thread.run_sync(_take, arrived, plain, service)


def _check_size(stated: str, limit: int, root: Path) -> None:
    """Refuse, before anything is written, what says that it is too large."""
    if not (stated.isascii() and stated.isdecimal()):
        return
    size = int(stated[:19])
    if size > limit:
        raise _over(limit)
    free = shutil.disk_usage(root).free
    if size > free - SPARE_BYTES:
        raise RefusedError(TOO_LARGE, f"The disk has {free / GIB:.1f} GiB left, too little.")


def _over(limit: int) -> RefusedError:
    return RefusedError(TOO_LARGE, f"The file is over {limit / GIB:g} GiB: --max-upload-gb.")


def _take(arrived: Path, name: str, service: Service) -> Video:
    """Move it to its place, if it is a video."""
    from openmoment.errors import VideoError
    from openmoment.video import probe

    try:
        probe(arrived)
    except VideoError as error:
        raise RefusedError(UNREADABLE, str(error).replace(f"{arrived}", name)) from error
    return service.library.at(place(arrived, service.folder.root, name))
