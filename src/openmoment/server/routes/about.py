"""The server itself: is it well, what can be asked of it."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from openmoment.export import describe_formats
from openmoment.server.routes.parts import REFUSED
from openmoment.server.service.shared import Service
from openmoment.version import __version__


def router(service: Service) -> APIRouter:
    """Health, catalogues, events."""
    routes = APIRouter(tags=["server"], responses=REFUSED)

    @routes.get("/health")
    def health() -> dict[str, Any]:
        """Whether the server is well, and what its workers do."""
        return {
            "status": "ok",
            "version": __version__,
            "folder": str(service.folder.root),
            "workers": {kind: worker.describe() for kind, worker in service.workers.items()},
        }

    @routes.get("/backbones")
    def backbones() -> list[dict[str, Any]]:
        """What encodes video and words."""
        return service.catalogue.backbones()

    @routes.get("/methods")
    def methods() -> list[dict[str, Any]]:
        """What finds the moments."""
        return service.catalogue.methods()

    @routes.get("/formats")
    def formats() -> list[dict[str, Any]]:
        """What moments can be written as, and read from."""
        return describe_formats()

    @routes.get("/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        """Server-sent events: "job" (a job), "review" (a video's id and its new revision)."""
        return StreamingResponse(
            service.events.listen(service.first_events()),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )

    return routes
