"""How much, how often, in what order, and do two people see the same: docs/behaviour.md."""

from openmoment.behaviour.agreement import Agreement, agreement_of
from openmoment.behaviour.bouts import Bouts, bouts_of
from openmoment.behaviour.statistics import Statistics, statistics_of

__all__ = [
    "Agreement",
    "Bouts",
    "Statistics",
    "agreement_of",
    "bouts_of",
    "statistics_of",
]
