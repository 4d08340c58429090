"""The made-up world of moment retrieval: sentences of two phases, and moments that look like them.

"a person opens the fridge, then pours milk" is a moment that looks first like its first phrase,
then like its second: what a phrase looks like is what `world` makes of what it means. Other
moments of the same video tell apart who reads the sentence from who reads its words: the same two
phrases in reverse order, one of them alone, another pair; no sentence describes those.

The sentences of the subset ``train`` are pairs of known phrases. Those of the test subset are
other pairs of them, in neither order ever trained on; those of ``new_phrases`` have a phrase that
no training video shows, in word or picture.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np

from openmoment.datasets.made_up.world import (
    Footage,
    SyntheticWorld,
    Video,
    World,
    draw_lengths,
    generator,
    spread,
)
from openmoment.types import Annotations

TRAIN, NEW_PHRASES = "train", "new_phrases"
"""Subsets; any other is the test subset."""

PHRASES = tuple(
    line.strip()
    for line in """
    opens the fridge, pours milk, washes the dishes, cuts bread, sweeps the floor, reads a book
    puts on a jacket, takes off the shoes, drinks coffee, eats a sandwich, plays the guitar
    writes a letter, looks out of the window, closes the door, turns on the lamp, folds a blanket
    waters the plants, feeds the cat, brushes the teeth, combs the hair, takes a photograph
    talks on the phone, types on a laptop, watches television, climbs the stairs, hangs a picture
    irons a shirt, throws a ball, lifts a box, packs a suitcase, blows out a candle
    peels an orange, stirs the soup, wipes the table, vacuums the carpet, makes the bed
    lies down on the sofa, knocks on the wall, paints a fence, hammers a nail, dances alone
    juggles with apples, does push-ups, sneezes, laughs loudly, plays with the dog
    pays with a coin, rolls out dough, grates cheese, shuffles cards, ties a scarf
    polishes the mirror, sharpens a pencil, unlocks a bicycle, lights the stove, waves goodbye
    tunes the radio, sews on a button, chops wood, rakes the leaves, shovels snow
    changes a battery, weighs flour, winds up a clock
    """.replace("\n", ",").split(",")
    if line.strip()
)
_WORDINGS = (
    "a person {}, then {}",
    "someone {} and then {}",
    "first a person {}, after that the person {}",
)
_NEW_SHARE = 0.25  # of the phrases, which no training video shows
_TEST_SHARE = 0.3  # of the pairs of the others, which no training sentence has
_BESIDE = 0.5  # how likely a moment has each kind of undescribed one beside it
_FIRST_SHARE = (0.35, 0.65)  # of a moment that its first phase takes

CHARADES_STA = Footage(
    name="charades-sta",
    num_train=400,
    num_test=100,
    duration_s=(30.0, 60.0),
    num_instances=(1, 3),
    length_s=7.0,
    length_spread=0.4,
    max_share=0.75,
    num_classes=(1.0,),
)
ACTIVITYNET_CAPTIONS = Footage(
    name="activitynet-captions",
    num_train=400,
    num_test=100,
    duration_s=(60.0, 180.0),
    num_instances=(2, 4),
    length_s=18.0,
    length_spread=0.5,
    max_share=0.75,
    num_classes=(1.0,),
)
"""``num_instances`` are the described moments of a video."""
SETTINGS = World(context=1.5, distractors=0.2)
"""A video shows many phrases, which share its context; the undescribed moments distract."""


class Told(NamedTuple):
    """A moment: one phrase, or two, and the sentence that describes it, if one does."""

    phrases: tuple[int, ...]
    edges_s: list[float]
    """Of its phases."""
    sentence: str


class SentenceWorld(SyntheticWorld):
    """The world of `PHRASES`; a video's label says which pair it surely describes."""

    @cached_property
    def pools(self) -> Mapping[str, list[tuple[int, int]]]:
        """The ordered pairs of phrases that the subsets describe; "test" for the test subset."""
        rng = generator(self.seed, "pairs")
        num = len(self.names)
        is_new = np.zeros(num, dtype=bool)
        is_new[rng.permutation(num)[: max(1, round(_NEW_SHARE * num))]] = True
        pools: dict[str, list[tuple[int, int]]] = {TRAIN: [], "test": [], NEW_PHRASES: []}
        for a, b in combinations(range(num), 2):
            is_tested = rng.random() < _TEST_SHARE
            name = "test" if is_tested else TRAIN
            pools[NEW_PHRASES if is_new[a] or is_new[b] else name] += [(a, b), (b, a)]
        for pool in pools.values():
            rng.shuffle(pool)
        return pools

    def videos(self, subset: str, number: int) -> list[Video]:
        """The pairs of the subset in turn; a longer list begins with the shorter one."""
        pool = self.pools.get(subset, self.pools["test"])
        pairs = [pool[i % len(pool)] for i in range(number)]
        return [
            Video(f"synthetic_{subset}_{i:05d}", a * len(self.names) + b)
            for i, (a, b) in enumerate(pairs)
        ]

    def annotate(self, video: Video, rng: np.random.Generator) -> Annotations:
        """What the video shows: every phase of every moment, in the order of time."""
        duration_s, moments = self.story(video)
        segments, labels = [], []
        for moment in moments:
            segments += pairwise(moment.edges_s)
            labels += moment.phrases
        return Annotations(np.array(segments), np.array(labels), self.names, duration_s)

    def entry(self, video: Video, truth: Annotations) -> dict[str, object]:
        """The described moments, each under its sentence."""
        _, moments = self.story(video)
        rows = [
            {"segment": [moment.edges_s[0], moment.edges_s[-1]], "label": moment.sentence}
            for moment in moments
            if moment.sentence
        ]
        return {"annotations": rows}

    def story(self, video: Video) -> tuple[float, list[Told]]:
        """How long the video is, and its moments in the order of time."""
        rng, footage = generator(self.seed, f"{video.id}/story"), self.footage
        duration_s = round(rng.uniform(*footage.duration_s), 3)
        described = self._choose_pairs(video, rng)
        told = [(pair, rng.choice(_WORDINGS)) for pair in described]
        beside = [phrases for pair in described for phrases in self._beside(pair, rng)]
        shown = [(phrases, "") for phrases in beside if phrases not in described]
        events = [*told, *shown]
        events = [events[i] for i in rng.permutation(len(events))]
        lengths_s = draw_lengths(footage, len(events), rng)
        lengths_s *= [len(phrases) / 2 for phrases, _ in events]
        lengths_s *= min(1.0, footage.max_share * duration_s / lengths_s.sum())
        return duration_s, [
            Told(phrases, self._edges(segment, phrases, rng), self._say(phrases, wording))
            for (phrases, wording), segment in zip(
                events, spread(lengths_s, duration_s, rng).tolist(), strict=True
            )
        ]

    def _edges(
        self, segment: list[float], phrases: tuple[int, ...], rng: np.random.Generator
    ) -> list[float]:
        start_s, end_s = segment
        turn_s = round(start_s + rng.uniform(*_FIRST_SHARE) * (end_s - start_s), 3)
        return [start_s, turn_s, end_s] if len(phrases) > 1 else segment

    def _choose_pairs(self, video: Video, rng: np.random.Generator) -> list[tuple[int, int]]:
        """The pairs that sentences describe, no two of the same phrases."""
        first = divmod(video.label, len(self.names))
        pool = self._pool_of(first)
        low, high = self.footage.num_instances
        chosen = {frozenset(first): first}
        for i in rng.permutation(len(pool)).tolist():
            if len(chosen) == high:
                break
            chosen.setdefault(frozenset(pool[i]), pool[i])
        return list(chosen.values())[: int(rng.integers(low, high + 1))]

    def _beside(self, pair: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
        """Moments that no sentence describes: each kind is there, or not."""
        pool = self._pool_of(pair)
        kinds = (pair[::-1], (pair[int(rng.integers(2))],), pool[int(rng.integers(len(pool)))])
        yield from (phrases for phrases in kinds if rng.random() < _BESIDE)

    def _pool_of(self, pair: tuple[int, int]) -> list[tuple[int, int]]:
        return next(pool for pool in self.pools.values() if pair in pool)

    def _say(self, phrases: tuple[int, ...], wording: str) -> str:
        return wording.format(*(self.names[i] for i in phrases)) if wording else ""
