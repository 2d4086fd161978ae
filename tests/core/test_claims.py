"""Directories that one process writes: made exclusively, locked while it lives."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path

import pytest

from probes.core.claims import LOCK, InUse, fresh_directory, held, holder, making_directories

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def making() -> Iterator[None]:
    token = making_directories.set(True)
    yield
    making_directories.reset(token)


def make(name: str, barrier: Barrier, made: Queue[str]) -> None:
    making_directories.set(True)
    barrier.wait()
    made.put(fresh_directory(name))


@pytest.mark.parametrize("repetition", range(5))
def test_processes_that_begin_in_the_same_moment_get_directories_of_their_own(
    tmp_path: Path, repetition: int
) -> None:
    barrier, made = FORK.Barrier(4), FORK.Queue()
    name = str(tmp_path / "2026-11-20" / "10-00-00")
    processes = [FORK.Process(target=make, args=(name, barrier, made)) for _ in range(4)]
    for process in processes:
        process.start()
    names = sorted(made.get(timeout=30) for _ in processes)
    for process in processes:
        process.join()
    assert names == [name, f"{name}-1", f"{name}-2", f"{name}-3"]


def test_a_configuration_that_is_only_shown_makes_nothing(tmp_path: Path) -> None:
    assert fresh_directory(str(tmp_path / "new")) == str(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_directory_that_cannot_be_made_is_left_to_who_writes_it(
    tmp_path: Path, making: None
) -> None:
    (tmp_path / "file").write_text("")
    assert fresh_directory(str(tmp_path / "file" / "run")) == str(tmp_path / "file" / "run")


def hold(directory: Path, ready: Queue[int]) -> None:
    with held(directory):
        ready.put(os.getpid())
        signal.pause()


def test_a_locked_directory_is_refused_until_its_process_ends(tmp_path: Path) -> None:
    ready = FORK.Queue()
    process = FORK.Process(target=hold, args=(tmp_path, ready))
    process.start()
    pid = ready.get(timeout=30)
    with pytest.raises(InUse, match=f"another run .process {pid} on"), held(tmp_path):
        pass
    assert holder(tmp_path).startswith(f"process {pid} on ")
    process.kill()
    process.join()
    assert (tmp_path / LOCK).is_file() and not holder(tmp_path)
    with held(tmp_path):
        assert (tmp_path / LOCK).is_file()
    assert not list(tmp_path.iterdir())


def work_and_remove(directory: Path, times: int) -> None:
    """As commands do that extract for one sweep; an error ends the process."""
    for _ in range(times):
        with held(directory.parent, ".work.lock", waiting="another process works there"):
            directory.mkdir()
            (directory / "written").write_text("")
            (directory / "written").unlink()
            directory.rmdir()


def test_processes_that_wait_for_each_other_work_one_after_another(tmp_path: Path) -> None:
    work = (tmp_path / "work", 40)
    processes = [FORK.Process(target=work_and_remove, args=work) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert not list(tmp_path.iterdir())


def ask(directory: Path, stop: Event) -> None:
    while not stop.is_set():
        holder(directory)


def test_asking_for_the_holder_keeps_nobody_from_locking(tmp_path: Path) -> None:
    stop = FORK.Event()
    processes = [FORK.Process(target=ask, args=(tmp_path, stop)) for _ in range(2)]
    for process in processes:
        process.start()
    try:
        for _ in range(2000):
            with held(tmp_path):
                pass
    finally:
        stop.set()
        for process in processes:
            process.join()
