"""What of a question is looked for, and what is said of the rest."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from openmoment.questions.wording import notes_of, remarks
from openmoment.types import Detections


@dataclass(frozen=True)
class Heard:
    """Queries as they were asked, those that are not looked for among them."""

    names: tuple[str, ...]
    not_understood: Mapping[str, str]
    """Why a query is not looked for, and what to do."""
    notes: tuple[str, ...]

    @property
    def understood(self) -> tuple[str, ...]:
        """Those to look for."""
        return tuple(name for name in self.names if name not in self.not_understood)

    def whole(self, found: Detections) -> Detections:
        """The answer to those that were looked for, as the answer to all of them."""
        if not self.not_understood:
            return replace(found, notes=(*found.notes, *self.notes))
        rows = np.array([self.names.index(name) for name in found.names], dtype=np.int64)
        presence = np.zeros(len(self.names))
        presence[rows] = found.presence
        origin = found.origin
        if origin is not None and origin.curves is not None:
            curves = np.zeros((len(self.names), origin.curves.shape[1]), origin.curves.dtype)
            curves[rows] = origin.curves
            origin = replace(origin, curves=curves)
        return replace(
            found,
            labels=rows[found.labels],
            names=self.names,
            presence=presence,
            origin=origin,
            not_understood=self.not_understood,
            notes=(*found.notes, *self.notes),
        )


def hear(names: Sequence[str], *, reads_english_alone: bool, shown: Collection[str] = ()) -> Heard:
    """Queries, judged by their words; what there are examples of, ``shown``, is taken as it is."""
    said = [
        remark
        for name in names
        if name not in shown
        for remark in remarks(name, reads_english_alone=reads_english_alone)
    ]
    why = {remark.query: remark.why for remark in said if remark.is_refused}
    return Heard(tuple(names), why, notes_of(said))
