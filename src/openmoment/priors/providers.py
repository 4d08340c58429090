"""What a provider owes, and providers by name: ``template``, ``openai:MODEL``, ``folder:DIR``.

Making a provider touches no network and loads no weights; what keeps one from running is said
when it is first asked.
"""

from typing import Protocol, runtime_checkable

from openmoment.errors import ConfigError, UnknownNameError
from openmoment.priors.access import Access

TEXT_PROVIDERS = ("template", "none", "openai:MODEL", "transformers:FOLDER")
IMAGE_PROVIDERS = ("none", "folder:DIR", "openai:MODEL", "diffusers:FOLDER")


@runtime_checkable
class TextProvider(Protocol):
    """Sentences about a label."""

    name: str
    model: str
    is_costly: bool
    """Whether what it gave is worth keeping in the cache."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the same prompt would give other texts, as far as one can know."""
        ...

    def prompt(self, label: str, num: int) -> str:
        """What it is asked."""
        ...

    def write(self, label: str, num: int, *, seed: int) -> list[str]:
        """``num`` sentences. Raises ProviderError for this label, ConfigError for every one."""
        ...


@runtime_checkable
class ImageProvider(Protocol):
    """Pictures of a label."""

    name: str
    model: str
    is_costly: bool
    takes_seed: bool

    @property
    def fingerprint(self) -> str:
        """As of `TextProvider`."""
        ...

    def prompt(self, label: str, index: int) -> str:
        """What it is asked for the picture of that index."""
        ...

    def count(self, label: str, num: int) -> int:
        """How many pictures it can give where ``num`` are wanted. Raises as `draw`."""
        ...

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        """A picture file. Raises ProviderError for this label, ConfigError for every one."""
        ...


def load_text_provider(spec: str, access: Access | None = None) -> TextProvider:
    """The provider of that name. Raises UnknownNameError, ConfigError."""
    kind, where = _parse(spec, "text provider", TEXT_PROVIDERS)
    access = access or Access()
    if kind == "openai":
        from openmoment.priors.openai import OpenAITexts

        return OpenAITexts(where, access)
    if kind == "transformers":
        from openmoment.priors.local import TransformersTexts

        return TransformersTexts(where, device=access.device)
    from openmoment.priors.plain import NoTexts, TemplateTexts

    return NoTexts() if kind == "none" else TemplateTexts()


def load_image_provider(spec: str, access: Access | None = None) -> ImageProvider:
    """The provider of that name. Raises UnknownNameError, ConfigError."""
    kind, where = _parse(spec, "image provider", IMAGE_PROVIDERS)
    access = access or Access()
    if kind == "openai":
        from openmoment.priors.openai import OpenAIImages

        return OpenAIImages(where, access)
    if kind == "diffusers":
        from openmoment.priors.local import DiffusersImages

        return DiffusersImages(where, device=access.device)
    from openmoment.priors.plain import FolderImages, NoImages

    return NoImages() if kind == "none" else FolderImages(where)


def _parse(spec: str, what: str, known: tuple[str, ...]) -> tuple[str, str]:
    """The kind, and what comes after the colon, if that kind takes something."""
    kind, _, where = spec.partition(":")
    forms = {form.partition(":")[0]: form for form in known}
    if kind not in forms:
        raise UnknownNameError(what, spec, list(known))
    if bool(where) != (":" in forms[kind]):
        raise ConfigError(f"{what} {spec!r}: expected {forms[kind]}.")
    return kind, where
