"""Training from videos: the frames of a piece, decoded when a batch needs them.

Axes: t frames of a piece, h height, w width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray as Array

from openmoment.encoders.base import Encoder, HasImageTower
from openmoment.errors import ConfigError, FeatureError
from openmoment.storage.listing import by_id, find_videos
from openmoment.training.augment import Augment, augmented, short_side
from openmoment.types import Recipe, SnippetGrid, Snippets


@dataclass(frozen=True)
class Film(Snippets):
    """A video of which frames are seen, not features: these are empty, of the tower's width."""

    path: Path = Path()
    size: tuple[int, int] = (0, 0)
    """Height and width that the tower takes."""
    augment: Augment = "none"

    def frames(
        self, grid: SnippetGrid, rng: np.random.Generator
    ) -> UInt8[Array, "t 3 out_h out_w"]:
        """What is on display in the middle of each snippet. Raises VideoError."""
        from openmoment.video import read_pictures

        times_s = grid.centres_s.tolist()
        side = short_side(self.size, self.augment)
        pictures = np.stack(read_pictures(self.path, times_s, short_side=side))
        clip = torch.from_numpy(pictures).permute(0, 3, 1, 2)
        return augmented(clip, self.size, self.augment, rng).numpy()


class VideoFiles:
    """The videos of a folder by id, with and without ``v_``, or those given, as an encoder's image
    tower is to see them.

    Raises FeatureError where there is no such folder, ConfigError for a backbone whose image tower
    cannot be tuned.
    """

    kind = "video"

    def __init__(
        self,
        folder: Path,
        encoder: Encoder,
        augment: Augment,
        paths: Mapping[str, Path] | None = None,
    ) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise FeatureError(f"{folder}: no such folder.")
        space = encoder.space
        if not isinstance(space, HasImageTower):
            raise ConfigError(
                f"{encoder.name}: its image tower cannot be tuned. Use a backbone of open_clip, or "
                "train from features: tune_image=false."
            )
        self._size: tuple[int, int] = space.image_tower().size
        self._augment: Augment = augment
        self._paths = by_id(find_videos(folder)) if paths is None else paths
        self._empty = np.zeros((1, encoder.dim_in), dtype=np.float32)
        self.recipe = Recipe(encoder.name, encoder.fingerprint, encoder.fps, "")
        """Of the features that the tower would have given before."""
        self.fps = encoder.fps

    def __contains__(self, video: str) -> bool:
        return video in self._paths

    def load(self, video: str) -> Film:
        """The video, as far as its head tells. Raises VideoError."""
        from openmoment.video import probe

        info = probe(self._paths[video])
        num = max(1, round((info.duration_s - info.start_s) * self.fps))
        grid = SnippetGrid.uniform(num, start_s=info.start_s, end_s=info.duration_s)
        features = np.broadcast_to(self._empty, (num, self._empty.shape[1]))
        return Film(
            features,
            grid,
            self.recipe,
            info.duration_s,
            path=info.path,
            size=self._size,
            augment=self._augment,
        )
