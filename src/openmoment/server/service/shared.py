"""All that the requests of one folder share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openmoment.errors import ConfigError, FormatError, UnknownNameError
from openmoment.export.json import read
from openmoment.features.cache import Cache
from openmoment.methods import METHODS
from openmoment.server.service.catalogue import Catalogue
from openmoment.server.service.events import Event, Events
from openmoment.server.service.folder import Folder
from openmoment.server.service.jobs import KINDS, Job, Jobs, Kind
from openmoment.server.service.media import playable_path
from openmoment.server.service.reviewing import Reviews
from openmoment.server.service.settings import Settings
from openmoment.server.service.videos import Facts, Library, Video, printable
from openmoment.server.service.workers import Worker

Commands = Mapping[str, Sequence[str]]
"""How workers are started, where it is not the usual way."""


@dataclass(frozen=True)
class Service:
    """One folder, served. `start` and `stop` surround its use; `close` ends what was never run."""

    settings: Settings
    folder: Folder
    cache: Cache
    library: Library
    jobs: Jobs
    reviews: Reviews
    events: Events
    workers: dict[str, Worker]
    catalogue: Catalogue

    @classmethod
    def of(cls, root: Path, settings: Settings, commands: Commands) -> "Service":
        """The service of a folder. Raises OpenMomentError when it cannot be served."""
        catalogue = Catalogue(settings)
        folder, cache, events = Folder(root), Cache(), Events()
        library = Library(folder, cache)
        reviews = Reviews(
            folder,
            library,
            lambda video, revision: events.tell(
                "review", video, {"video": video, "revision": revision}
            ),
        )
        jobs = Jobs(
            folder.inside(folder.state / "jobs.sqlite"),
            lambda job: events.tell("job", job.id, job.to_dict()),
        )
        workers: dict[str, Worker] = {}
        service = cls(settings, folder, cache, library, jobs, reviews, events, workers, catalogue)
        for kind in KINDS:
            workers[kind] = Worker(
                kind,
                jobs,
                to_task=service.to_task,
                on_done=service.on_done,
                command=commands.get(kind, ()),
            )
        return service

    def start(self) -> None:
        """Begin, in the running event loop."""
        self.events.open()
        for worker in self.workers.values():
            worker.start()

    def stop(self) -> None:
        """End the workers and let go of the folder."""
        self.events.close()
        for worker in self.workers.values():
            worker.stop()
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        self.library.close()
        self.jobs.close()

    # jobs ------------------------------------------------------------------------------

    def add_job(
        self,
        kind: Kind,
        video: Video,
        *,
        queries: Sequence[str] = (),
        backbone: str | None = None,
        method: str | None = None,
    ) -> Job:
        """Queue a job. Raises VideoError for what is no video, RefusedError."""
        self.library.duration_s(video)
        job = self.jobs.add(kind, video.id, queries=queries, backbone=backbone, method=method)
        self.workers[kind].wake()
        return job

    def cancel(self, job: Job) -> Job:
        """End a job; one that has ended stays as it is."""
        if self.jobs.cancel_queued(job.id):
            return self.jobs.get(job.id)
        if self.jobs.get(job.id).state == "running":
            self.workers[job.kind].cancel(job)
        return self.jobs.get(job.id)

    def to_task(self, job: Job) -> dict[str, Any]:
        """What a worker has to know of a job. Raises RefusedError when its video is gone."""
        video = self.library.find(job.video)
        if job.kind == "playable":
            return {"path": str(video.path), "out": str(playable_path(self.cache, video))}
        is_trained = self.catalogue.is_of_checkpoint(job.method)
        return {
            "path": str(video.path),
            "name": printable(video.name),
            "queries": list(job.queries),
            "backbone": job.backbone or self.settings.backbone,
            "method": None if is_trained else job.method,
            "checkpoint": str(self.settings.checkpoint) if is_trained else None,
            "calibration": self.settings.calibration and str(self.settings.calibration),
            "predictions": str(self.folder.predictions(video.name)),
        }

    def on_done(self, job: Job, result: Mapping[str, Any]) -> None:
        """What a job found joins the review. Raises OpenMomentError."""
        if job.kind != "find":
            return
        video = self.library.find(job.video)
        path = self.folder.predictions(video.name)
        (ranked,) = read(path).values()
        names = [name for name in result["names"] if name in ranked.names]
        if not names:
            raise FormatError(f"{path}: the predictions are gone. Run it again.")
        self.reviews.add_predictions(
            video,
            ranked.of(*names),
            thresholds=result["thresholds"],
            settings=result["settings"],
        )

    # what the page is told ---------------------------------------------------------------

    def first_events(self) -> list[Event]:
        """What a page that begins to listen has to know."""
        return [("job", job.id, job.to_dict()) for job in self.jobs.latest() if job.is_open]

    def describe(self, video: Video) -> dict[str, Any]:
        """A video as the page sees it, looked at now if it never was."""
        return self._describe(video, self.library.facts(video), self.jobs.last_playable())

    def describe_all(self) -> list[dict[str, Any]]:
        """All videos as the page sees them."""
        videos, conversions = self.library.videos(), self.jobs.last_playable()
        facts = self.library.all_facts(videos)
        return [self._describe(video, facts[video.id], conversions) for video in videos]

    def _describe(
        self, video: Video, facts: Facts, conversions: Mapping[str, Job]
    ) -> dict[str, Any]:
        queries, moments = self.reviews.count(video)
        playable, problem = self._playable(video, facts, conversions.get(video.id))
        return {
            "id": video.id,
            "name": printable(video.name),
            "size_bytes": video.size_bytes,
            "modified": video.modified,
            "duration_s": facts.duration_s,
            "width": facts.width,
            "height": facts.height,
            "fps": facts.fps,
            "playable": playable,
            "error": facts.error or problem,
            "queries": queries,
            "moments": moments,
        }

    def _playable(
        self, video: Video, facts: Facts, conversion: Job | None
    ) -> tuple[str, str | None]:
        """Whether a browser can play it, and why its conversion failed."""
        if facts.is_playable or (
            facts.duration_s is not None and playable_path(self.cache, video).is_file()
        ):
            return "yes", None
        if conversion and conversion.is_open:
            return "making", None
        if conversion and conversion.state == "failed":
            return "failed", conversion.error
        return "no", None

    def check_names(self, backbone: str | None, method: str | None) -> None:
        """A page may name what is listed, and no file. Raises UnknownNameError, ConfigError."""
        self.catalogue.check_backbone(backbone)
        if method is not None and method not in METHODS:
            raise UnknownNameError("method", method, list(METHODS))
        if not self.catalogue.is_of_checkpoint(method) and self.catalogue.is_unready(method):
            raise ConfigError(
                f"method: {method} has to be trained first, and the server started with its "
                "--checkpoint."
            )
