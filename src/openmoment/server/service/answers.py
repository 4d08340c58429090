"""Answers of the server: JSON, and every refusal as one line of it with a status of 4xx."""

import errno
import json
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from openmoment.errors import OpenMomentError
from openmoment.server.service.problems import UNREADABLE, status_of, without_folder

MAX_LINE = 500
FULL = 507

_log = logging.getLogger(__name__)


class Json(JSONResponse):
    """JSON of whatever text: what UTF-8 cannot hold stands as an escape."""

    def render(self, content: Any) -> bytes:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8", "backslashreplace")


def refusal(
    status: int,
    message: str,
    *,
    position: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Json:
    """``{"error": one line}``, and where in the text the fault is."""
    line = " ".join(message.split())
    shown = line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"
    body = {"error": shown} | ({} if position is None else {"position": position})
    return Json(body, status_code=status, headers=dict(headers or {}))


def add_handlers(app: FastAPI) -> None:
    """Every refusal of the framework and of the package in our form."""

    @app.exception_handler(OpenMomentError)
    async def on_user_error(request: Request, error: OpenMomentError) -> Response:
        folder = request.app.state.service.folder.root
        position = getattr(error, "position", None)
        return refusal(status_of(error), without_folder(str(error), folder), position=position)

    @app.exception_handler(OSError)
    async def on_disk_error(request: Request, error: OSError) -> Response:
        """The disk, not the request, and not the program: full, taken away, in the way."""
        _log.warning("%s %s: %s", request.method, request.url.path, error)
        status = FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else 409
        return refusal(status, f"The file cannot be read or written ({error.strerror}).")

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        return refusal(UNREADABLE, "; ".join(map(_describe, error.errors()[:3])))

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, str(error.detail), headers=error.headers)

    @app.exception_handler(ClientDisconnect)
    async def on_gone(request: Request, error: ClientDisconnect) -> Response:
        return refusal(400, "The request did not arrive whole.")  # heard by nobody


def _describe(fault: Mapping[str, Any]) -> str:
    """One fault: ``body.queries[0]: String should have at most 500 characters``."""
    place = ""
    for part in fault["loc"]:
        place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
    return f"{place}: {fault['msg']}"
