"""Files are whole or not there."""

from pathlib import Path

import pytest

from openmoment.errors import OpenMomentError
from openmoment.storage.atomic import atomic_write, leftovers, write_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_appears_at_the_end_and_nothing_else(tmp_path):
    path = tmp_path / "found.json"
    with atomic_write(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        assert leftovers(path) == [temporary]
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["found.json"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("has_written", [True, False])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, error, has_written):
    path = tmp_path / "found.json"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        if has_written:
            temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["found.json"]


def test_a_missing_folder_is_the_users_error_and_is_not_made(tmp_path):
    path = tmp_path / "none" / "found.json"
    with pytest.raises(OpenMomentError, match=r"none does not exist") as caught:
        write_text("", path)
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_folder_in_place_of_the_file_is_the_users_error(tmp_path):
    with pytest.raises(OpenMomentError, match="is a folder"):
        write_text("", tmp_path)


def test_text_keeps_its_line_ends_and_survives_what_utf_8_cannot_hold(tmp_path):
    path = tmp_path / "x.txt"
    write_text("a\r\nb\nç\udc80", path)
    assert path.read_bytes() == b"a\r\nb\n\xc3\xa7\\udc80"
