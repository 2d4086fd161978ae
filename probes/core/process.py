"""What we do to the process besides computing: why, and what each measure gained.

====================================  ================================  ===========================
what                                  where                             gained
====================================  ================================  ===========================
``heavy_imports``                     before a run or an atlas          default job 44-46 to 39-41 s
``shorten_waiting``                   before the heavy imports          busy: 11.7 to 10.0 s
``cores.limit_threads``               before the heavy imports          threads fit a container
``return_freed_memory``               tokenising, storing, chunks       see there
``drop_pages``                        writing and reading caches        memory is flat in the rows
``single_blas_thread``                while probes are fitted           fits of that job 18 to 14 s
``full_precision``                    in the solver                     it converges on new GPUs
``redeliver_lost_interrupts``         around the command                Ctrl+C always ends a run
``terminable``                        around the command                SIGTERM ends it as Ctrl+C
====================================  ================================  ===========================

Others stand beside the library that they are about: ``training.trainer.undisturbed`` (signals and
warnings that Lightning changes), ``passes.alignment`` (the word cache of a tokenizer) and
``config.hydra_store`` (copies that Hydra makes of its store).

Nothing heavy is imported at the top: the command line imports this module before all else.
"""

from __future__ import annotations

import _thread
import ctypes
import gc
import mmap
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from probes.core.cores import limit_threads

MANY_MODULES = 500
"""An import of so many modules has brought a heavy library (torch alone brings a thousand)."""

SPINS = "1000"
"""Rounds that a waiting thread of libgomp spins before it sleeps: microseconds, not
milliseconds."""

REDELIVERY_SECONDS = 0.05
"""After which an interrupt that was lost is sent again."""


@contextmanager
def heavy_imports() -> Iterator[None]:
    """Import torch, transformers, lightning, ... inside, unseen by the garbage collector.

    The half a million objects that they create stay to the end of the process. Collections would
    visit all of them again and again: a tenth of the time of the imports, a second during the run
    and three at exit. They are moved out of its sight (``gc.freeze``); where the libraries were
    imported before, nothing is, so that the garbage of an earlier run is still collected.
    """
    shorten_waiting()
    limit_threads()
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
        if len(sys.modules) - before >= MANY_MODULES:
            gc.freeze()
    finally:
        if enabled:
            gc.enable()


class Terminated(KeyboardInterrupt):
    """SIGTERM: a batch system or ``kill`` ends the process, as Ctrl+C would."""


@contextmanager
def terminable() -> Iterator[None]:
    """Have SIGTERM raise ``Terminated`` inside, in the main thread, where it would kill at once,
    and Ctrl+C a ``KeyboardInterrupt``.

    What a run leaves on an interruption (its error, the report of its sweep) is then left, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        raise Terminated

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, end)}
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # what shells set in the background
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def shorten_waiting() -> None:
    """Let torch's threads sleep soon where they wait for each other; before torch is imported.

    libgomp's threads spin for milliseconds. On a quiet machine this costs nothing; beside a busy
    process they hold the core that the thread they wait for needs (two cores, one other process:
    wall time 1.6 and processor time 1.5 times those of a quiet machine, against 1.4 and 1.1 so).
    Not spinning at all (``OMP_WAIT_POLICY=PASSIVE``) costs a tenth on a quiet machine. What the
    user has set stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = SPINS


@contextmanager
def redeliver_lost_interrupts() -> Iterator[None]:
    """Send a Ctrl+C again that arrived inside a ``__del__``, where Python drops exceptions.

    After a long call into a library (of a tokenizer, say) the first Python code to run may be the
    finaliser of a collected object; the run would go on as if no key had been pressed.
    """
    before = sys.unraisablehook

    def hook(dropped: sys.UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        number = signal.SIGTERM if issubclass(dropped.exc_type, Terminated) else signal.SIGINT
        timer = threading.Timer(REDELIVERY_SECONDS, _thread.interrupt_main, [number])
        timer.daemon = True
        timer.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def full_precision() -> Iterator[None]:
    """Multiply float32 matrices in float32, whatever torch was set to.

    With TF32 or bfloat16 passes (GPUs since 2020) the solver stalls above its tolerance.
    """
    import torch  # seconds; see the top

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Limit NumPy's and SciPy's OpenBLAS to one thread; torch keeps its own.

    OpenBLAS's threads keep spinning for tens of milliseconds after every product, on the cores that
    torch's need for the next one.
    """
    from threadpoolctl import ThreadpoolController  # 30 ms; see the top

    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield


def return_freed_memory() -> None:
    """Return freed memory to the system, where the C library can (glibc's ``malloc_trim``).

    A tokenizer's many small objects leave holes all over the heap. Without this it is several times
    as large as what is in use and grows with the number of texts, and what one chunk of fits has
    freed stays beside the next chunk.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim


def drop_pages(mapped: mmap.mmap) -> None:
    """Take the pages of a file's map out of this process's memory (``MADV_DONTNEED``).

    They stay in the system's page cache, changed ones included, as long as it has room for them.
    Without this a map that is written or read from end to end counts in full as memory of the
    process, and where a limit is set (a container, a batch system) the process is killed for it.
    """
    if hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)
