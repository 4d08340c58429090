"""From marks to maps and a cut.

The maps are Platt's (Advances in Large Margin Classifiers, 1999), logistic regressions on the
logit of a score, with an offset for each query: most of what is off in zero-shot scores is off
by query. Gaussian priors hold slope and offset near the map that changes nothing, and a query's
own offset near 0, so that few marks move them little. The cut comes from the fitted probabilities
rather than from counting, as counts of few marks jump.

Axes: n marks, k queries, c columns.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray as Array

from openmoment.calibration.fitted import Fitted, ScoreMap, Source, to_evidence
from openmoment.calibration.marks import Marks
from openmoment.errors import ConfigError
from openmoment.methods import METHODS

MIN_MARKS = 20
"""With ten, decisions on real clips became worse."""
MIN_ASKED = 10
"""Queries of which it is known whether they occur, for a map of presence."""
SPREAD = 2.0
"""Standard deviation of the prior on slope and offset, around 1 and 0."""
SPREAD_OF_QUERIES = 1.0
"""That of a query's own offset, in logits."""
MIN_SLOPE = 0.05
"""A higher score is never less likely right, whatever a few marks say."""
_DIGITS = 6


def fit(source: Source, marks: Marks, *, precision: float | None = None) -> Fitted:
    """The calibration of marks: the cut that promises the highest F1.

    With ``precision`` the lowest cut above which so many are expected to be right. Raises
    ConfigError for fewer marks than `MIN_MARKS`, for marks of one kind only, and for a precision
    that no cut promises.
    """
    check_precision(precision)
    if len(marks) < MIN_MARKS or not marks.has_both:
        raise ConfigError(
            f"Calibrating takes {MIN_MARKS} marks or more, some right and some wrong; there are "
            f"{marks.num_right} right and {len(marks) - marks.num_right} wrong. Accept and reject "
            "more."
        )
    fitted = fit_any(source, marks, precision=precision)
    likely = fitted.score.apply(marks.scores, marks.queries, marks.names)[marks.is_marked]
    if precision is not None and likely.max() < precision:
        raise ConfigError(
            f"--precision: after these marks no moment is as likely right as {precision:g}; the "
            f"surest has {likely.max():.2f}. Ask for less, or mark more."
        )
    return fitted


def check_precision(precision: float | None) -> None:
    """Raises ConfigError for what is no share."""
    if precision is not None and not 0 < precision <= 1:
        raise ConfigError(f"--precision: expected above 0 and up to 1, got {precision:g}.")


def fit_any(source: Source, marks: Marks, *, precision: float | None = None) -> Fitted:
    """The calibration of marks of both kinds, however few."""
    marked, checked = marks.marked, marks.checked
    score = fit_map(marked.scores, marked.is_right, marked.queries, marks.names)
    tells = len(checked) >= MIN_MARKS and checked.has_both
    counted = checked if tells else marked
    likely = score.apply(counted.scores, counted.queries, marks.names)
    cut = _best_cut(likely, int(marks.num_missed.sum()), precision)
    # marks of what was shown say nothing of what was not
    floor = 0.0 if tells else _own_cut(source, score)
    return Fitted(source, score, max(cut, floor), _presence_map(marks))


def _own_cut(source: Source, score: ScoreMap) -> float:
    """The probability of the lowest score that the method itself shows."""
    method = METHODS[source.method]
    how = method.traits_of(method.Config()).decision
    own = max(how.min_score, how.min_fit * how.sure)
    none = np.zeros(1, dtype=np.int64)
    return round(float(score.apply(np.array([own]), none, ("",))[0]), _DIGITS)


def fit_map(
    scores: Float[Array, " n"],
    truth: Bool[Array, " n"],
    labels: Int[Array, " n"],
    names: tuple[str, ...],
) -> ScoreMap:
    """The rising map from scores to probabilities that fits the truth."""
    evidence = to_evidence(scores)
    own = np.eye(len(names))[labels]
    columns = np.concatenate([evidence[:, None], np.ones((len(own), 1)), own], axis=1)
    centre = np.array([1.0] + [0.0] * (1 + len(names)))
    spread = np.array([SPREAD] * 2 + [SPREAD_OF_QUERIES] * len(names))
    weights = _newton(columns, np.zeros_like(evidence), truth, centre, spread)
    if weights[0] < MIN_SLOPE:
        rest = _newton(columns[:, 1:], MIN_SLOPE * evidence, truth, centre[1:], spread[1:])
        weights = np.array([MIN_SLOPE, *rest])
    slope, offset, *offsets = weights.tolist()
    marked = set(labels.tolist())
    middles = {
        name: round(-(offset + offsets[i]) / slope, _DIGITS)
        for i, name in enumerate(names)
        if i in marked
    }
    return ScoreMap(round(slope, _DIGITS), round(-offset / slope, _DIGITS), middles)


def _newton(
    columns: Float[Array, "n c"],
    given: Float[Array, " n"],
    truth: Bool[Array, " n"],
    centre: Float[Array, " c"],
    spread: Float[Array, " c"],
) -> Float[Array, " c"]:
    """The weights of a logistic regression, beside what is given, with a Gaussian prior."""
    weights, hold = centre, 1 / np.square(spread)
    for _ in range(100):
        likely = 1 / (1 + np.exp(-(columns @ weights + given)))
        slope = columns.T @ (likely - truth) + hold * (weights - centre)
        curvature = (columns * (likely * (1 - likely))[:, None]).T @ columns + np.diag(hold)
        step = np.linalg.solve(curvature, slope)
        largest = np.abs(step).max()
        # where the curve is flat, far from the optimum, a whole step would overshoot
        weights = weights - step / max(1.0, largest)
        if largest < 1e-9:
            break
    return weights


def _presence_map(marks: Marks) -> ScoreMap | None:
    known = marks.asked_known
    occurs = marks.asked_occurs[known]
    if len(occurs) < MIN_ASKED or occurs.all() or not occurs.any():
        return None
    return fit_map(marks.asked_presence[known], occurs, marks.asked_queries[known], marks.names)


def _best_cut(likely: Float[Array, " n"], num_missed: int, precision: float | None) -> float:
    """The probability from which on to keep; between two marks it lies in the middle."""
    ranked = -np.sort(-likely)
    num_right = np.cumsum(ranked)
    num_kept = np.arange(1, len(ranked) + 1)
    if precision is None:
        last = int(np.argmax(num_right / (num_kept + num_right[-1] + num_missed)))
    else:
        # the mean of what is kept falls with every one more
        last = max(int(np.sum(num_right / num_kept >= precision)) - 1, 0)
    below = ranked[last + 1] if last + 1 < len(ranked) else ranked[last]
    return round(float(ranked[last] + below) / 2, _DIGITS)
