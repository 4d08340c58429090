"""Networks along time that keep length and width. Axes: b pieces, t snippets, d width."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from openmoment.blocks.attention import Refine
from openmoment.blocks.convolution import RefineLocally

TemporalNet = Literal["transformer", "wide_transformer", "conformer", "cnn1d", "mstcn"]
"""Those that a detector's snippets may see each other through (STALE eq. 1, Table 6)."""


def temporal_network(kind: TemporalNet, d: int, *, layers: int) -> nn.Module:
    """A network of that kind; ``layers`` is for those of attention."""
    match kind:
        case "cnn1d":
            return DilatedConvs(d)
        case "mstcn":
            return MultiStage(d)
        case _:
            return nn.Sequential(*(_attention_layer(kind, d) for _ in range(layers)))


def _attention_layer(kind: str, d: int) -> nn.Module:
    if kind == "wide_transformer":
        return WideRefine(d, 4, attention_dropout=0.1, dropout=0.2)
    attend = Refine(d, 4, dropout=0.2)
    if kind == "transformer":
        return attend
    return nn.Sequential(attend, RefineLocally(d, 7, dropout=0.1))


class WideRefine(nn.Module):
    """Self-attention as in `Refine`, but with heads of the full width each."""

    def __init__(
        self, width: int, heads: int, *, attention_dropout: float = 0.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.ask = nn.Linear(width, 3 * heads * width, bias=False)
        self.mix = nn.Linear(heads * width, width)
        self.drop = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        split = self.ask(x).unflatten(2, (3, self.heads, -1))  # b t 3 h d
        q, k, v = split.permute(2, 0, 3, 1, 4)
        found = nn.functional.scaled_dot_product_attention(
            q, k, v, dropout_p=self.attention_dropout if self.training else 0.0
        )
        together = found.transpose(1, 2).flatten(2)
        return self.norm(x + self.drop(self.mix(together)))


class DilatedConvs(nn.Module):
    """For each dilation two convolutions of kernel 3, with a residual around both."""

    def __init__(self, width: int, dilations: tuple[int, ...] = (1, 3, 5)) -> None:
        super().__init__()
        self.pairs = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
                nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            )
            for dilation in dilations
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x.transpose(1, 2)
        for pair in self.pairs:
            x = x + pair(x)
        return self.norm(x.transpose(1, 2))


class MultiStage(nn.Module):
    """MS-TCN (Farha and Gall, CVPR 2019): stages of dilated residual layers, each refines.

    Here a stage ends in features and adds them to what it was given, as there is no class yet.
    """

    def __init__(
        self,
        width: int,
        *,
        stages: int = 4,
        layers: int = 10,
        inner: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(width, inner, 1),
                *(DilatedLayer(inner, 2**layer, dropout=dropout) for layer in range(layers)),
                nn.Conv1d(inner, width, 1),
            )
            for _ in range(stages)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x.transpose(1, 2)
        for stage in self.stages:
            x = x + stage(x)
        return self.norm(x.transpose(1, 2))


class DilatedLayer(nn.Module):
    """MS-TCN's layer: a dilated convolution, ReLU, a pointwise one, dropout, and a residual."""

    def __init__(self, width: int, dilation: int, *, dropout: float) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(width, width, 1),
            nn.Dropout(dropout),
        )

    def forward(self, x: Float[Tensor, "b d t"]) -> Float[Tensor, "b d t"]:
        return x + self.inner(x)
