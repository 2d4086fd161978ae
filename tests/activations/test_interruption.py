"""Kills at any moment, and several processes at once."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from probes.activations import writer
from probes.activations.extraction import extract
from probes.config import ExtractionConfig
from probes.models.forward import forward
from probes.models.handle import Handle
from probes.passes.progress import Progress
from tests.activations.interrupting import (
    SMALL,
    Forks,
    content,
    interrupted,
    limit_tokens,
    refuse,
    stop,
    wait_for,
    wait_for_progress,
)
from tests.small_corpora import corpus_of_words, mixed_corpus, random_texts


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
            patch.setattr(os, "rename", stop)
            with pytest.raises(KeyboardInterrupt):
                extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "b")
        assert list((tmp_path / "b").glob("*.partial"))
        # Everything is there, so no pass but that of verification is needed.
        monkeypatch.setattr("probes.passes.loop.forward", refuse)
        extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "b")
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_in_process_resume_repeats_only_what_was_not_saved(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        corpus = mixed_corpus(random_texts(30, seed=2))
        extract(llama, corpus, extraction=SMALL, cache_dir=tmp_path / "a")
        interrupted(monkeypatch, llama, corpus, tmp_path / "b", after=5)
        passes: list[int] = []

        def counting(*args: Any, **options: Any) -> Any:
            passes.append(len(args[2]))
            return forward(*args, **options)

        monkeypatch.setattr("probes.passes.loop.forward", counting)
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
