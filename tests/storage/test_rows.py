"""Rows on disk: the same numbers, in blocks, without taking memory that grows with their number."""

import numpy as np
import pytest

from openmoment.storage import rows
from openmoment.storage.rows import RowSpool, blocks, map_rows, mean_row, over_blocks


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "_BLOCK_BYTES", 64)


def test_a_spool_gives_back_what_it_was_given() -> None:
    parts = [np.random.default_rng(i).random((i + 1, 5), dtype=np.float32) for i in range(9)]
    spool = RowSpool()
    for part in parts:
        spool.append(part)
    found = spool.to_array()
    np.testing.assert_array_equal(found, np.concatenate(parts))
    np.testing.assert_array_equal(np.concatenate(list(blocks(found))), np.concatenate(parts))
    np.testing.assert_array_equal(found, np.concatenate(parts))  # still there after letting go
    with pytest.raises(ValueError, match="closed"):
        spool.append(parts[0])


def test_an_empty_spool_has_no_array() -> None:
    with pytest.raises(ValueError):
        RowSpool().to_array()


def test_blocks_cover_arrays_in_memory_and_on_disk(tmp_path) -> None:
    whole = np.random.default_rng(0).random((33, 3), dtype=np.float32)
    (tmp_path / "rows").write_bytes(b"12345678" + whole.tobytes())
    mapped = map_rows(tmp_path / "rows", offset=8, shape=whole.shape)
    for array in (whole, mapped):
        assert len(list(blocks(array))) > 3
        np.testing.assert_array_equal(np.concatenate(list(blocks(array))), whole)
        np.testing.assert_allclose(mean_row(array), whole.astype(np.float64).mean(axis=0))
    assert list(blocks(whole[:0])) == []


def test_a_function_over_blocks_is_the_function() -> None:
    whole = np.random.default_rng(0).random((33, 3), dtype=np.float32)
    texts = np.random.default_rng(1).random((4, 3), dtype=np.float32)
    product = over_blocks(lambda r, t: t @ r.T, whole, texts)
    np.testing.assert_allclose(product, texts @ whole.T, rtol=1e-6)
