"""Columns on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.passes.disk_columns import DiskColumns


def test_columns_come_back_and_leave_no_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pieces = [rng.integers(-5, 2**31 - 1, size=n) for n in (3000, 0, 1, 40_000)]
    spool = DiskColumns(tmp_path, ["one", "other", "none"])
    for piece in pieces:
        spool.append("one", piece)
        spool.append("other", piece[::-2])  # not contiguous
    columns = spool.finish()
    assert not list(tmp_path.iterdir())
    for _ in range(2):  # also after their memory was given back
        np.testing.assert_array_equal(columns["one"], np.concatenate(pieces))
        np.testing.assert_array_equal(columns["other"], np.concatenate([p[::-2] for p in pieces]))
        assert columns["none"].size == 0
        spool.release()
    with pytest.raises(ValueError, match="read-only"):
        columns["one"][0] = 1
    with pytest.raises(ValueError, match="closed"):
        spool.append("one", pieces[0])


def resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssFile")).split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_what_was_read_does_not_stay_in_memory(tmp_path: Path) -> None:
    spool = DiskColumns(tmp_path, ["column"])
    spool.append("column", np.arange(8 << 20))  # 32 MB
    column = spool.finish()["column"]
    before = resident_kb()
    assert int(column.sum()) == (8 << 20) * ((8 << 20) - 1) // 2
    read = resident_kb()
    spool.release()
    assert read - before > 30_000
    assert resident_kb() - before < 2_000
