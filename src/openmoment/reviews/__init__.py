"""What people say of predictions: accepted, rejected, moved, added, and who said so when.

A review is one video's `openmoment-review/1` document (docs/review.md). It is a value: every
change gives a new one, whose log has grown.
"""

from openmoment.reviews.asked import MIN_TIOU, add_predictions, last_predicted
from openmoment.reviews.document import (
    SCHEMA,
    Change,
    MadeBy,
    Predicted,
    Review,
    ReviewedQuery,
    ReviewedSegment,
    Status,
)
from openmoment.reviews.edit import Edit, read_edit, revise
from openmoment.reviews.files import (
    from_dict,
    is_review,
    read_review,
    read_reviews,
    to_dict,
    write_review,
)
from openmoment.reviews.found import occurs, to_detections, truth
from openmoment.reviews.imported import add_detections

__all__ = [
    "MIN_TIOU",
    "SCHEMA",
    "Change",
    "Edit",
    "MadeBy",
    "Predicted",
    "Review",
    "ReviewedQuery",
    "ReviewedSegment",
    "Status",
    "add_detections",
    "add_predictions",
    "from_dict",
    "is_review",
    "last_predicted",
    "occurs",
    "read_edit",
    "read_review",
    "read_reviews",
    "revise",
    "to_detections",
    "to_dict",
    "truth",
    "write_review",
]
