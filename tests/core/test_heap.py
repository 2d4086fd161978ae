from __future__ import annotations

import platform
from pathlib import Path

import pytest

from probes.core import heap
from probes.core.heap import give_back_heap


@pytest.fixture(autouse=True)
def forgotten():
    heap._malloc_trim.cache_clear()
    yield
    heap._malloc_trim.cache_clear()


def resident() -> int:
    """Kilobytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_between_what_is_in_use_goes_back() -> None:
    kept = [bytes(40_000) for _ in range(4000)]  # below the size that is mapped for itself
    pin = bytes(40_000)
    before = resident()
    del kept
    give_back_heap()
    assert resident() < before - 100_000
    assert len(pin) == 40_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert heap._malloc_trim() is None
    give_back_heap()
