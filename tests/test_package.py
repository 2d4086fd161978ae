"""The names that ``probes`` itself gives to analysis code."""

from __future__ import annotations

import subprocess
import sys

import pytest

import probes


@pytest.mark.parametrize("name", sorted(set(probes.__all__) - {"__version__"}))
def test_public_names_are_shown_and_importable(name: str) -> None:
    assert name in dir(probes)
    assert getattr(probes, name).__name__ == name


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'load_runs'"):
        _ = probes.load_runs


def test_the_package_alone_imports_nothing_heavy() -> None:
    code = "import sys, probes; print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
