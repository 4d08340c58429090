"""The jobs: ask for moments, hear how far it is, cancel, run again."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from openmoment.pipeline.queries import tidy_names
from openmoment.server.routes.parts import REFUSED, JobId
from openmoment.server.service.answers import Json
from openmoment.server.service.problems import RefusedError
from openmoment.server.service.shared import Service

MAX_QUERIES = 100
MAX_QUERY = 500

Query = Annotated[str, Field(min_length=1, max_length=MAX_QUERY)]
Name = Annotated[str, Field(max_length=200)]


class Asked(BaseModel):
    """What to look for, in which video."""

    video: Annotated[str, Field(pattern="^[0-9a-f]{16}$", description="From /api/videos.")]
    queries: Annotated[list[Query], Field(min_length=1, max_length=MAX_QUERIES)]
    backbone: Name | None = Field(None, description='From /api/backbones; "auto" is the default.')
    method: Name | None = Field(None, description="From /api/methods; null is the default.")


def router(service: Service) -> APIRouter:
    """Jobs, by opaque ids."""
    routes = APIRouter(tags=["jobs"], responses=REFUSED)

    @routes.post("/jobs", status_code=202)
    def ask(asked: Asked) -> Json:
        """Look for words in a video. What is found joins its review."""
        names = tidy_names(asked.queries)
        backbone = service.settings.backbone if asked.backbone in (None, "auto") else asked.backbone
        method = asked.method or service.settings.method
        service.check_names(backbone, method)
        video = service.library.find(asked.video)
        job = service.add_job("find", video, queries=names, backbone=backbone, method=method)
        return Json(job.to_dict(), status_code=202)

    @routes.get("/jobs")
    def jobs() -> dict[str, Any]:
        """The last jobs, newest first."""
        return {"jobs": [job.to_dict() for job in service.jobs.latest()]}

    @routes.get("/jobs/{id}")
    def job(id: JobId) -> dict[str, Any]:  # noqa: A002
        """One job."""
        return service.jobs.get(id).to_dict()

    @routes.post("/jobs/{id}/cancel")
    def cancel(id: JobId) -> dict[str, Any]:  # noqa: A002
        """End a job. One that runs ends a moment later."""
        return service.cancel(service.jobs.get(id)).to_dict()

    @routes.post("/jobs/{id}/again", status_code=202)
    def again(id: JobId) -> Json:  # noqa: A002
        """The same once more, as a new job."""
        old = service.jobs.get(id)
        if old.is_open:
            raise RefusedError(409, f"The job is {old.state}. Cancel it first.")
        new = service.add_job(
            old.kind,
            service.library.find(old.video),
            queries=old.queries,
            backbone=old.backbone,
            method=old.method,
        )
        return Json(new.to_dict(), status_code=202)

    return routes
