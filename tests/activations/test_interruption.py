"""Kills, full disks, and several processes at once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.activations import partial, writer
from probes.activations.extraction import extract
from probes.config import ExtractionConfig
from probes.core import files as disk
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.passes import loop as passes_module
from probes.passes.disk_columns import DiskColumns
from probes.passes.progress import Progress
from tests.activations.test_extraction import limit_tokens, refuse
from tests.small_corpora import corpus_of_words, mixed_corpus, random_texts

SMALL = ExtractionConfig(tokens_per_batch=64)


class Forks:
    """Starts extractions in processes of their own; see ``tests.activations.forked``."""

    def __init__(self, model: Path, outputs: Path, project: Path) -> None:
        command = [sys.executable, "-m", "tests.activations.forked", str(model), str(outputs)]
        self.server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=project
        )

    def ask(self, **request: Any) -> Any:
        assert self.server.stdin is not None and self.server.stdout is not None
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())

    def start(self, cache_dir: Path, pause: float = 0.0, hold: int = 0) -> tuple[int, Path]:
        answer = self.ask(cache_dir=str(cache_dir), pause=pause, hold=hold)
        return answer["pid"], Path(answer["output"])

    def finish(self, pid: int, output: Path) -> str:
        assert self.ask(wait=pid) == 0, output.read_text()
        return output.read_text()


@pytest.fixture(scope="module")
def forks(
    llama_directory: Path, tmp_path_factory: pytest.TempPathFactory, project: Path
) -> Iterator[Forks]:
    forks = Forks(llama_directory, tmp_path_factory.mktemp("outputs"), project)
    yield forks
    forks.server.communicate(timeout=60)


def content(cache_dir: Path) -> dict[str, bytes]:
    """Every byte below a cache directory, but the locks."""
    return {
        str(path.relative_to(cache_dir)): path.read_bytes()
        for path in sorted(cache_dir.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture(scope="module")
def undisturbed(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    cache_dir = tmp_path_factory.mktemp("undisturbed")
    assert forks.finish(*forks.start(cache_dir)).count("pass") > 10
    return content(cache_dir)


class TestKill:
    @pytest.mark.parametrize("seed", range(8))
    def test_resumes_and_ends_in_the_same_bytes(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes], seed: int
    ) -> None:
        random = np.random.default_rng(seed)
        saved = 0
        for _ in range(2):
            # Held at a pass until the disk has kept up; where in its work it dies is left to
            # chance.
            pid, _ = forks.start(tmp_path, pause=0.01, hold=int(random.integers(2, 5)))
            saved = wait_for_progress(tmp_path, beyond=saved)
            time.sleep(random.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            assert forks.ask(wait=pid) == -signal.SIGKILL
            assert not [p for p in tmp_path.iterdir() if p.is_dir() and not p.suffix]
        output = forks.finish(*forks.start(tmp_path))
        assert re.search(r"resumed at sequence \d+", output)
        assert content(tmp_path) == undisturbed

    @pytest.mark.parametrize("seed", range(4))
    def test_killed_at_any_moment(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes], seed: int
    ) -> None:
        pid, _ = forks.start(tmp_path)
        time.sleep(np.random.default_rng(seed).uniform(0, 0.6))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        forks.ask(wait=pid)
        forks.finish(*forks.start(tmp_path))
        assert content(tmp_path) == undisturbed

    def test_killed_between_the_last_checkpoint_and_the_name(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = corpus_of_words(random_texts(20))
        extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "a")
        with monkeypatch.context() as patch:
            patch.setattr(partial.os, "rename", stop)
            with pytest.raises(KeyboardInterrupt):
                extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "b")
        assert list((tmp_path / "b").glob("*.partial"))
        # Everything is there, so no pass but that of verification is needed.
        monkeypatch.setattr(passes_module, "forward", refuse)
        extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "b")
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_in_process_resume_repeats_only_what_was_not_saved(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = mixed_corpus(random_texts(30, seed=2))
        extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "a")
        interrupted(monkeypatch, llama, corpus, tmp_path / "b", after=5)
        passes: list[int] = []
        real = passes_module.forward
        monkeypatch.setattr(
            passes_module,
            "forward",
            lambda *args, **options: (passes.append(len(args[2])), real(*args, **options))[1],
        )
        cache = extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "b")["heads"]
        assert sum(passes) < cache.manifest["sequences"]
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_after_a_halved_batch_the_rest_keeps_the_smaller_one(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = mixed_corpus(random_texts(30, seed=2))
        large = ExtractionConfig(tokens_per_batch=200)
        real = writer.CacheWriter.checkpoint

        def slow(self: writer.CacheWriter, progress: Progress) -> None:
            time.sleep(0.2)  # a disk so busy that the marks between are left out
            real(self, progress)

        with monkeypatch.context() as patch:
            patch.setattr(writer.CacheWriter, "checkpoint", slow)
            limit_tokens(patch, 90)
            extract(llama, corpus, extraction=large, cache_dir=tmp_path / "a")
            interrupted(patch, llama, corpus, tmp_path / "b", after=4, settings=large)
        # The machine has memory again, yet the batches stay as they began.
        extract(llama, corpus, extraction=large, cache_dir=tmp_path / "b")
        assert content(tmp_path / "a") == content(tmp_path / "b")

    @pytest.mark.parametrize("damage", ["manifest", "layer", "rows", "settings"])
    def test_what_cannot_be_resumed_is_begun_again(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
    ) -> None:
        corpus = corpus_of_words(random_texts(30, seed=2))
        settings = SMALL if damage != "settings" else ExtractionConfig(tokens_per_batch=50)
        extract(llama, corpus, extraction=settings, cache_dir=tmp_path / "a")
        interrupted(monkeypatch, llama, corpus, tmp_path / "b", after=4)
        begun = next((tmp_path / "b").glob("*.partial"))
        if damage == "manifest":
            (begun / "manifest.json").write_text("{")
        elif damage == "layer":
            (begun / "layer_001.safetensors").write_bytes(b"short")
        elif damage == "rows":
            content_of_rows = (begun / "rows.safetensors").read_bytes()
            (begun / "rows.safetensors").write_bytes(content_of_rows[:-1] + b"?")
        extract(llama, corpus, extraction=settings, cache_dir=tmp_path / "b")
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_kinds_that_stopped_at_different_places(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = corpus_of_words(random_texts(30, seed=2))
        both = ["heads", "residual"]
        extract(llama, corpus, sites=both, extraction=SMALL, cache_dir=tmp_path / "a")
        interrupted(monkeypatch, llama, corpus, tmp_path / "b", after=4)
        extract(llama, corpus, sites=both, extraction=SMALL, cache_dir=tmp_path / "b")
        assert content(tmp_path / "a") == content(tmp_path / "b")


class TestTwoAtOnce:
    def test_one_extracts_and_the_others_wait(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        running = [forks.start(tmp_path, pause=0.05) for _ in range(3)]
        outputs = [forks.finish(*process) for process in running]
        assert sorted(output.split()[-1] for output in outputs) == ["fresh", "reused", "reused"]
        assert sum("waiting for it" in output for output in outputs) == 2
        assert sum("pass" in output.split() for output in outputs) == 1
        assert content(tmp_path) == undisturbed

    def test_the_next_in_line_takes_over_from_one_that_was_killed(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        first, _ = forks.start(tmp_path, hold=3)
        wait_for_progress(tmp_path, beyond=0)
        second, other = forks.start(tmp_path)
        wait_for(other, "waiting for it", 1)
        os.kill(first, signal.SIGKILL)
        forks.ask(wait=first)
        assert "resumed at sequence" in forks.finish(second, other)
        assert content(tmp_path) == undisturbed


class TestDisk:
    def test_too_small_names_both_sizes(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partial, "free_bytes", lambda path: 1000)
        with pytest.raises(UserError, match=r"need 1\d\.\d kB, and the disk has 1.0 kB free"):
            extract(llama, corpus_of_words(random_texts(10)), cache_dir=tmp_path)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    @pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
    def test_reserving_fails_in_the_middle(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
    ) -> None:
        real = disk.reserve
        calls: list[int] = []

        def second_fails(descriptor: int, n_bytes: int) -> None:
            calls.append(n_bytes)
            if len(calls) == 4:
                raise OSError(code, os.strerror(code))
            real(descriptor, n_bytes)

        monkeypatch.setattr(partial, "reserve", second_fails)
        with pytest.raises(UserError, match=r"need .* and the disk has .* free"):
            extract(
                llama,
                corpus_of_words(random_texts(10)),
                sites=["heads", "residual"],
                cache_dir=tmp_path,
            )
        # What had been reserved for the other kind is given back too.
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    def test_no_room_for_the_index(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(spool: DiskColumns, name: str, values: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(DiskColumns, "append", full)
        with pytest.raises(UserError, match=r"need .* and the disk has .* free"):
            extract(llama, corpus_of_words(random_texts(10)), cache_dir=tmp_path)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    def test_a_limit_on_file_sizes(self, llama: Handle, tmp_path: Path) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
        try:
            with pytest.raises(UserError, match="the activations need"):
                extract(llama, corpus_of_words(random_texts(20)), cache_dir=tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not [path for path in tmp_path.iterdir() if path.is_dir()]

    def test_space_is_reserved_before_the_first_pass(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[bool] = []

        def look(*args: Any, **options: Any) -> Any:
            files = list(tmp_path.glob("*.partial/layer*"))
            seen.append(
                len(files) == 2 and all(f.stat().st_blocks * 512 >= f.stat().st_size for f in files)
            )
            raise KeyboardInterrupt

        monkeypatch.setattr(passes_module, "forward", look)
        with pytest.raises(KeyboardInterrupt):
            extract(llama, corpus_of_words(random_texts(10)), cache_dir=tmp_path)
        assert seen == [True]

    def test_a_real_full_disk(self, llama: Handle, tmp_path: Path) -> None:
        mount = tmp_path / "small"
        mount.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(mount)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
        try:
            corpus = corpus_of_words(random_texts(200))
            with pytest.raises(UserError, match=r"need \d+\.\d kB, and the disk has \d+\.\d kB"):
                extract(llama, corpus, cache_dir=mount)
            assert not [path for path in mount.iterdir() if path.is_dir()]
        finally:
            subprocess.run(["umount", str(mount)], check=True)

    def test_not_writable(self, llama: Handle, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        for cache_dir in (tmp_path / "file", tmp_path / "file" / "below"):
            with pytest.raises(UserError, match="cannot be written") as error:
                extract(llama, corpus_of_words(["a storm"]), cache_dir=cache_dir)
            assert "cache_dir=" in error.value.fix

    def test_no_permission(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied(self: Path, *args: Any, **options: Any) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))

        monkeypatch.setattr(Path, "mkdir", denied)
        with pytest.raises(UserError, match="cannot be written: Permission denied"):
            extract(llama, corpus_of_words(["a storm"]), cache_dir=tmp_path / "new")

    def test_a_finished_cache_needs_no_writing(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = corpus_of_words(random_texts(5))
        extract(llama, corpus, cache_dir=tmp_path)
        for lock in tmp_path.glob("*.lock"):
            lock.unlink()
        before = sorted(tmp_path.rglob("*"))
        extract(llama, corpus, cache_dir=tmp_path)
        assert sorted(tmp_path.rglob("*")) == before

    def test_reserving_without_the_system_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(os, "posix_fallocate")
        with open(tmp_path / "file", "wb") as file:
            disk.reserve(file.fileno(), (1 << 20) + 17)
        assert (tmp_path / "file").stat().st_size == (1 << 20) + 17


# --- helpers -----------------------------------------------------------------------------------


def wait_for(output: Path, text: str, count: int) -> None:
    """Wait until a process has said ``text`` so many times."""
    end = time.monotonic() + 60
    while output.read_text().count(text) < count:
        assert time.monotonic() < end, output.read_text()
        time.sleep(0.002)


def wait_for_progress(cache_dir: Path, beyond: int) -> int:
    """Wait until more than ``beyond`` sequences are on disk for every kind; how many are."""
    end = time.monotonic() + 60
    while True:
        states = [
            json.loads(path.read_text()) for path in cache_dir.glob("*.partial/manifest.json")
        ]
        assert not any(state["complete"] for state in states)
        done = min((int(state["sequences_done"]) for state in states), default=0)
        if done > beyond:
            return done
        assert time.monotonic() < end
        time.sleep(0.002)


def stop(*args: Any) -> None:
    raise KeyboardInterrupt


def interrupted(
    monkeypatch: pytest.MonkeyPatch,
    handle: Handle,
    corpus: Corpus,
    cache_dir: Path,
    *,
    after: int,
    settings: ExtractionConfig = SMALL,
) -> None:
    """Run ``after`` passes, with a checkpoint behind each, and stop."""
    real = passes_module.forward
    passes: list[int] = []

    def counting(*args: Any, **options: Any) -> Any:
        passes.append(1)
        if len(passes) > after:
            raise KeyboardInterrupt
        return real(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(passes_module, "forward", counting)
        with pytest.raises(KeyboardInterrupt):
            extract(
                handle, corpus, extraction=settings, cache_dir=cache_dir, checkpoint_seconds=0.0
            )
