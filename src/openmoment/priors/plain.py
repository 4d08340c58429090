"""Providers that need nothing: prompts around the label, one's own pictures, and none at all."""

from pathlib import Path

from openmoment.datasets.base import prompt_name
from openmoment.encoders.prompts import KINETICS_PROMPTS
from openmoment.errors import ConfigError, ProviderError
from openmoment.priors.files import folder_name
from openmoment.priors.pictures import SUFFIXES


class NoTexts:
    """The bare label."""

    name, model, fingerprint = "none", "", ""
    is_costly = False

    def prompt(self, label: str, num: int) -> str:
        return ""

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        return []


class TemplateTexts:
    """The label in the prompts of CLIP's release, evenly spread over the 28."""

    name, model, fingerprint = "template", "", ""
    is_costly = False

    def prompt(self, label: str, num: int) -> str:
        return " | ".join(self._templates(num))

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        words = prompt_name(label)
        return [template.format(words) for template in self._templates(num)]

    def _templates(self, num: int) -> list[str]:
        if num > len(KINETICS_PROMPTS):
            raise ConfigError(f"template: has {len(KINETICS_PROMPTS)} sentences, {num} asked for.")
        return [KINETICS_PROMPTS[i * len(KINETICS_PROMPTS) // num] for i in range(num)]


class NoImages:
    """No pictures."""

    name, model, fingerprint = "none", "", ""
    is_costly = takes_seed = False

    def prompt(self, label: str, index: int) -> str:
        return ""

    def count(self, label: str, num: int) -> int:
        return 0

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        raise IndexError(index)


class FolderImages:
    """One's own pictures: ``DIR/<label>/*.jpg``, in the order of their names."""

    name, model, fingerprint = "folder", "", ""
    is_costly = takes_seed = False

    def __init__(self, where: str) -> None:
        self.root = Path(where).expanduser()
        if not self.root.is_dir():
            raise ConfigError(f"{self.root}: no such folder of pictures.")

    def prompt(self, label: str, index: int) -> str:
        return self._pictures(label)[index].name

    def count(self, label: str, num: int) -> int:
        return min(num, len(self._pictures(label)))

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        path = self._pictures(label)[index]
        try:
            return path.read_bytes()
        except OSError as error:
            raise ProviderError(f"{path}: cannot be read ({error.strerror}).") from error

    def _pictures(self, label: str) -> list[Path]:
        names = dict.fromkeys((folder_name(label), folder_name(prompt_name(label))))
        folder = next((p for name in names if (p := self.root / name).is_dir()), None)
        if folder is None:
            raise ProviderError(
                f"{self.root / folder_name(label)}: no such folder. Put pictures of {label!r} "
                "there."
            )
        visible = (path for path in folder.iterdir() if not path.name.startswith("."))
        pictures = sorted(path for path in visible if path.suffix.lower() in SUFFIXES)
        if not pictures:
            raise ProviderError(f"{folder}: holds no picture. Known: {' '.join(SUFFIXES)}.")
        return pictures
