"""Priors of the made-up world: sentences around a name, and pictures of how its class looks."""

import io
from pathlib import Path

from PIL import Image

from openmoment.datasets.base import prompt_name
from openmoment.datasets.made_up.world import SyntheticWorld
from openmoment.encoders.embedded.made_up import Synthetic
from openmoment.priors.files import folder_name, list_images
from openmoment.priors.make import NUM, Maker
from openmoment.priors.plain import TemplateTexts


class MadeUpImages:
    """What the classes of a world look like, drawn for its backbone."""

    name, model, fingerprint = "synthetic", "", ""
    is_costly = takes_seed = False

    def __init__(self, world: SyntheticWorld, encoder: Synthetic) -> None:
        self._world, self._encoder = world, encoder
        self._labels = {prompt_name(name): label for label, name in enumerate(world.names)}

    def prompt(self, label: str, index: int) -> str:
        return label

    def count(self, label: str, num: int) -> int:
        return num

    def draw(self, label: str, index: int, *, seed: int) -> bytes:
        view = self._world.draw_views(self._labels[label], index + 1)[index]
        content = io.BytesIO()
        Image.fromarray(self._encoder.draw(view)).save(content, format="PNG")
        return content.getvalue()


def write_made_up_priors(world: SyntheticWorld, encoder: Synthetic, out: Path) -> None:
    """Sentences and pictures of each class below ``out``; pictures of another world go."""
    labels = [prompt_name(name) for name in world.names]
    for label in labels:
        for picture in list_images(out / folder_name(label)):
            picture.unlink()
    for made in Maker(TemplateTexts(), MadeUpImages(world, encoder), NUM).make(labels, out):
        assert made.status != "failed", made.message
