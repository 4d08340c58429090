"""all-MiniLM-L6-v2 on torch, for what learns: the numbers of `minilm.MiniLM`, with gradients.

Axes: b texts, n tokens, w width.
"""

from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from openmoment.encoders.embedded.minilm import DIM, EPS, HEADS, MAX_TOKENS, load_tokenizer
from openmoment.encoders.towers.text_tower import MeanTower

_PADDING_ID = 0
_INNER = 1536
_LAYERS = 6
_PARTS = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}
"""Of a layer, from BERT's names to those of torch."""


class MiniLMTower(MeanTower):
    """A BERT of six layers whose feature is the mean over a text's tokens, marks included."""

    def __init__(self, tokenizer: Tokenizer, *, vocabulary: int, num_positions: int) -> None:
        super().__init__(tokenizer)
        self.token_embedding = nn.Embedding(vocabulary, DIM)
        self.position_embedding = nn.Embedding(num_positions, DIM)
        self.norm = nn.LayerNorm(DIM, eps=EPS)
        layer = nn.TransformerEncoderLayer(
            DIM, HEADS, _INNER, 0.0, "gelu", layer_norm_eps=EPS, batch_first=True
        )
        self.transformer = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)

    @property
    def width(self) -> int:
        return DIM

    @property
    def context_length(self) -> int:
        return MAX_TOKENS

    @property
    def padding_id(self) -> int:
        return _PADDING_ID

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        return self.token_embedding(tokens)

    def encode(
        self, embeddings: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b n w"]]:
        pad_mask = tokens == _PADDING_ID
        x = self.norm(embeddings + self.position_embedding.weight[: embeddings.shape[1]])
        x = self.transformer(x, src_key_padding_mask=pad_mask)
        return self.mean(x, tokens), x


@torch.inference_mode(False)  # what is made in it can never learn
def load(folder: Path) -> MiniLMTower:
    """The tower of a folder that holds BERT's weights and tokenizer; it does not learn."""
    state = _renamed(load_file(folder / "model.safetensors"))
    with torch.device("meta"):  # draws no random numbers
        tower = MiniLMTower(
            load_tokenizer(folder),
            vocabulary=len(state["token_embedding.weight"]),
            num_positions=len(state["position_embedding.weight"]),
        )
    tower.load_state_dict(state, assign=True)
    return tower.eval().requires_grad_(False)


def _renamed(bert: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint of BERT under this module's names.

    All tokens are of the first type, whose embedding goes into those of the positions.
    """
    embeddings = "embeddings.{}.weight"
    token_type = bert[embeddings.format("token_type_embeddings")][0]
    state = {
        "token_embedding.weight": bert[embeddings.format("word_embeddings")],
        "position_embedding.weight": bert[embeddings.format("position_embeddings")] + token_type,
    }
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = bert[f"embeddings.LayerNorm.{kind}"]
        for i in range(_LAYERS):
            theirs, ours = f"encoder.layer.{i}", f"transformer.layers.{i}"
            inputs = [
                bert[f"{theirs}.attention.self.{p}.{kind}"] for p in ("query", "key", "value")
            ]
            state[f"{ours}.self_attn.in_proj_{kind}"] = torch.cat(inputs)
            for there, here in _PARTS.items():
                state[f"{ours}.{here}.{kind}"] = bert[f"{theirs}.{there}.{kind}"]
    return state
