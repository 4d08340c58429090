"""The made-up world of action segmentation: videos that are dense sequences of a task's steps.

As in COIN, a video shows one task, its steps mostly in their order, some left out and some done
again, with short stretches of background between them. What a step looks like is what
`world` makes of its name; that the place suggests the task makes its other steps likely too.
"""

from collections.abc import Mapping

import numpy as np

from openmoment.datasets.made_up.world import (
    Footage,
    SyntheticWorld,
    Video,
    draw_lengths,
    spread,
)
from openmoment.types import Annotations

TASKS: Mapping[str, tuple[str, ...]] = {
    "MakeTea": (
        "fill the kettle with water",
        "put a tea bag into the cup",
        "pour hot water over the tea bag",
        "take the tea bag out",
        "stir sugar into the tea",
    ),
    "FryAnEgg": (
        "heat oil in the pan",
        "crack the egg on the rim",
        "turn the egg over",
        "sprinkle salt and pepper",
        "slide the egg onto a plate",
    ),
    "ChangeALightBulb": (
        "switch off the electricity",
        "climb the stepladder",
        "unscrew the old bulb",
        "screw in the new bulb",
        "press the light switch",
    ),
    "RepairABicycleTyre": (
        "take the wheel off the bicycle",
        "pull the inner tube out",
        "rub the rubber with sandpaper",
        "glue the patch on",
        "pump air into the tyre",
    ),
    "IronAShirt": (
        "unfold the ironing board",
        "spray water on the collar",
        "iron the sleeves",
        "button the shirt",
        "hang the shirt in the wardrobe",
    ),
    "PotAPlant": (
        "put gravel into the flower pot",
        "shovel soil into the pot",
        "loosen the roots with the fingers",
        "press the soil down",
        "water the plant with the can",
    ),
    "PaintAWall": (
        "stick tape along the skirting board",
        "open the paint tin with a screwdriver",
        "dip the roller in the tray",
        "roll paint onto the wall",
        "wash the brushes",
    ),
    "WrapAPresent": (
        "cut the wrapping paper with scissors",
        "place the box on the paper",
        "fold the paper around the box",
        "tie a ribbon around the parcel",
        "write a name on the card",
    ),
}
"""Household tasks and their steps, in order."""

STEPS = tuple(sorted(step for steps in TASKS.values() for step in steps))

COIN = Footage(
    name="coin",
    num_train=160,
    num_test=80,
    duration_s=(50.0, 150.0),
    num_instances=(3, 9),
    length_s=9.0,
    length_spread=0.5,
    max_share=0.6,
    num_classes=(1.0,),
)
_MIN_SHARE = 0.41  # of a video that steps fill: COIN's background takes 59 %


class StepWorld(SyntheticWorld):
    """The world of `STEPS`, where `Video.label` is the number of a task."""

    @property
    def num_kinds(self) -> int:
        return len(TASKS)

    def annotate(self, video: Video, rng: np.random.Generator) -> Annotations:
        """A task's steps in the order of time; between them, and around, there is background."""
        footage = self.footage
        duration_s = round(rng.uniform(*footage.duration_s), 3)
        num = int(rng.integers(footage.num_instances[0], footage.num_instances[1] + 1))
        lengths_s = draw_lengths(footage, num, rng)
        lengths_s *= rng.uniform(_MIN_SHARE, footage.max_share) * duration_s / lengths_s.sum()
        steps = list(TASKS.values())[video.label]
        done = np.sort(rng.choice(2 * len(steps), num, replace=False))  # out of two rounds
        labels = np.array([self.names.index(steps[i % len(steps)]) for i in done])
        return Annotations(spread(lengths_s, duration_s, rng), labels, self.names, duration_s)

    def entry(self, video: Video, truth: Annotations) -> dict[str, object]:
        """As in COIN's official file, where a step has a number."""
        rows = [
            {"id": str(label), "segment": segment, "label": truth.names[label]}
            for segment, label in zip(truth.segments.tolist(), truth.labels.tolist(), strict=True)
        ]
        return {"class": list(TASKS)[video.label], "annotation": rows}
