"""An interrupt that Python drops is said again."""

import signal
import sys
import time
from collections.abc import Iterator

import pytest

from probes.core.interrupts import interrupts_heard


@pytest.fixture(autouse=True)
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


def test_an_interrupt_inside_a_finaliser_arrives_all_the_same() -> None:
    before = sys.unraisablehook
    with pytest.raises(KeyboardInterrupt), interrupts_heard():
        Interrupted()
        for _ in range(200):
            time.sleep(0.01)
    assert sys.unraisablehook is before


def test_other_errors_go_where_they_went(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: seen.append(dropped.exc_type))
    with interrupts_heard():
        Broken()
    assert seen == [ValueError]
