"""Decisions fitted to what people accepted and rejected: a backbone and a method, one footage.

Reviews give marks (`marks_of`), marks a calibration (`fit`) and an honest estimate of what it
changes (`estimate`); a `Fitted` decides what a method ranked.
"""

from openmoment.calibration.estimate import Estimate, estimate
from openmoment.calibration.files import read_calibration, write_calibration
from openmoment.calibration.fit import fit
from openmoment.calibration.fitted import Fitted, Source
from openmoment.calibration.marks import Gathered, Marks, marks_of

__all__ = [
    "Estimate",
    "Fitted",
    "Gathered",
    "Marks",
    "Source",
    "estimate",
    "fit",
    "marks_of",
    "read_calibration",
    "write_calibration",
]
