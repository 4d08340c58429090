"""The videos: list, upload, play, thumbnails."""

from functools import partial
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from openmoment.server.routes.parts import RAW_BODY, REFUSED, VideoId
from openmoment.server.service.answers import Json
from openmoment.server.service.media import MediaResponse, media_type, playable_path, thumbnail
from openmoment.server.service.problems import RefusedError
from openmoment.server.service.shared import Service
from openmoment.server.service.uploads import receive_video

LONGEST_S = 1e6
AT_ONCE = 2
"""Thumbnails that are made at the same time; the other requests do not wait for them."""


def router(service: Service) -> APIRouter:
    """Videos, by opaque ids."""
    routes = APIRouter(tags=["videos"], responses=REFUSED)
    drawing = anyio.CapacityLimiter(AT_ONCE)

    @routes.get("/videos")
    def videos() -> dict[str, Any]:
        """All videos below the folder. Length and size follow for those never looked at."""
        return {"videos": service.describe_all()}

    @routes.post("/videos", status_code=201, openapi_extra=RAW_BODY)
    async def upload(
        request: Request, name: Annotated[str, Query(min_length=1, max_length=1000)]
    ) -> Json:
        """The body is the file. A name that exists gets " (2)"."""
        video = await receive_video(request, name, service)
        told = await anyio.to_thread.run_sync(service.describe, video)
        return Json(told, status_code=201)

    @routes.get("/videos/{id}")
    def video(id: VideoId) -> dict[str, Any]:  # noqa: A002
        """One video."""
        return service.describe(service.library.find(id))

    @routes.get("/videos/{id}/media", response_class=MediaResponse)
    def media(id: VideoId) -> Response:  # noqa: A002
        """The file, or its copy that browsers play; by ranges."""
        found = service.library.find(id)
        copy = playable_path(service.cache, found)
        if service.library.facts(found).is_playable:
            return MediaResponse(found.path, media_type=media_type(found.path))
        if copy.is_file():
            return MediaResponse(copy, media_type="video/mp4")
        raise RefusedError(
            409, "Browsers cannot play this file. Ask for a copy: POST .../playable."
        )

    @routes.post("/videos/{id}/playable", status_code=202)
    def playable(id: VideoId) -> Json:  # noqa: A002
        """Make the copy that browsers play; the job that makes it already, if one does."""
        found = service.library.find(id)
        known = service.jobs.last_of("playable", found.id)
        job = known if known and known.is_open else service.add_job("playable", found)
        return Json(job.to_dict(), status_code=202)

    @routes.get("/videos/{id}/thumbnail", response_class=Response)
    async def thumbnail_at(
        id: VideoId,  # noqa: A002
        at: Annotated[float, Query(ge=0, le=LONGEST_S, allow_inf_nan=False)] = 0.0,
        height: Annotated[int, Query(ge=1, le=4000)] = 90,
    ) -> Response:
        """The picture at a time, as JPEG; heights are kept between 24 and 480 pixels."""
        draw = partial(_thumbnail, service, id, at, height)
        jpeg = await anyio.to_thread.run_sync(draw, limiter=drawing)
        headers = {"cache-control": "private, max-age=3600"}
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    return routes


def _thumbnail(service: Service, id: str, at_s: float, height: int) -> bytes:  # noqa: A002
    video = service.library.find(id)
    at_s = min(at_s, service.library.duration_s(video))  # one picture for all that is beyond
    return thumbnail(service.cache, video, at_s, height)
