"""Errors of the file system that a user can mend are one message."""

from __future__ import annotations

from pathlib import Path

import pytest

from probes.cli.messages import describe


def raised_by_mkdir(path: Path) -> OSError:
    with pytest.raises(OSError, match="Errno") as error:
        path.mkdir()
    return error.value


def test_a_name_that_is_too_long_is_not_repeated_whole(tmp_path: Path) -> None:
    said = describe(raised_by_mkdir(tmp_path / ("long" * 100))) or ""
    assert "is too long" in said and "255 bytes" in said
    assert len(said) < 200


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"{path} is in the way" in (describe(raised_by_mkdir(path)) or "")


def test_other_errors_keep_their_traceback(tmp_path: Path) -> None:
    assert describe(raised_by_mkdir(tmp_path / "no" / "such")) is None
