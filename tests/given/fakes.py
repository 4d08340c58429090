"""A backbone without weights: cheap, deterministic, made of hashes of bytes."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array

from openmoment.encoders.base import Progress, Towers
from openmoment.errors import VideoError
from openmoment.types import Recipe, SnippetGrid, Snippets


class FakeSpace:
    """Cosine similarity of the first ``dim`` columns of the features."""

    def logits(
        self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d"]
    ) -> Float[Array, "k t"]:
        projected = features[:, : embeddings.shape[1]]
        projected = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        return 10.0 * embeddings @ projected.T

    def project_video(self, features: Float[Array, "t d_in"]) -> Float[Array, "t 8"]:
        return features[:, :8]

    def project_text(self, embeddings: Float[Array, "k d"]) -> Float[Array, "k d"]:
        return embeddings

    def towers(self, features: Float[Array, "t d_in"], embeddings: Float[Array, "k d"]) -> Towers:
        identity = np.eye(embeddings.shape[1], dtype=np.float32)
        return Towers(features[:, : len(identity)], identity, embeddings, identity, 10.0)

    def evidence(
        self,
        features: Float[Array, "t d_in"],
        embeddings: Float[Array, "k d"],
        bank: Float[Array, "m d"],
    ) -> Float[Array, "k t"]:
        return self.logits(features, embeddings)


class FakeEncoder:
    """An `Encoder` whose "videos" are any files; one that starts with ``broken`` is refused.

    A second of video is a KiB of file. ``log`` gets one line per encoded video, and each video
    takes ``pause_s``.
    """

    name = "fake"
    note = "made for tests."
    takes_device = False

    def __init__(
        self,
        *,
        dim_in: int = 16,
        dim: int = 8,
        fps: float = 4.0,
        fingerprint: str = "fake-1",
        pause_s: float = 0.0,
        log: Path | None = None,
    ) -> None:
        self.dim_in, self.dim, self.fps, self.fingerprint = dim_in, dim, fps, fingerprint
        self.space = FakeSpace()
        self.pause_s, self.log = pause_s, log
        self.encoded: list[Path] = []
        self.texts: list[str] = []

    @staticmethod
    def missing() -> str | None:
        return None

    def encode_video(
        self, path: Path, *, fps: float, source_sha256: str, progress: Progress | None = None
    ) -> Snippets:
        content = path.read_bytes()
        if content.startswith(b"broken"):
            raise VideoError(f"{path}: damaged.")
        self.encoded.append(path)
        if self.log:
            with self.log.open("a") as log:
                log.write(f"{path.name}\n")
        duration_s = max(len(content) / 1024, 1.0)
        time.sleep(self.pause_s)
        if progress:
            progress(duration_s, duration_s)
        num = max(round(duration_s * fps), 1)
        return Snippets(
            features=_noise(content, num, self.dim_in),
            grid=SnippetGrid.uniform(num, end_s=duration_s),
            recipe=Recipe(self.name, self.fingerprint, fps, source_sha256),
            duration_s=duration_s,
        )

    def encode_text(
        self, names: Sequence[str], *, templates: Sequence[str] | None = None
    ) -> Float[Array, "k d"]:
        self.texts += names
        if not names:
            return np.zeros((0, self.dim), np.float32)
        rows = np.concatenate([_noise(name.encode(), 1, self.dim) for name in names])
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _noise(content: bytes, rows: int, columns: int) -> Float[Array, "rows columns"]:
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8])
    return np.random.default_rng(seed).standard_normal((rows, columns)).astype(np.float32)
