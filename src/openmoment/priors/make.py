"""Write the priors of many labels: what is there is kept, what fails costs no other label."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Literal

from openmoment.errors import FormatError, OpenMomentError, ProviderError
from openmoment.features.cache import Cache
from openmoment.priors.files import (
    TEXTS_FILE,
    Prior,
    Provenance,
    digest_of,
    folder_names,
    key_of,
    list_images,
    read_prior,
    write_texts,
)
from openmoment.priors.pictures import to_image, write_png
from openmoment.priors.providers import ImageProvider, TextProvider

NUM = 4
"""Sentences and pictures of each label, as in GRIZAL (section 4)."""


@dataclass(frozen=True)
class Made:
    """What became of one label."""

    label: str
    folder: Path
    status: Literal["made", "kept", "failed"]
    message: str


@dataclass(frozen=True)
class Maker:
    """Makes what is missing of one label after the other."""

    texts: TextProvider
    images: ImageProvider
    num: int = NUM
    seed: int = 0
    cache: Cache | None = None
    """Where what a costly provider gave is kept, by all that it depends on."""

    def make(self, labels: Sequence[str], out: Path) -> Iterator[Made]:
        """One result for each label, which is on disk when it comes.

        Raises QueryError when two labels would share a folder, ConfigError and its like for what
        would fail every label: then what was made before is kept.
        """
        names = folder_names(labels)
        _make_folder(out)
        for label in labels:
            folder = out / names[label]
            try:
                yield self._make_one(label, folder)
            except (FormatError, ProviderError) as error:
                yield Made(label, folder, "failed", str(error))

    def _make_one(self, label: str, folder: Path) -> Made:
        _make_folder(folder)
        kept = self._keep(label, folder)
        done: list[str] = []
        if kept is None or not kept.texts:
            texts = self._write_texts(label, folder, is_new=kept is None)
            done += [f"{len(texts)} texts"] if texts else []
        if num_images := self._draw_missing(label, folder):
            done.append(f"{num_images} images")
        if done:
            return Made(label, folder, "made", ", ".join(done))
        return Made(label, folder, "kept", self._whose(kept))

    def _keep(self, label: str, folder: Path) -> Prior | None:
        """What is there already. Raises FormatError for what is malformed or another label's."""
        if not (folder / TEXTS_FILE).is_file():
            return None
        kept = read_prior(folder)
        if key_of(kept.label) != key_of(label):
            raise FormatError(f"{folder}: holds the priors of {kept.label!r}, not of {label!r}.")
        return kept

    def _whose(self, kept: Prior | None) -> str:
        """A word on texts that another provider than the one asked for wrote."""
        if kept is None or kept.made is None or self.texts.name == "none":
            return ""
        theirs, asked = (kept.made.provider, kept.made.model), (self.texts.name, self.texts.model)
        if theirs == asked:
            return ""
        return f"texts by {' '.join(theirs).strip()}; delete {TEXTS_FILE} to have them made anew"

    def _write_texts(self, label: str, folder: Path, *, is_new: bool) -> list[str]:
        provider, prompt = self.texts, self.texts.prompt(label, self.num)

        def write() -> bytes:
            return json.dumps(provider.write(label, self.num, seed=self.seed)).encode()

        recipe = {"kind": "texts", "prompt": prompt, "num": self.num, "seed": self.seed}
        texts: list[str] = json.loads(self._cached(provider, recipe, write))
        if is_new or texts:
            made = Provenance(
                provider.name, provider.model, prompt, self.seed, _today(), digest_of(texts)
            )
            write_texts(label, texts, made if texts else None, folder / TEXTS_FILE)
        return texts

    def _draw_missing(self, label: str, folder: Path) -> int:
        """Draw the pictures that are not there yet, and say how many those were."""
        provider = self.images
        wanted = range(provider.count(label, self.num))
        there = {path.stem for path in list_images(folder)}
        missing = [index for index in wanted if f"img_{index}" not in there]
        for index in missing:
            self._draw(label, index, folder / f"img_{index}.png")
        return len(missing)

    def _draw(self, label: str, index: int, path: Path) -> None:
        provider, prompt = self.images, self.images.prompt(label, index)
        seed = self.seed + index

        def draw() -> bytes:
            content = provider.draw(label, index, seed=seed)
            to_image(content, f"{label}: the picture of {prompt!r}")  # what is none is not kept
            return content

        recipe = {"kind": "image", "prompt": prompt, "index": index, "seed": seed}
        content = self._cached(provider, recipe, draw)
        made = Provenance(
            provider.name,
            provider.model,
            prompt,
            seed if provider.takes_seed else None,
            _today(),
            sha256(content).hexdigest(),
        )
        write_png(to_image(content, f"{label}: the picture of {prompt!r}"), path, asdict(made))

    def _cached(
        self,
        provider: TextProvider | ImageProvider,
        recipe: dict[str, object],
        make: Callable[[], bytes],
    ) -> bytes:
        if self.cache is None or not provider.is_costly:
            return make()
        whose = {
            "provider": provider.name,
            "model": provider.model,
            "fingerprint": provider.fingerprint,
        }
        return self.cache.generated(recipe | whose, make)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OpenMomentError(f"{folder}: cannot be made ({error.strerror}).") from error


def _today() -> str:
    return date.today().isoformat()
