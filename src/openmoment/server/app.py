"""The ASGI application of one folder."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio.to_thread
from fastapi import FastAPI, Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from openmoment.server.routes import ROUTERS
from openmoment.server.service.answers import Json, add_handlers, refusal
from openmoment.server.service.security import Guard
from openmoment.server.service.settings import Settings
from openmoment.server.service.shared import Commands, Service
from openmoment.version import __version__

STATIC = Path(__file__).with_name("static")
PAGE = "index.html"


def create_app(
    folder: Path, settings: Settings | None = None, *, commands: Commands | None = None
) -> FastAPI:
    """The application that serves a folder. Raises OpenMomentError when that cannot be.

    ``commands`` replaces how the worker of a kind of job is started. What has to be ended is in
    ``app.state.service``, which ends with the application's lifespan.
    """
    settings = settings or Settings()
    service = Service.of(folder, settings, commands or {})

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await anyio.to_thread.run_sync(service.stop)

    app = FastAPI(
        title="OpenMoment",
        description="Find when things happen in video, look at it, and correct it.",
        version=__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        default_response_class=Json,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.service = service
    add_handlers(app)
    for make_router in ROUTERS:
        app.include_router(make_router(service), prefix="/api")
    _add_page(app)
    app.add_middleware(Guard, host=settings.host, token=settings.token)
    return app


def _add_page(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    def page(request: Request) -> Response:
        path = STATIC / PAGE
        return FileResponse(path) if path.is_file() else refusal(404, "The page is not installed.")

    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")
