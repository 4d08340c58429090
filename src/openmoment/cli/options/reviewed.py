"""Reviews as the ground truth of openmoment evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING

from openmoment.cli.text.console import say

if TYPE_CHECKING:
    from openmoment.datasets.base import Dataset


def holds_reviews(gt: Path) -> bool:
    """Whether the ground truth is a review, or a folder, which can be nothing else."""
    from openmoment.reviews import is_review

    return gt.is_dir() or (gt.is_file() and is_review(gt))


def load_reviews(gt: Path) -> "Dataset":
    """What people checked, as a dataset; says what nobody did."""
    from openmoment.datasets.base import build_dataset
    from openmoment.datasets.folder import FOLDER, reviewed_records
    from openmoment.reviews import read_reviews, truth

    reviews = read_reviews([gt])
    data = build_dataset(FOLDER, reviewed_records(reviews), sources=tuple(reviews))
    left_out: list[tuple[str, str]] = []
    for review in reviews.values():
        known = set(truth(review).names)
        left_out += [(q.query, review.video) for q in review.queries if q.query not in known]
    if left_out:
        (query, video), videos = left_out[0], {video for _, video in left_out}
        say(
            f"Left out, as nobody checked: {query!r} in {video}"
            + (f" and {len(left_out) - 1} more, in {len(videos)} videos" if left_out[1:] else "")
            + "."
        )
    return data
