from __future__ import annotations

import os
import platform
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from probes.core import process
from probes.core.process import redeliver_lost_interrupts, return_freed_memory


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    process._malloc_trim.cache_clear()
    yield
    process._malloc_trim.cache_clear()


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
    return_freed_memory()
    assert resident() < before - 100_000
    assert len(pin) == 40_000


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert process._malloc_trim() is None
    return_freed_memory()


@pytest.fixture
def listening() -> Iterator[None]:
    """Tests that a shell runs in the background are deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted:
    """Is interrupted while it is collected."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)


class Broken:
    def __del__(self) -> None:
        raise ValueError("while collected")


def test_an_interrupt_inside_a_finaliser_arrives_all_the_same(listening: None) -> None:
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), redeliver_lost_interrupts():
        Interrupted()
        for _ in range(200):
            time.sleep(0.01)
    assert sys.unraisablehook is before


def test_other_errors_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))
    with redeliver_lost_interrupts():
        Broken()
    assert seen == [ValueError]


@pytest.mark.parametrize("own", [{}, {"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "7"}])
def test_threads_spin_shortly_unless_the_user_set_how_they_wait(
    monkeypatch: pytest.MonkeyPatch, own: dict[str, str]
) -> None:
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back after the test
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    with process.heavy_imports():
        pass
    expected = own.get("GOMP_SPINCOUNT", None if own else process.SPINS)
    assert os.environ.get("GOMP_SPINCOUNT") == expected
