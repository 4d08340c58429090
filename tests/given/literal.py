"""Slow, literal forms of the parts of networks, in NumPy, for tests of equations."""

import math
from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]


def weights_of(module) -> dict[str, np.ndarray]:
    return {name: value.detach().double().numpy() for name, value in module.state_dict().items()}


def part(weights: Weights, prefix: str) -> Weights:
    """The weights below a prefix, without it."""
    return {
        n.removeprefix(f"{prefix}."): w for n, w in weights.items() if n.startswith(f"{prefix}.")
    }


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def unit(row: np.ndarray) -> np.ndarray:
    return row / np.linalg.norm(row)


def linear(x: np.ndarray, w: Weights) -> np.ndarray:
    return x @ w["weight"].T + w["bias"]


def layer_norm(x: np.ndarray, w: Weights) -> np.ndarray:
    rows = [(row - row.mean()) / math.sqrt(row.var() + 1e-5) for row in x]
    return np.stack(rows) * w["weight"] + w["bias"]


def attention(queries: np.ndarray, memory: np.ndarray, w: Weights, heads: int) -> np.ndarray:
    """softmax(q_h k_h^T / sqrt(d / h)) v_h for each head, side by side, and mixed."""
    d = queries.shape[1]
    size = d // heads
    (wq, wk, wv), (bq, bk, bv) = np.split(w["in_proj_weight"], 3), np.split(w["in_proj_bias"], 3)
    q, k, v = queries @ wq.T + bq, memory @ wk.T + bk, memory @ wv.T + bv
    out = np.zeros((len(queries), d))
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for i in range(len(q)):
            weights = softmax(np.array([q[i, part] @ row for row in k[:, part]]) / math.sqrt(size))
            out[i, part] = sum(a * row for a, row in zip(weights, v[:, part], strict=True))
    return out @ w["out_proj.weight"].T + w["out_proj.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2


def conv(x: np.ndarray, w: Weights, *, stride: int = 1, groups: int = 1) -> np.ndarray:
    """A convolution along time with as much padding as half its kernel; x is [t, d]."""
    kernel = w["weight"]
    outer, inner, size = kernel.shape
    pad = size // 2
    padded = np.concatenate([np.zeros((pad, x.shape[1])), x, np.zeros((pad, x.shape[1]))])
    per_group = outer // groups
    out = np.zeros((len(range(0, len(x) + 2 * pad - size + 1, stride)), outer))
    for i in range(len(out)):
        window = padded[i * stride : i * stride + size]
        for o in range(outer):
            first = o // per_group * inner
            out[i, o] = (window[:, first : first + inner] * kernel[o].T).sum()
    return out + w["bias"] if "bias" in w else out


def stretch(x: np.ndarray, length: int) -> np.ndarray:
    """Linear interpolation of rows onto so many, centres to centres."""
    where = np.clip((np.arange(length) + 0.5) * len(x) / length - 0.5, 0, len(x) - 1)
    return np.stack([np.interp(where, np.arange(len(x)), column) for column in x.T], axis=1)
