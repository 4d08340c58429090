"""Names to objects, tables to settings."""

import sys
from dataclasses import dataclass
from typing import Literal

import pytest

from openmoment.config import from_table, parse_assignments, to_table
from openmoment.errors import ConfigError, MissingExtraError, UnknownNameError
from openmoment.extras import require
from openmoment.registry import LazyTable

TABLE: LazyTable[object] = LazyTable("sort", {"json": "json:dumps", "broken": "no_such_module:x"})


@dataclass(frozen=True)
class Config:
    rate: float = 1.0
    count: int = 2
    scales: tuple[float, ...] = (1.0, 2.0)
    is_on: bool = True
    kind: Literal["a", "b"] = "a"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("rate must not be negative")


def test_text_becomes_what_the_field_is() -> None:
    table = {
        "rate": "2",
        "count": "3",
        "scales": "1,2.5",
        "is_on": "false",
        "kind": "b",
        "limit": "7",
    }
    expected = Config(2.0, 3, (1.0, 2.5), is_on=False, kind="b", limit=7)
    assert from_table(Config, table, where="here") == expected
    assert from_table(Config, to_table(expected), where="here") == expected
    assert from_table(Config, {"limit": "none"}, where="here").limit is None


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"rat": 1}, "here: Unknown setting 'rat'. Did you mean 'rate'"),
        ({"rate": "fast"}, "setting 'rate': expected float, got 'fast'"),
        ({"count": 1.5}, "setting 'count': expected int, got 1.5"),
        ({"count": True}, "setting 'count': expected int, got True"),
        ({"is_on": "maybe"}, "setting 'is_on': expected true or false, got 'maybe'"),
        ({"kind": "c"}, "'c' is not one of 'a', 'b'"),
        ({"scales": 3}, "expected a list, got 3"),
        ({"rate": -1}, "here: rate must not be negative"),
    ],
)
def test_what_does_not_fit_is_named(table: dict, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(Config, table, where="here")
    assert message in str(caught.value)


def test_assignments() -> None:
    assert parse_assignments(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}
    for bad in ("a", "=1"):
        with pytest.raises(ConfigError, match="NAME=VALUE"):
            parse_assignments([bad])


def test_a_table_lists_without_importing_and_imports_when_asked() -> None:
    import json

    assert list(TABLE) == ["json", "broken"]
    assert "broken" in TABLE
    assert "no_such_module" not in sys.modules
    assert TABLE["json"] is json.dumps
    with pytest.raises(UnknownNameError, match="Unknown sort 'jsn'. Did you mean 'json'"):
        _ = TABLE["jsn"]
    assert TABLE.get("nothing") is None


def test_a_table_that_is_empty_says_so() -> None:
    assert str(UnknownNameError("preset", "nope", [])) == "Unknown preset 'nope'. There are none."


def test_an_extra_that_is_missing_is_named_with_the_cure() -> None:
    assert require("json", extra="plot") is sys.modules["json"]
    cure = r"needs 'no_such_module'. Run: pip install 'openmoment\[plot\]'"
    with pytest.raises(MissingExtraError, match=cure):
        require("no_such_module.part", extra="plot")
