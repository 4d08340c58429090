"""To and from the formats of other tools."""

from typing import Annotated, Any
from urllib.parse import quote

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from openmoment.reviews import to_detections, to_dict
from openmoment.server.routes.parts import RAW_BODY, REFUSED, VideoId, WhoHeader, who_says
from openmoment.server.service.answers import Json
from openmoment.server.service.formats import read_sent, written
from openmoment.server.service.shared import Service

Name = Annotated[str, Query(min_length=1, max_length=300)]


def router(service: Service) -> APIRouter:
    """Export and import."""
    routes = APIRouter(tags=["formats"], responses=REFUSED)

    @routes.get("/videos/{id}/export", response_class=Response)
    def export(
        id: VideoId,  # noqa: A002
        format: Annotated[str, Query(max_length=50)] = "json",  # noqa: A002
    ) -> Response:
        """What is shown and not rejected, as a file of that format."""
        video = service.library.find(id)
        found = to_detections(service.reviews.read(video))
        fps = service.library.facts(video).fps
        name, content = written(found, video, format, service.folder, fps=fps)
        headers = {"content-disposition": disposition(name)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    @routes.post("/videos/{id}/import", response_model=dict[str, Any], openapi_extra=RAW_BODY)
    async def import_file(
        request: Request,
        id: VideoId,  # noqa: A002
        name: Name,
        format: Annotated[str | None, Query(max_length=50)] = None,  # noqa: A002
        who: WhoHeader = None,
    ) -> Json:
        """The body is a file of another tool; what it holds joins the review as accepted."""
        content = await request.body()

        def take() -> Json:
            video = service.library.find(id)
            fps = service.library.facts(video).fps
            found = read_sent(content, name, format, video, service.folder, fps=fps)
            new = service.reviews.add_detections(
                video, found, who=who_says(who, service), source=name
            )
            return Json(to_dict(new, log=False))

        return await anyio.to_thread.run_sync(take)

    return routes


def disposition(name: str) -> str:
    """``Content-Disposition`` of a download; the name quoted so that nothing in it counts."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()") else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
