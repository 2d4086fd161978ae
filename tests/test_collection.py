"""No folder of tests or of the package is left out of collection by its name."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest


def test_every_folder_is_searched(pytestconfig: pytest.Config, project: Path) -> None:
    left_out = pytestconfig.getini("norecursedirs")
    folders = {
        path.parent.relative_to(project)
        for root in ("tests", "probes")
        for path in (project / root).rglob("*.py")
    }
    assert len(folders) > 40
    for folder in folders:
        assert not any(fnmatch(part, name) for part in folder.parts for name in left_out), folder
