"""T5's encoder as a text tower, for UnLoc's Table 2: a language model that never saw a picture.

Raffel et al., JMLR 2020. It is read from a folder of transformers, or from the user's hub cache;
nothing is downloaded here. Axes: b texts, n tokens, w width.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn

from openmoment.encoders.towers.text_tower import MeanTower
from openmoment.encoders.weights.hub import cached_weights
from openmoment.encoders.weights.torchvision_ops import declare_missing
from openmoment.errors import MissingWeightsError
from openmoment.extras import require

REPOS = {"t5-small": "google-t5/t5-small", "t5-base": "google-t5/t5-base"}
"""On the hub, by the names that settings use."""

_WEIGHTS, _TOKENIZER = "model.safetensors", "tokenizer.json"
_PADDING, _PADDING_ID = "<pad>", 0
_CONTEXT = 512


class T5Tower(MeanTower):
    """The encoder of a T5. A text's feature is the mean over its tokens, as Sentence-T5 has it."""

    def __init__(self, stack: nn.Module, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.stack: Any = stack
        tokenizer.enable_padding(pad_id=_PADDING_ID, pad_token=_PADDING)
        tokenizer.enable_truncation(_CONTEXT)

    @property
    def width(self) -> int:
        return int(self.stack.embed_tokens.weight.shape[1])

    @property
    def context_length(self) -> int:
        return _CONTEXT

    @property
    def padding_id(self) -> int:
        return _PADDING_ID

    def embed(self, tokens: Int[Tensor, "b n"]) -> Float[Tensor, "b n w"]:
        return self.stack.embed_tokens(tokens)

    def encode(
        self, embeddings: Float[Tensor, "b n w"], tokens: Int[Tensor, "b n"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b n w"]]:
        is_read = tokens != _PADDING_ID
        x = self.stack(inputs_embeds=embeddings, attention_mask=is_read).last_hidden_state
        return self.mean(x, tokens), x


def find_t5(name: str) -> Path:
    """The folder of ``t5-small`` or ``t5-base``, or that given. Raises MissingWeightsError."""
    if name not in REPOS:
        return Path(name)
    repo = REPOS[name]
    weights = cached_weights(repo)
    if weights is None:
        raise MissingWeightsError(
            f"{name}: no weights on this machine. Run: hf download {repo}, or give a folder that "
            f"holds {_WEIGHTS}, config.json and {_TOKENIZER}."
        )
    return weights.parent


@lru_cache(maxsize=1)
def load_t5(folder: Path) -> T5Tower:
    """The tower of a folder, in evaluation mode. Raises MissingWeightsError, MissingExtraError."""
    for name in (_WEIGHTS, _TOKENIZER):
        if not (folder / name).is_file():
            raise MissingWeightsError(f"{folder}: holds no {name}, as a T5 of transformers has.")
    declare_missing()
    transformers = require("transformers", extra="hf")
    try:
        # What is made in inference mode can never learn, and what is drawn and then overwritten
        # must not move the numbers of a seeded run.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            model = transformers.T5EncoderModel.from_pretrained(
                folder, use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:  # of several libraries, without a common base
        problem = " ".join(str(error).split())[:300]
        raise MissingWeightsError(f"{folder}: cannot be loaded as a T5 ({problem}).") from error
    model.eval().requires_grad_(False)
    return T5Tower(model.encoder, tokenizer)
