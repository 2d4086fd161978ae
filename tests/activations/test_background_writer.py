from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from probes.activations import background_writer as module
from probes.activations.background_writer import BackgroundWriter
from probes.activations.layout import LayerInfo
from probes.core.errors import UserError
from probes.passes.progress import Progress


class Recorder:
    """Stands in for a ``CacheWriter``; may be slow or broken."""

    def __init__(self, dtype: str = "float16", error: Exception | None = None) -> None:
        self.dtype, self.error = dtype, error
        self.layers = [LayerInfo("decoder", 0, 2, 3, "layer_000.safetensors")]
        self.manifest = {"site": "heads"}
        self.written: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.saved: list[tuple[Progress, int]] = []
        self.calls: list[int] = []
        """Pieces of each call."""
        self.gate = threading.Event()
        self.gate.set()

    def write(self, index: int, pieces: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.gate.wait()
        if self.error is not None:
            raise self.error
        self.calls.append(len(pieces))
        self.written += [(index, rows, values) for rows, values in pieces]

    def checkpoint(self, progress: Progress) -> None:
        self.gate.wait()
        self.saved.append((progress, len(self.written)))


def stage(writer: Any, capacity: int = 1 << 20) -> BackgroundWriter:
    return BackgroundWriter([writer], capacity)


def rows(count: int) -> tuple[np.ndarray, torch.Tensor]:
    return np.arange(count), torch.randn(count, 2, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_rounds_and_hands_over_raw_numbers(dtype: str) -> None:
    writer = Recorder(dtype)
    where, values = rows(5)
    with stage(writer) as staged:
        staged.put(0, 0, where, values)
    _, got_rows, raw = writer.written[0]
    np.testing.assert_array_equal(got_rows, where)
    stored = torch.from_numpy(raw.view({2: np.int16, 4: np.int32}[raw.itemsize]))
    assert torch.equal(stored.view(getattr(torch, dtype)), values.to(getattr(torch, dtype)))


def test_what_waits_is_bounded() -> None:
    writer = Recorder()
    writer.gate.clear()
    put = []

    def fill(staged: BackgroundWriter) -> None:
        for _ in range(20):
            staged.put(0, 0, *rows(10))  # 120 bytes each
            put.append(1)

    with stage(writer, capacity=500) as staged:
        thread = threading.Thread(target=fill, args=(staged,))
        thread.start()
        time.sleep(0.2)
        assert len(put) == 4
        writer.gate.set()
        thread.join()
        staged.drain()
        assert len(writer.written) == 20


def test_one_tensor_above_the_bound_still_passes() -> None:
    writer = Recorder()
    with stage(writer, capacity=1) as staged:
        for _ in range(3):
            staged.put(0, 0, *rows(10))
    assert len(writer.written) == 3


def test_an_error_of_the_thread_reaches_the_caller_and_nobody_hangs() -> None:
    writer = Recorder(error=OSError("disk on fire"))
    with pytest.raises(OSError, match="disk on fire"), stage(writer, capacity=200) as staged:
        for _ in range(50):
            staged.put(0, 0, *rows(10))
    assert not writer.written


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
def test_values_that_are_not_finite_are_counted_and_refused(dtype: str, bad: float) -> None:
    writer = Recorder(dtype)
    where, values = rows(5)
    values[1, 0, 2] = values[3, 1, 1] = bad
    with (
        pytest.raises(UserError, match="decoder layer 0: 2 of 30 values") as error,
        stage(writer) as staged,
    ):
        staged.put(0, 0, where, values)
    overflow = dtype == "float16" and bad == bad
    assert ("extraction.dtype=auto" if overflow else "model.dtype=float32") in error.value.fix
    assert not writer.written


def test_the_largest_values_pass() -> None:
    writer = Recorder()
    values = torch.tensor([65504.0, -65504.0, 6e-8, 0.0, -0.0, 1.0]).view(1, 2, 3)
    with stage(writer) as staged:
        staged.put(0, 0, np.arange(1), values)
    assert len(writer.written) == 1


def test_a_mark_saves_what_came_before_it() -> None:
    writer = Recorder()
    with stage(writer) as staged:
        for _ in range(3):
            staged.put(0, 0, *rows(2))
        staged.mark(Progress(3, 6))
        staged.drain()
    assert writer.saved == [(Progress(3, 6), 3)]


def test_what_is_held_of_a_layer_is_written_together() -> None:
    writer = Recorder()
    with stage(writer, capacity=720) as staged:
        for _ in range(4):
            staged.put(0, 0, *rows(10))  # 120 bytes each: the third fills half of what may wait
        staged.drain()
        assert writer.calls == [3, 1]


def test_a_tensor_that_what_is_held_leaves_no_room_for_still_passes() -> None:
    writer = Recorder()
    put = threading.Event()

    def fill(staged: BackgroundWriter) -> None:
        staged.put(0, 0, *rows(2))  # held, for it is less than half
        staged.put(0, 0, *rows(15))
        put.set()

    with stage(writer, capacity=200) as staged:
        threading.Thread(target=fill, args=(staged,), daemon=True).start()
        assert put.wait(5)
    assert [len(rows) for _, rows, _ in writer.written] == [2, 15]


def test_after_an_error_nobody_waits_for_room() -> None:
    writer = Recorder()
    where, values = rows(10)
    values[0, 0, 0] = float("nan")
    done = threading.Event()

    def fill(staged: BackgroundWriter) -> None:
        with pytest.raises(UserError, match="not finite"):
            for _ in range(50):
                staged.put(0, 0, where, values)
        done.set()

    with pytest.raises(UserError, match="not finite"), stage(writer, capacity=500) as staged:
        threading.Thread(target=fill, args=(staged,), daemon=True).start()
        assert done.wait(5)
    assert not writer.written


def test_computing_goes_on_while_the_disk_is_busy() -> None:
    slow = Recorder()
    busy = threading.Event()
    released = threading.Event()

    def checkpoint(progress: Progress) -> None:
        busy.set()
        released.wait()
        slow.saved.append((progress, len(slow.written)))

    slow.checkpoint = checkpoint  # type: ignore[method-assign]
    with stage(slow) as staged:
        staged.mark(Progress(1, 1))
        busy.wait()
        staged.put(0, 0, *rows(2))
        staged.mark(Progress(2, 2))  # left out: the first is not done
        staged.put(0, 0, *rows(2))  # once these rows are written, the mark before them was read
        staged.drain()
        assert len(slow.written) == 2 and not slow.saved
        released.set()
    assert [progress.sequences for progress, _ in slow.saved] == [1]


def test_a_failed_checkpoint_ends_the_run() -> None:
    class FullDisk(Recorder):
        def checkpoint(self, progress: Progress) -> None:
            raise UserError("disk full")

    writer = FullDisk()
    with pytest.raises(UserError, match="disk full"), stage(writer) as staged:
        staged.mark(Progress(1, 1))


def test_freed_memory_is_returned_as_often_as_rows_fill_what_may_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Holes of the heap would grow with the rows; small writes do not pay for it."""
    returned: list[int] = []
    monkeypatch.setattr(module, "return_freed_memory", lambda: returned.append(1))
    where, values = rows(10)  # 120 bytes each as they are stored
    with stage(Recorder(), capacity=480) as staged:
        for _ in range(8):
            staged.put(0, 0, where, values)
        staged.put(0, 0, *rows(1))
        staged.drain()
    assert len(returned) == 4
