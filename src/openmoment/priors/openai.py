"""Texts and pictures from any server that speaks OpenAI's protocol, local ones included.

The key comes from OPENAI_API_KEY and is in no message and no file; the address from
``Access.base_url`` or OPENAI_BASE_URL. OpenAI's own client waits, retries and honours Retry-After;
what it raises becomes one line that names the label: ConfigError where every further label would
meet the same (key, model, address), ProviderError otherwise.
"""

import base64
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from openmoment.datasets.base import prompt_name
from openmoment.errors import ConfigError, ProviderError
from openmoment.extras import require
from openmoment.priors.access import Access

OPENAI_URL = "https://api.openai.com/v1"
TEXT_PROMPT = (
    "Somebody looks for this in videos: {label}. Write {num} different sentences, each of which "
    "describes what one sees in a video of it: people, objects, places, movements. One sentence "
    "on each line, at most 20 words each, no numbering and nothing else."
)
IMAGE_PROMPT = "A photograph, as a single frame of a video, that shows this: {label}."
_KEY, _URL = "OPENAI_API_KEY", "OPENAI_BASE_URL"
_REFUSALS = ("content_policy", "content_filter", "moderation", "safety")


class Endpoint:
    """A server and a model on it."""

    name = "openai"
    is_costly = True
    takes_seed = False  # pictures: the protocol has none

    def __init__(self, model: str, access: Access) -> None:
        self.model, self._access = model, access
        self.url = (access.base_url or os.environ.get(_URL) or OPENAI_URL).rstrip("/")
        self.where = re.sub(r"(?<=//)[^@/]*@|\?.*", "", self.url)  # to be shown: without secrets
        self._key = os.environ.get(_KEY, "")
        if not self._key and self.url == OPENAI_URL:
            raise ConfigError(f"openai: no key. Set {_KEY}, or {_URL} to a server that needs none.")

    @property
    def fingerprint(self) -> str:
        return self.where

    @cached_property
    def client(self) -> Any:
        """OpenAI's client. Raises MissingExtraError, ConfigError for an address that is none."""
        openai = require("openai", extra="priors")
        if not re.match(r"https?://\S+$", self.url):
            raise ConfigError(
                f"{_URL}: expected an address such as {OPENAI_URL}, got {self.where!r}."
            )
        return openai.OpenAI(
            api_key=self._key or "none",
            base_url=self.url,
            timeout=self._access.timeout_s,
            max_retries=self._access.max_retries,
        )

    @contextmanager
    def asking(self, label: str) -> Iterator[Any]:
        """The client; what goes wrong inside becomes ConfigError or ProviderError."""
        client = self.client
        openai = require("openai", extra="priors")
        try:
            yield client
        except openai.APITimeoutError as error:
            raise ProviderError(
                f"{label}: {self.where} gave no answer in {self._access.timeout_s:g} s. Run it "
                "again, or give it longer: --timeout."
            ) from error
        except openai.APIConnectionError as error:
            raise ConfigError(
                f"{label}: {self.where} cannot be reached. Is it running? Its address is {_URL}'s."
            ) from error
        except openai.APIStatusError as error:
            raise self._told(label, error) from None  # its text may hold the key
        except ValueError as error:  # a body that is no JSON
            raise self.unusable(label, "an answer that is not JSON") from error

    def unusable(self, label: str, what: str) -> ProviderError:
        """The error of an answer that does not follow the protocol."""
        return ProviderError(f"{label}: {self.where} gave {what}. Does it speak OpenAI's protocol?")

    def refused(self, label: str, reason: str) -> ProviderError:
        """The error of a prompt that the server will not answer."""
        said = f" ({reason})" if reason else ""
        return ProviderError(
            f"{label}: {self.model} refused the prompt{said}. Name it otherwise, or write its "
            "files by hand."
        )

    def _told(self, label: str, error: Any) -> ConfigError | ProviderError:
        told = error.body if isinstance(error.body, dict) else {}
        reason = self._clean(told.get("message") or "no reason given")
        kind = f"{error.code or ''} {error.type or ''} {reason}".lower()
        match error.status_code:
            case 401 | 403:
                return ConfigError(
                    f"{label}: {self.where} does not take the key ({error.status_code}). Set "
                    f"{_KEY} to one that it knows."
                )
            case 404:
                return ConfigError(
                    f"{label}: {self.where} has no such model or path: {self.model!r} ({reason})."
                )
            case 429 if "insufficient_quota" in kind:
                return ConfigError(f"{label}: {self.where}: the key's quota is used up.")
            case 429:
                return ProviderError(
                    f"{label}: {self.where} still asks to wait after "
                    f"{self._access.max_retries} retries. Run it again later."
                )
            case 400 if any(word in kind for word in _REFUSALS):
                return self.refused(label, reason)
            case status:
                return ProviderError(f"{label}: {self.where} answered {status} ({reason}).")

    def _clean(self, message: object) -> str:
        line = " ".join(str(message).split())
        if self._key:
            line = line.replace(self._key, "***")
        return line[:200].rstrip(".")


class OpenAITexts(Endpoint):
    """Sentences by a chat model."""

    def prompt(self, label: str, num: int) -> str:
        return TEXT_PROMPT.format(label=prompt_name(label), num=num)

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        messages = [{"role": "user", "content": self.prompt(label, num)}]
        with self.asking(label) as client:
            answer = client.chat.completions.create(model=self.model, messages=messages, seed=seed)
        choice = next(iter(getattr(answer, "choices", None) or ()), None)
        if choice is None or choice.message is None:
            raise self.unusable(label, "an answer without choices")
        if choice.message.refusal or choice.finish_reason == "content_filter":
            raise self.refused(label, self._clean(choice.message.refusal or ""))
        return to_sentences(choice.message.content or "", num, label)


class OpenAIImages(Endpoint):
    """Pictures by an image model."""

    def prompt(self, label: str, index: int) -> str:
        return IMAGE_PROMPT.format(label=prompt_name(label))

    def count(self, label: str, num: int) -> int:
        return num

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        # The newer models always answer so, and refuse to be asked.
        form = {} if self.model.startswith("gpt-image") else {"response_format": "b64_json"}
        with self.asking(label) as client:
            answer = client.images.generate(
                model=self.model, prompt=self.prompt(label, index), n=1, **form
            )
        picture = next(iter(getattr(answer, "data", None) or ()), None)
        content = getattr(picture, "b64_json", None)
        if not content:
            raise self.unusable(label, "no picture as b64_json")
        try:
            return base64.b64decode(content, validate=True)
        except ValueError as error:
            raise self.unusable(label, "a picture that is not base64") from error


def to_sentences(answer: str, num: int, label: str) -> list[str]:
    """The first ``num`` lines of an answer, without numbers, bullets, quotes and preambles.

    Raises ProviderError when there are fewer.
    """
    answer = re.sub(r"<think>.*?</think>", "", answer, flags=re.DOTALL)
    lines = (re.sub(r"^\s*(?:[-*•]|\d+[.):])\s+", "", line) for line in answer.splitlines())
    tidy = (" ".join(line.split()).strip("\"'“”") for line in lines)
    sentences = [line for line in tidy if line and not line.endswith(":")]
    if len(sentences) < num:
        raise ProviderError(
            f"{label}: the model wrote {len(sentences)} of {num} sentences. Run it again with "
            "another --seed, or write them by hand."
        )
    return sentences[:num]
