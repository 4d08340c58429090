"""A backbone whose text tower reads letters, for tests of what is learned around names."""

from collections.abc import Sequence

import torch
from spaces import DIM, CosineSpace
from torch import nn

from openmoment.encoders.towers.text_tower import TextTower


class LetterTower(TextTower):
    """A text tower of one layer that reads letters: 1 and 2 mark start and end."""

    width, context_length, needs_padding = 16, 24, False

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(128, self.width)
        self.layer = nn.Linear(self.width, self.width)

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        rows = [[1, *(3 + ord(c) % 120 for c in text), 2] for text in texts]
        longest = max(map(len, rows))
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.letters(tokens)

    def encode(self, embeddings, tokens):
        places = torch.arange(1, 1 + embeddings.shape[1])[:, None] / 10
        rows = self.layer(embeddings + places.sin()).tanh() * (tokens > 0)[..., None]
        return rows.sum(dim=1), rows


class LetterSpace(CosineSpace):
    """A space whose text tower is that."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.tower = LetterTower().requires_grad_(False).eval()
        self.joint = torch.randn(self.tower.width, DIM)

    def prompt(self, name: str) -> nn.Module:
        raise NotImplementedError

    def text_tower(self) -> LetterTower:
        return self.tower

    def tower_to_joint(self, pooled: torch.Tensor) -> torch.Tensor:
        return pooled @ self.joint
