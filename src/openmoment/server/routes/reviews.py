"""The review of a video: what was found, and what people say of it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from openmoment.reviews import to_detections, to_dict
from openmoment.server.routes.parts import REFUSED, VideoId, WhoHeader, who_says
from openmoment.server.service.answers import Json
from openmoment.server.service.shared import Service
from openmoment.server.work.curves import read_curve

LONGEST_S = 1e6


class Edited(BaseModel):
    """How queries and segments are to stand, and the revision that the person saw."""

    revision: Annotated[int, Field(strict=True, ge=0, le=2**53)]
    queries: Annotated[list[dict[str, Any]], Field(max_length=1000)]
    segments: Annotated[list[dict[str, Any]], Field(max_length=100_000)]


class Question(BaseModel):
    """A question in the language of docs/questions.md."""

    question: Annotated[str, Field(min_length=1, max_length=2000)]


Seconds = Annotated[float | None, Query(ge=0, le=LONGEST_S, allow_inf_nan=False)]


def router(service: Service) -> APIRouter:
    """Reviews, and what is drawn and computed from them."""
    routes = APIRouter(tags=["reviews"], responses=REFUSED)

    @routes.get("/videos/{id}/review", response_model=dict[str, Any])
    def review(id: VideoId, log: bool = False) -> Json:  # noqa: A002
        """The review (openmoment-review/1)."""
        return Json(to_dict(service.reviews.read(service.library.find(id)), log=log))

    @routes.put("/videos/{id}/review", response_model=dict[str, Any])
    def revise(id: VideoId, edited: Edited, who: WhoHeader = None) -> Json:  # noqa: A002
        """Change the review; 409 where somebody else did meanwhile."""
        video = service.library.find(id)
        new = service.reviews.revise(video, edited.model_dump(), who=who_says(who, service))
        return Json(to_dict(new, log=False))

    @routes.get("/videos/{id}/curves", response_model=dict[str, Any])
    def curves(
        id: VideoId,  # noqa: A002
        points: Annotated[int, Query(ge=2, le=20_000)] = 1500,
        start_s: Seconds = None,
        end_s: Seconds = None,
    ) -> Json:
        """The score curves, in so many points at most, peaks kept."""
        known = service.reviews.read(service.library.find(id))
        drawn = []
        for query in known.queries:
            curve = read_curve(service.cache, known.sha256, query.query) if known.sha256 else None
            if curve is None:
                continue
            if start_s is not None or end_s is not None:
                curve = curve.within(start_s or 0.0, LONGEST_S if end_s is None else end_s)
            curve = curve.thinned(points)
            drawn.append(
                {
                    "query": query.query,
                    "times_s": curve.times_s.round(3).tolist(),
                    "scores": curve.scores.astype(float).round(4).tolist(),
                    "occurs_at": curve.occurs_at,
                }
            )
        return Json({"queries": drawn})

    @routes.post("/videos/{id}/ask")
    def ask(id: VideoId, asked: Question) -> dict[str, Any]:  # noqa: A002
        """Answer a question over what is shown; 422 with the position where it cannot be read."""
        from openmoment.questions import answer, parse

        review = service.reviews.read(service.library.find(id))
        question = parse(asked.question)
        found = answer(question, to_detections(review), duration_s=review.duration_s)
        return {
            "question": str(question),
            "queries": list(question.names),
            "moments": [
                {"start_s": start_s, "end_s": end_s, "score": score}
                for start_s, end_s, _, score in found.by_time()
            ],
        }

    @routes.get("/videos/{id}/statistics")
    def statistics(id: VideoId) -> dict[str, Any]:  # noqa: A002
        """Counts, durations, time budget and transitions of what is shown."""
        from openmoment.behaviour import bouts_of, statistics_of

        review = service.reviews.read(service.library.find(id))
        bouts = bouts_of(to_detections(review), review.duration_s)
        return statistics_of([bouts]).to_dict()

    return routes
