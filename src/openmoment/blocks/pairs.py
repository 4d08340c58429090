"""Each piece of video with each text: their tokens side by side, and how alike they are.

Axes: b pieces, t snippets, k texts, n pairs, m tokens of a text, c cues, d width inside.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from openmoment.blocks.fusion import Likeness
from openmoment.blocks.pyramid import Level
from openmoment.blocks.words import Words


class Frames(NamedTuple):
    """A batch of pieces before any text is met."""

    tokens: Float[Tensor, "b t d"]
    points: Float[Tensor, "b t d_joint"]
    """In the joint space, of length one."""
    valid: Bool[Tensor, "b t"] | None


def pair(
    frames: Frames, words: Words, told: Float[Tensor, "b k t d"] | None
) -> tuple[Level, Float[Tensor, "n m d"], Bool[Tensor, "n m"] | None]:
    """The tokens of each piece with each text, pieces first, in the texts' first prompt.

    ``told`` is what the frames of a piece are told of a text, and is added to them.
    """
    b, num = len(frames.tokens), len(words)
    x = frames.tokens[:, None].expand(-1, num, -1, -1)
    if told is not None:
        x = x + told
    valid = None if frames.valid is None else frames.valid.repeat_interleave(num, dim=0)
    masks = None if words.masks is None else words.masks[:, 0].repeat(b, 1)
    return Level(x.flatten(0, 1), valid), words.tokens[:, 0].repeat(b, 1, 1), masks


def cues(frames: Frames, words: Words, likeness: Likeness | None) -> Float[Tensor, "b k t c"]:
    """How alike frame and text are, and how much more so than over the piece; about one large.

    Of a sentence that is read word by word also how much more its end is so than its beginning;
    and by every ``likeness`` that is learned.
    """
    points = [words.points] if words.turns is None else [words.points, words.turns]
    alike = 10 * torch.einsum("btd,kpd->bktp", frames.points, torch.cat(points, dim=1))
    if likeness is not None:
        alike = torch.cat([alike, likeness(frames.points, words.points[:, 0])], dim=3)
    if frames.valid is None:
        mean = alike.mean(dim=2, keepdim=True)
    else:
        valid = frames.valid[:, None, :, None].to(alike)
        mean = (alike * valid).sum(dim=2, keepdim=True) / valid.sum(dim=2, keepdim=True)
    return torch.cat([alike, alike - mean], dim=3)


def as_one(pairs: Level) -> Level:
    """Each pair as one token: the mean of its frames that are no padding."""
    if pairs.valid is None:
        return Level(pairs.x.mean(dim=1, keepdim=True), None)
    num = pairs.valid.sum(dim=1)[:, None, None]
    return Level(pairs.clean().sum(dim=1, keepdim=True) / num, None)


def for_all(rows: Float[Tensor, "b m _"], num: int) -> Float[Tensor, "b k m _"]:
    """What the pieces are alone, for each of so many texts."""
    return rows[:, None].expand(-1, num, -1, -1)
