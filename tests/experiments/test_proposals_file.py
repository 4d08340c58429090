"""Files of proposals that others made."""

import json
from pathlib import Path

import pytest

from openmoment.errors import FormatError
from openmoment.experiments.kept import read_predictions
from openmoment.experiments.proposals import read_proposals
from openmoment.export import FORMATS


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def of(*rows: dict) -> dict:
    return {"version": "1.3", "results": {"v_one": list(rows)}, "external_data": {}}


ROW = {"segment": [1.0, 2.5], "score": 0.25}


def test_the_proposal_tasks_file_is_read(tmp_path: Path) -> None:
    rows = (ROW, {"segment": [-0.5, 4], "score": 1, "label": "x"}, {"segment": [3, 3], "score": 0})
    found = read_proposals(write(tmp_path / "a.json", of(*rows) | {"more": 1}))
    assert found.of("one").segments.tolist() == [[1.0, 2.5], [0.0, 4.0]]
    assert found.of("v_one").scores.tolist() == [0.25, 1.0]
    with pytest.raises(FormatError, match="a.json: holds no video 'two'. Compare the ids"):
        found.of("two")
    none = read_proposals(write(tmp_path / "b.json", of()))
    assert none.of("one").segments.shape == (0, 2)


@pytest.mark.parametrize("form", ["activitynet", "csv"])
def test_detections_are_proposals_without_their_labels(tmp_path: Path, form: str) -> None:
    rows = ({**ROW, "label": "a"}, {"segment": [0, 9.0], "score": 0.5, "label": "b"})
    source = write(tmp_path / "a.json", of(*rows))
    path = tmp_path / ("b.csv" if form == "csv" else "b.json")
    FORMATS[form].write(dict(read_predictions(source)), path)
    (found,) = read_proposals(path).videos.values()
    assert sorted(map(tuple, found.segments.tolist())) == [(0.0, 9.0), (1.0, 2.5)]
    assert sorted(found.scores.tolist()) == [0.25, 0.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [({"results": []}, "results: expected an object"),
     (of({"score": 1}), r"results\['v_one'\]\[0\]: field 'segment' is missing"),
     (of({"segment": [1], "score": 1}), r"expected \[start, end\] in seconds"),
     (of({"segment": [1, "x"], "score": 1}), "segment: expected a number"),
     (of({"segment": [2, 1], "score": 1}), "end_s 1 lies before"),
     (of({"segment": [1, 2]}), "field 'score' is missing"),
     (of({"segment": [1, 2], "score": 7}), r"scores from 7 to 7.*scale them to \[0, 1\]"),
     ([], "expected an object")],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path / "a.json", content)
    with pytest.raises(FormatError, match=message) as caught:
        read_proposals(path)
    assert str(caught.value).startswith(str(path))
