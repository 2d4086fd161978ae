"""A disk that is too small for the results is found before the model runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import SafetensorError

from probes.cli.messages import describe
from probes.core.errors import UserError
from probes.pipeline import disk_space
from probes.pipeline.disk_space import check_space


def test_a_full_disk_is_refused_with_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_space(tmp_path / "new" / "run")
    monkeypatch.setattr(disk_space, "free_bytes", lambda directory: 5_000_000)
    check_space(tmp_path, probes=3_000_000)
    with pytest.raises(UserError, match=r"need about 51.0 MB, and the disk has 5.0 MB free"):
        check_space(tmp_path, probes=50_000_000)
    monkeypatch.setattr(disk_space, "free_bytes", lambda directory: 40_000)
    with pytest.raises(UserError, match=r"Try hydra.run.dir=DIRECTORY_ON_A_LARGER_DISK"):
        check_space(tmp_path)


def test_a_disk_that_fills_up_while_probes_are_saved_is_one_message() -> None:
    error = SafetensorError("Error while serializing: I/O error: No space left (os error 28)")
    assert "the disk is full" in (describe(error) or "")
    assert describe(SafetensorError("header too large")) is None
