"""An open_clip text tower, taken apart: token embeddings in, one feature or all tokens out.

For learnable contexts (STALE, EffPrompt) gradients flow through; for T3AL the feature is wanted
before its projection; for UnLoc every token is.

Axes: b texts, n tokens, w width.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openmoment.errors import ConfigError


class TextTower(nn.Module):
    """The text side of an open_clip model, of any of its three layouts.

    Raises ConfigError for text models of another library, which open_clip wraps whole.
    """

    def __init__(self, model: nn.Module, tokenizer: Callable[[list[str]], Tensor]) -> None:
        super().__init__()
        tower: Any = getattr(model, "text", model)
        if not hasattr(tower, "token_embedding"):
            raise ConfigError(
                "This model's text tower is not open_clip's own, and takes no learnable context."
            )
        self._tower = tower
        self._tokenizer = tokenizer

    @property
    def width(self) -> int:
        """Of a token's embedding, and of the feature before the projection."""
        return int(self._tower.token_embedding.weight.shape[1])

    @property
    def context_length(self) -> int:
        """How many tokens a text may have, the first and last mark included."""
        return int(self._tower.context_length)

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        """Token ids, padded to the context length; longer texts are cut."""
        return self._tokenizer(list(texts))

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """Token embeddings, without positions."""
        return self._tower.token_embedding(tokens)

    def encode(
        self, embeddings: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b n w"]]:
        """Each text's feature before the projection, and its tokens after the last layer.

        ``tokens`` say where a text ends and what is padding; where embeddings are learned, any
        ids of ordinary tokens stand for them.
        """
        tower = self._tower
        n = embeddings.shape[1]
        cls_embedding = getattr(tower, "cls_emb", None)
        if cls_embedding is not None:
            last = cls_embedding.expand(len(embeddings), 1, -1)
            embeddings = torch.cat([embeddings, last], dim=1)
        length = embeddings.shape[1]
        x = embeddings + tower.positional_embedding[:length].to(embeddings.dtype)
        x = tower.transformer(x, attn_mask=self._mask(tokens, length, x.dtype))
        if cls_embedding is not None:
            return tower.ln_final(x[:, -1]), x[:, :-1]
        x = tower.ln_final(x)
        return self._pool(x, tokens), x[:, :n]

    def _mask(self, tokens: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        tower = self._tower
        mask = tower.attn_mask
        if mask is not None:
            mask = mask[:length, :length]
        is_padded = getattr(tower, "use_pad_mask", False)
        if is_padded or getattr(tower, "cls_emb", None) is not None:
            added = tower._build_additive_mask(tokens, length, dtype)
            mask = added if mask is None else mask.unsqueeze(0) + added
        return mask

    def _pool(self, x: Tensor, tokens: Tensor) -> Tensor:
        from open_clip.transformer import text_global_pool

        tower = self._tower
        kind = getattr(tower, "pool_type", None) or tower.text_pool_type
        end = getattr(tower, "eos_id", None) or getattr(tower, "text_eos_id", None)
        return text_global_pool(x, tokens, kind, eos_token_id=end)


class Prompt(nn.Module):
    """One text and the tower that reads it; to be copied before anything in it is changed."""

    tokens: Tensor

    def __init__(self, tower: TextTower, text: str) -> None:
        super().__init__()
        self.tower = tower
        self.register_buffer("tokens", tower.tokenize([text]))

    def forward(self) -> Float[Tensor, " w"]:
        """The text's feature before its projection."""
        pooled, _ = self.tower.encode(self.tower.embed(self.tokens), self.tokens)
        return pooled[0]
