"""What requests have in common."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Header, Path

from openmoment.server.service.shared import Service

MAX_NAME = 100
NAME_HEADER = "X-OpenMoment-Name"

VideoId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Opaque, from /api/videos.")]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{16}$", description="Opaque, from /api/jobs.")]
WhoHeader = Annotated[
    str | None,
    Header(alias=NAME_HEADER, description="Who reviews, percent-encoded.", max_length=600),
]

RAW_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""What the description says of a request whose body is a file."""

REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "Refused, and why.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {"type": "string", "description": "One line."},
                        "position": {"type": "integer", "description": "Of the fault in a text."},
                    },
                }
            }
        },
    }
}


def who_says(header: str | None, service: Service) -> str:
    """The name that a change is logged under."""
    given = " ".join(c for c in unquote(header or "").split() if c.isprintable())
    return given[:MAX_NAME] or service.settings.name
