"""A transformer over the tokens of frames and of a text together (UnLoc section 3.2).

Axes: b pairs of a piece and a text, t snippets, m tokens of a text, d width.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from openmoment.blocks.attention import sine_positions
from openmoment.blocks.pyramid import Level, halve


class Fusion(nn.Module):
    """Pre-LN layers over ``[frames ; text]`` with sinusoidal positions (section 3.2).

    With several levels the last layers give one each, and frames are halved between these.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        inner: int,
        layers: int,
        *,
        dropout: float = 0.0,
        num_levels: int = 1,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, inner, dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.num_levels = num_levels

    def forward(
        self,
        frames: Level,
        text: Float[Tensor, "b m d"] | None,
        masks: Bool[Tensor, "b m"] | None,
    ) -> list[Level]:
        """What the frames became: of the whole, or one for each level of an FPN."""
        frames = Level(frames.x + _positions(frames, 0), frames.valid)
        if text is not None:
            text = text + _positions(frames, text.shape[1])
        found: list[Level] = []
        first_kept = len(self.layers) - self.num_levels
        for i, layer in enumerate(self.layers):
            if i > first_kept:
                frames = halve(frames)
            frames, text = _attend(layer, frames, text, masks)
            if i >= first_kept:
                found.append(frames)
        return found


class Likeness(nn.Module):
    """How alike frames and texts are in several ways that are learned, each about one large.

    All begin as what the joint space says: random projections, the same of frames and texts.
    """

    def __init__(self, joint: int, ways: int, *, size: int = 64) -> None:
        super().__init__()
        self.ways = ways
        self.of_frames = nn.Linear(joint, ways * size)
        self.of_texts = nn.Linear(joint, ways * size)
        nn.init.zeros_(self.of_frames.bias)
        self.of_texts.load_state_dict(self.of_frames.state_dict())

    def forward(
        self, frames: Float[Tensor, "b t d"], texts: Float[Tensor, "k d"]
    ) -> Float[Tensor, "b k t ways"]:
        seen = nn.functional.normalize(self.of_frames(frames).unflatten(2, (self.ways, -1)), dim=3)
        read = nn.functional.normalize(self.of_texts(texts).unflatten(1, (self.ways, -1)), dim=2)
        return 10 * torch.einsum("btwd,kwd->bktw", seen, read)


def _positions(frames: Level, m: int) -> Tensor:
    """Of the frames, or of ``m`` tokens that follow the last frame that is no padding."""
    t, d = frames.x.shape[1:]
    if not m:
        return sine_positions(t, d).to(frames.x)
    table = sine_positions(t + m, d).to(frames.x)
    if frames.valid is None:
        return table[t:]
    return table[frames.valid.sum(dim=1, keepdim=True) + torch.arange(m, device=table.device)]


def _attend(
    layer: nn.Module, frames: Level, text: Tensor | None, masks: Tensor | None
) -> tuple[Level, Tensor | None]:
    if text is None:
        ignore = None if frames.valid is None else ~frames.valid
        return Level(layer(frames.x, src_key_padding_mask=ignore), frames.valid), None
    t = frames.x.shape[1]
    ignore = None
    if frames.valid is not None or masks is not None:
        shown = torch.ones_like(frames.x[:, :, 0], dtype=torch.bool)
        read = torch.ones_like(text[:, :, 0], dtype=torch.bool)
        shown = shown if frames.valid is None else frames.valid
        ignore = ~torch.cat([shown, read if masks is None else masks], dim=1)
    x = layer(torch.cat([frames.x, text], dim=1), src_key_padding_mask=ignore)
    return Level(x[:, :t], frames.valid), x[:, t:]
