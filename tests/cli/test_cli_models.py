"""openmoment models: the table of backbones, and which to take."""

import json
from pathlib import Path

import pytest
from commands import run

from openmoment.cli.text.ready import RECOMMENDED, advise, list_backbones
from openmoment.encoders import BEST_FIRST, ENCODERS

PULLED = "no weights on this machine. Run: openmoment models pull"


def rows(**missing: str | None) -> list[dict]:
    """Backbones in the order of the table, nothing but the default ready unless it is said."""
    known = {name: f"{name}: {PULLED} {name}" for name in BEST_FIRST} | {"embedded": None} | missing
    facts = {"megabytes": 1507, "licence": "Apache-2.0", "languages": "many"}
    return [
        {"name": name, "missing": known.get(name), **facts} for name in (*BEST_FIRST, "synthetic")
    ]


def test_who_has_the_default_alone_is_told_how_to_get_a_better_one() -> None:
    told = advise(rows())
    assert told.startswith(f"openmoment models pull {RECOMMENDED} (1507 MB, Apache-2.0")
    lacks = "Needs open_clip. Run: pip install 'openmoment[clip,hf]'"
    told = advise(rows(**dict.fromkeys(BEST_FIRST[:-1], lacks)))
    assert told.startswith(
        f"pip install 'openmoment[clip,hf]' && openmoment models pull {RECOMMENDED}"
    )


def test_who_has_a_better_one_is_told_that_it_is_taken() -> None:
    ready: dict[str, str | None] = {"clip-vit-b-32": None, "mobileclip2-s2": None}
    assert advise(rows(**ready)) == "clip-vit-b-32 is ready, and the best here: auto takes it."
    assert advise(rows(**{"mobileclip2-s0": None})).startswith("mobileclip2-s0 is ready")


def test_what_is_recommended_may_be_used_for_anything() -> None:
    facts = ENCODERS[RECOMMENDED].facts
    assert (facts.licence, facts.languages) == ("Apache-2.0", "many")


def test_the_table_is_ordered_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [row["name"] for row in list_backbones()]
    assert tuple(listed[: len(BEST_FIRST)]) == BEST_FIRST
    assert {*listed} == {*ENCODERS}
    monkeypatch.setenv("COLUMNS", "80")
    told = run("models").stdout
    table = told.partition("for features alone")[0].splitlines()
    assert max(map(len, table)) <= 80
    first = next(line for line in table if line.startswith("mobileclip2-s0"))
    assert "300" in first
    assert "apple-amlr" in first
    assert told.splitlines()[-1].startswith("Take: ")
    assert json.loads(run("models", "--json").stdout)["take"] in told.replace("\n", " ")


def test_a_pull_that_is_stopped_says_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(repo: str) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr("openmoment.encoders.weights.hub.pull", stop)
    stopped = run("models", "pull", "pe-core-b-16")
    assert stopped.exit_code == 130
    assert stopped.stderr.splitlines()[-1].endswith("is kept: pull again to go on.")
