"""Does a method read its text? What is left of its score when the words say something else."""

from collections.abc import Sequence

READS = 0.5
"""The share of a score below which what is left counts as lost."""
LOWEST = 0.01
"""The score, as a fraction, below which a share of it is chance: one hit more multiplies it."""
FEWEST_LABELS = 3
"""Two can only be swapped: whatever a method then does, it is one draw."""
FEWEST_SCORED = 10
"""Instances or sentences: below, one hit more is ten points and over."""


def worst_share(own: float, others: Sequence[float]) -> float:
    """The most that any check leaves of the score ``own``, which is above zero."""
    return max(others) / own


def text_verdict(
    own: float,
    others: Sequence[float],
    *,
    num_labels: int | None = None,
    num_scored: int | None = None,
) -> str:
    """One verdict in words on all checks of a run: half the score has to be lost in each.

    ``num_labels`` are what names were exchanged among, ``num_scored`` instances or sentences; None
    where that is not known. Scores are fractions.
    """
    if why := _too_little(own, num_labels, num_scored):
        return f"too little to tell ({why})"
    lost = [worst_share(own, [other]) < READS for other in others]
    if all(lost):
        return "it reads its text"
    return "it reads its text in part" if any(lost) else "it does not seem to read its text"


def _too_little(own: float, num_labels: int | None, num_scored: int | None) -> str:
    """Why there is no verdict; empty where there is one."""
    if num_labels is not None and num_labels < FEWEST_LABELS:
        return f"labels: {num_labels}, it takes {FEWEST_LABELS}"
    if num_scored is not None and num_scored < FEWEST_SCORED:
        return f"instances or sentences: {num_scored}, it takes {FEWEST_SCORED}"
    if own < LOWEST:
        return f"the score itself is below {100 * LOWEST:.0f} %"
    return ""
