"""BMN: how likely an action starts and ends at each snippet, and how good each pair of these is.

Lin et al., BMN: Boundary-Matching Network for Temporal Action Proposal Generation, ICCV 2019. All
that it says is class-agnostic. A map has a row for each duration and a column for each start: cell
``(d, i)`` is the proposal of the snippets ``i .. i + d``, the stretch ``[i, i + d + 1]``. Axes:
b pieces, t snippets, d durations, n samples of a proposal, c and o channels.
"""

import warnings
from math import gcd
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array
from torch import Tensor, nn
from torch.nn.functional import conv1d

from openmoment.blocks.attention import unit_variance

_GROUPS = 4  # of the convolutions along time


class BmnOutput(NamedTuple):
    """Logits of the three heads."""

    start: Float[Tensor, "b t"]
    end: Float[Tensor, "b t"]
    classification: Float[Tensor, "b d t"]
    """Whether the proposal is one."""
    regression: Float[Tensor, "b d t"]
    """Its tIoU with an instance."""


class Samples(NamedTuple):
    """A sparse matrix in compressed rows: each row is one sample of all snippets' weights."""

    starts: Int[Array, " rows_plus_1"]
    columns: Int[Array, " entries"]
    values: Float[Array, " entries"]


def in_map(t: int, num_durations: int) -> Bool[Tensor, "d t"]:
    """Which cells are proposals: those that end by the end of the piece."""
    return torch.arange(num_durations)[:, None] + torch.arange(t) < t


def sampling_weights(
    t: int,
    num_durations: int,
    *,
    num_samples: int = 32,
    samples_per_bin: int = 3,
    boundary_ratio: float = 0.5,
) -> Samples:
    """Where a proposal is looked at, extended on both sides by a share of its length.

    Rows are the cells of the map, columns ``sample * t + snippet``. A sample is the mean of
    ``samples_per_bin`` points, a point is linear between the two snippets beside it; outside of
    the piece all is zero. As released, but for points less than one snippet before the first:
    the released code gives these the whole first snippet, and those behind the last their share.
    """
    d, i = (part.ravel() for part in np.nonzero(in_map(t, num_durations).numpy()))
    reach = (d + 1) * boundary_ratio
    steps = np.linspace(0, 1, num_samples * samples_per_bin)
    points = (i - reach)[:, None] + (d + 2 * reach)[:, None] * steps  # cells points
    left = np.floor(points).astype(np.int64)
    share = points - left
    width = num_samples * t
    columns = (np.arange(points.shape[1]) // samples_per_bin)[None] * t + left
    key = (d * t + i)[:, None] * width + columns
    is_left, is_right = (left >= 0) & (left < t), (left >= -1) & (left < t - 1)
    keys = np.concatenate([key[is_left], key[is_right] + 1])
    weights = np.concatenate([(1 - share)[is_left], share[is_right]]) / samples_per_bin
    kept = weights > 0
    unique, place = np.unique(keys[kept], return_inverse=True)
    counts = np.bincount(unique // width, minlength=num_durations * t)
    values = np.bincount(place, weights[kept], minlength=len(unique))
    return Samples(np.concatenate([[0], np.cumsum(counts)]), unique % width, values)


class BoundaryMatching(nn.Module):
    """The boundary-matching layer, and the convolution over its samples that follows.

    Both are linear: the convolution comes first, on snippets instead of proposals, and what it
    makes of each sample is then gathered. That is the same sum in a fiftieth of the operations,
    and never holds ``n`` samples of all proposals.
    """

    def __init__(
        self,
        width: int,
        out: int,
        *,
        num_samples: int = 32,
        samples_per_bin: int = 3,
        boundary_ratio: float = 0.5,
    ) -> None:
        super().__init__()
        self.look = {
            "num_samples": num_samples,
            "samples_per_bin": samples_per_bin,
            "boundary_ratio": boundary_ratio,
        }
        self.convolve = nn.Conv3d(width, out, (num_samples, 1, 1))
        self._matrices: dict[tuple[int, int, torch.device], Tensor] = {}

    def forward(self, x: Float[Tensor, "b c t"], num_durations: int) -> Float[Tensor, "b o d t"]:
        b, _, t = x.shape
        kernel = self.convolve.weight[..., 0, 0]  # o c n
        seen = conv1d(x, kernel.permute(2, 0, 1).flatten(0, 1)[..., None])  # b (n o) t
        rows = seen.unflatten(1, (kernel.shape[2], -1)).permute(1, 3, 0, 2)  # n t b o
        with torch.autocast(x.device.type, enabled=False):
            matrix = self._matrix(t, num_durations, x.device)
            gathered = torch.sparse.mm(matrix, rows.flatten(2, 3).flatten(0, 1).float())
        shape = (num_durations, t, b, kernel.shape[0])
        assert self.convolve.bias is not None
        return gathered.view(shape).permute(2, 3, 0, 1) + self.convolve.bias[:, None, None]

    def _matrix(self, t: int, num_durations: int, device: torch.device) -> Tensor:
        """The weights, made once for a length. No buffer: it is no state, and large."""
        key = (t, num_durations, device)
        if key not in self._matrices:
            found = sampling_weights(t, num_durations, **self.look)  # type: ignore[arg-type]
            parts = [torch.from_numpy(part) for part in found]
            shape = (num_durations * t, self.look["num_samples"] * t)
            with torch.inference_mode(False), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that compressed rows are in beta state
                self._matrices[key] = torch.sparse_csr_tensor(
                    parts[0], parts[1], parts[2].float(), shape, check_invariants=True
                ).to(device)
        return self._matrices[key]


class Bmn(nn.Module):
    """The three modules: base, temporal evaluation, proposal evaluation (Table 1 of the paper)."""

    def __init__(
        self,
        width_in: int,
        *,
        width: int = 256,
        sample_width: int = 512,
        map_width: int = 128,
        max_duration: int = 100,
        num_samples: int = 32,
        samples_per_bin: int = 3,
        boundary_ratio: float = 0.5,
    ) -> None:
        super().__init__()
        self.max_duration = max_duration
        self.base = nn.Sequential(
            _along_time(width_in, width), nn.ReLU(), _along_time(width, width), nn.ReLU()
        )
        self.start, self.end = _boundary_head(width), _boundary_head(width)
        self.enter = nn.Conv1d(width, width, 3, padding=1)
        self.match = BoundaryMatching(
            width,
            sample_width,
            num_samples=num_samples,
            samples_per_bin=samples_per_bin,
            boundary_ratio=boundary_ratio,
        )
        self.evaluate = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(sample_width, map_width, 1),
            nn.ReLU(),
            nn.Conv2d(map_width, map_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(map_width, map_width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(map_width, 2, 1),
        )

    def forward(self, features: Float[Tensor, "b t c"]) -> BmnOutput:
        """Of features of whatever length: what they point to counts."""
        t = features.shape[1]
        x = self.base(unit_variance(features).transpose(1, 2))
        matched = self.match(self.enter(x).relu(), min(self.max_duration, t))
        classification, regression = self.evaluate(matched).unbind(dim=1)
        return BmnOutput(
            self.start(x).squeeze(1), self.end(x).squeeze(1), classification, regression
        )


def _along_time(width: int, out: int) -> nn.Conv1d:
    return nn.Conv1d(width, out, 3, padding=1, groups=gcd(_GROUPS, width, out))


def _boundary_head(width: int) -> nn.Sequential:
    return nn.Sequential(_along_time(width, width), nn.ReLU(), nn.Conv1d(width, 1, 1))
