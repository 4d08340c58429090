"""Text towers taken apart: token embeddings in, one feature or all tokens out.

For learnable contexts (STALE, EffPrompt) gradients flow through; for T3AL the feature is wanted
before its projection; for UnLoc every token is.

Axes: b texts, n tokens, w width.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openmoment.errors import ConfigError

T = TypeVar("T")


class Shared(Generic[T]):
    """What a module uses and does not own: not in its state, and the same one in its copies."""

    def __init__(self, value: T) -> None:
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> "Shared[T]":
        return self


class TextTower(nn.Module):
    """What reads a text, from the embeddings of its tokens on."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Of a token's embedding, and of the feature before the projection."""

    @property
    @abstractmethod
    def context_length(self) -> int:
        """How many tokens a text may have, the first and last mark included."""

    @property
    @abstractmethod
    def needs_padding(self) -> bool:
        """Whether texts must be as long as the context, for what is read or where that stands."""

    @property
    @abstractmethod
    def padding_id(self) -> int:
        """The token behind the end of texts that are shorter than others."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        """Token ids, padded to one length; longer texts than the context are cut."""

    @abstractmethod
    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        """Token embeddings, without positions."""

    @abstractmethod
    def encode(
        self, embeddings: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b n w"]]:
        """Each text's feature before the projection, and its tokens after the last layer.

        ``tokens`` say where a text ends and what is padding; where embeddings are learned, any
        ids of ordinary tokens stand for them.
        """


class MeanTower(TextTower):
    """A tower of a `tokenizers` tokenizer, whose feature is the mean over a text's tokens."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = Shared(tokenizer)

    @property
    def needs_padding(self) -> bool:
        return False

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        return torch.tensor([e.ids for e in self._tokenizer.value.encode_batch(list(texts))])

    def mean(self, x: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b w"]:
        """Over the tokens that are no padding."""
        is_read = (tokens != self.padding_id)[..., None].to(x.dtype)
        return (x * is_read).sum(dim=1) / is_read.sum(dim=1)


class OpenClipTower(TextTower):
    """The text side of an open_clip model, of any of its three layouts.

    It holds the model's own weights, those of the text side alone. Raises ConfigError for text
    models of another library, which open_clip wraps whole, and for those that pool nothing.
    """

    attn_mask: Tensor | None

    def __init__(self, model: nn.Module, tokenizer: Callable[[list[str]], Tensor]) -> None:
        super().__init__()
        source: Any = getattr(model, "text", model)
        if not hasattr(source, "token_embedding"):
            raise ConfigError(
                "This model's text tower is not open_clip's own, and takes no learnable context."
            )
        self.cls_emb = getattr(source, "cls_emb", None)
        self._pool_kind = getattr(source, "pool_type", None) or source.text_pool_type
        if self._pool_kind == "none" and self.cls_emb is None:
            raise ConfigError("This model's text tower gives tokens alone, no feature of a text.")
        self._tokenizer = Shared(tokenizer)
        self.token_embedding = source.token_embedding
        self.positional_embedding = source.positional_embedding
        self.transformer = source.transformer
        self.ln_final = source.ln_final
        self.register_buffer("attn_mask", source.attn_mask, persistent=False)
        self._context_length = int(source.context_length)
        self._end_id = getattr(source, "eos_id", None) or getattr(source, "text_eos_id", None)
        self._padding_id = getattr(source, "pad_id", 0)
        self._num_heads = getattr(source, "heads", 1)
        self._masks_padding = getattr(source, "use_pad_mask", False) or self.cls_emb is not None
        self._masks_cls_last = getattr(source, "correct_cls_mask", False)

    @property
    def width(self) -> int:
        return int(self.token_embedding.weight.shape[1])

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def needs_padding(self) -> bool:
        sees_padding = self.attn_mask is None and not self._masks_padding
        return sees_padding or self.cls_emb is not None or self._pool_kind == "last"

    @property
    def padding_id(self) -> int:
        return self._padding_id

    def tokenize(self, texts: Sequence[str]) -> Int[Tensor, "b n"]:
        return self._tokenizer.value(list(texts))

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        return self.token_embedding(tokens)

    def encode(
        self, embeddings: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b n w"]]:
        n = embeddings.shape[1]
        if self.cls_emb is not None:
            last = self.cls_emb.expand(len(embeddings), 1, -1)
            embeddings = torch.cat([embeddings, last], dim=1)
        length = embeddings.shape[1]
        x = embeddings + self.positional_embedding[:length].to(embeddings.dtype)
        x = self.transformer(x, attn_mask=self._mask(tokens, length, x.dtype))
        if self.cls_emb is not None:
            return self.ln_final(x[:, -1]), x[:, :-1]
        x = self.ln_final(x)
        return self._pool(x, tokens), x[:, :n]

    def _mask(self, tokens: Tensor, length: int, dtype: torch.dtype) -> Tensor | None:
        causal = None if self.attn_mask is None else self.attn_mask[:length, :length]
        if not self._masks_padding:
            return causal
        is_read = tokens != self._padding_id  # b n
        if self.cls_emb is not None:
            # CoCa's weights were trained with the class token's place in front of the others,
            # which is one off; newer models have it behind them, where the token is.
            cls = torch.ones_like(is_read[:, :1])
            is_read = torch.cat([is_read, cls] if self._masks_cls_last else [cls, is_read], dim=1)
        mask = torch.zeros(is_read.shape, dtype=dtype, device=tokens.device)
        mask = mask.masked_fill(~is_read, float("-inf"))[:, None].expand(-1, length, -1)
        mask = mask.repeat_interleave(self._num_heads, dim=0)
        return mask if causal is None else causal + mask

    def _pool(self, x: Tensor, tokens: Tensor) -> Tensor:
        from open_clip.transformer import text_global_pool

        return text_global_pool(x, tokens, self._pool_kind, eos_token_id=self._end_id)


class Prompt(nn.Module):
    """One query, as texts, and the tower that reads them; to be copied before it is changed.

    ``finish`` makes one embedding, before the text projection, of the texts' features.
    """

    tokens: Tensor

    def __init__(
        self, tower: TextTower, texts: Sequence[str], finish: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__()
        self.tower = tower
        self.finish = finish
        self.register_buffer("tokens", tower.tokenize(texts))

    def forward(self) -> Float[Tensor, " w"]:
        """The query before the text projection."""
        pooled, _ = self.tower.encode(self.tower.embed(self.tokens), self.tokens)
        return self.finish(pooled)
