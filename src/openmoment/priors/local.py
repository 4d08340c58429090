"""Texts and pictures from models on this machine; nothing is downloaded."""

import io
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

from openmoment.datasets.base import prompt_name
from openmoment.errors import MissingWeightsError, ProviderError
from openmoment.extras import require
from openmoment.features.cache import Cache
from openmoment.priors.openai import IMAGE_PROMPT, to_sentences

SENTENCE_PROMPT = "In one sentence, what one sees in a video that shows {label}:"
_MAX_TOKENS = 40  # of a sentence
_HERE = {"local_files_only": True, "use_safetensors": True}


class LocalModel:
    """A folder of weights in safetensors. Raises MissingWeightsError."""

    is_costly = takes_seed = True

    def __init__(self, where: str, *, device: str) -> None:
        self.folder, self.device = Path(where).expanduser(), device
        self.model = self.folder.name
        if not any(self.folder.rglob("*.safetensors")):
            raise MissingWeightsError(
                f"{self.folder}: no folder with .safetensors weights. Download the model first; "
                "nothing is downloaded here."
            )

    @property
    def fingerprint(self) -> str:
        """Of the weights' content."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        cache = Cache()
        digests = [cache.sha256(path) for path in sorted(self.folder.rglob("*.safetensors"))]
        return sha256(" ".join(digests).encode()).hexdigest()[:16]

    def unloadable(self, error: Exception) -> MissingWeightsError:
        """The error of a folder that the library does not take."""
        reason = " ".join(str(error).split())[:200]
        return MissingWeightsError(f"{self.folder}: cannot be loaded ({reason}).")


class TransformersTexts(LocalModel):
    """Sentences by a causal language model, each from a seed of its own."""

    name = "transformers"

    def prompt(self, label: str, num: int) -> str:
        return SENTENCE_PROMPT.format(label=prompt_name(label))

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        return [self._sentence(label, seed + i) for i in range(num)]

    def _sentence(self, label: str, seed: int) -> str:
        import torch

        model, tokenizer = self._made
        tokens = self._tokens(tokenizer, label).to(self.device)
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(seed)
            written = model.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                do_sample=True,
                max_new_tokens=_MAX_TOKENS,
                pad_token_id=tokenizer.eos_token_id,
            )
        answer = tokenizer.decode(written[0, tokens.shape[1] :], skip_special_tokens=True)
        (sentence,) = to_sentences(answer, 1, label)
        return sentence

    def _tokens(self, tokenizer: Any, label: str) -> Any:
        prompt = self.prompt(label, 1)
        if tokenizer.chat_template is None:
            return tokenizer(prompt, return_tensors="pt").input_ids
        messages = [{"role": "user", "content": prompt}]
        return tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )["input_ids"]

    @cached_property
    def _made(self) -> tuple[Any, Any]:
        from openmoment.encoders.weights.torchvision_ops import declare_missing

        declare_missing()
        transformers = require("transformers", extra="hf")
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                self.folder, local_files_only=True, trust_remote_code=False
            )
            model = transformers.AutoModelForCausalLM.from_pretrained(
                self.folder, trust_remote_code=False, **_HERE
            )
        except Exception as error:  # the library's errors have no common base
            raise self.unloadable(error) from error
        return model.eval().to(self.device), tokenizer


class DiffusersImages(LocalModel):
    """Pictures by a diffusion pipeline, each from a seed of its own."""

    name = "diffusers"

    def prompt(self, label: str, index: int) -> str:
        return IMAGE_PROMPT.format(label=prompt_name(label))

    def count(self, label: str, num: int) -> int:
        return num

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        import torch

        pipeline = self._pipeline
        generator = torch.Generator().manual_seed(seed)
        answer = pipeline(prompt=self.prompt(label, index), generator=generator)
        if any(getattr(answer, "nsfw_content_detected", None) or ()):
            raise ProviderError(
                f"{label}: the safety checker of {self.model} refused its picture. Try another "
                "--seed, or add pictures by hand."
            )
        content = io.BytesIO()
        answer.images[0].save(content, format="PNG")
        return content.getvalue()

    @cached_property
    def _pipeline(self) -> Any:
        diffusers = require("diffusers", extra="images")
        try:
            pipeline = diffusers.DiffusionPipeline.from_pretrained(self.folder, **_HERE)
        except Exception as error:  # the library's errors have no common base
            raise self.unloadable(error) from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)
