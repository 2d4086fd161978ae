"""Rows split over independent runs: one cache, in the bytes of a single run."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.config import ExtractionConfig
from probes.core.errors import UserError
from probes.corpora.corpus import Corpus
from probes.models.handle import Handle
from probes.passes.shards import Shard
from tests.activations.interrupting import (
    SMALL,
    Forks,
    content,
    interrupted,
    limit_tokens,
    stop,
    wait_for,
)
from tests.small_corpora import mixed_corpus, random_texts

BOTH = ["heads", "residual"]
ENDS = (["fresh", "missing"], ["fresh", "reused"])
"""What two shards report: one completes the cache, while the other ends before or waits for it."""


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return mixed_corpus(random_texts(30, seed=2))


@pytest.fixture(scope="module")
def whole(llama: Handle, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache directory of a single run."""
    directory = tmp_path_factory.mktemp("whole")
    extract(llama, corpus, sites=BOTH, extraction=SMALL, cache_dir=directory)
    return directory


def run(
    handle: Handle,
    corpus: Corpus,
    cache_dir: Path,
    shard: Shard,
    extraction: ExtractionConfig = SMALL,
) -> dict[str, Cache]:
    return extract(
        handle, corpus, sites=BOTH, extraction=extraction, cache_dir=cache_dir, shard=shard
    )


# Each shard is the first of one order, and the last of one.
@pytest.mark.parametrize("order", [(0, 2, 1), (1, 0, 2), (2, 1, 0)])
def test_one_after_the_other_in_any_order(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path, order: tuple[int, ...]
) -> None:
    for index in order:
        assert not [path for path in tmp_path.iterdir() if path.is_dir() and not path.suffix]
        shard = Shard(index, 3)
        caches = run(llama, corpus, tmp_path, shard)
        assert sorted(caches) == (sorted(BOTH) if index == order[-1] else [])
    assert all(cache.fresh for cache in caches.values())
    assert content(tmp_path) == content(whole)
    assert not list(tmp_path.glob("*.partial"))


def test_one_shard_is_the_whole(llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path) -> None:
    assert run(llama, corpus, tmp_path, Shard(0, 1))
    assert content(tmp_path) == content(whole)


def test_more_shards_than_batches(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path
) -> None:
    assert len(corpus.texts) < 35, "there are at most as many batches as texts"
    for index in range(35):
        caches = run(llama, corpus, tmp_path, Shard(index, 35))
    assert caches
    assert content(tmp_path) == content(whole)


def test_a_shard_that_is_done_runs_no_pass(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Shard(0, 2), Shard(1, 2)
    run(llama, corpus, tmp_path, first)
    with monkeypatch.context() as patch:
        patch.setattr("probes.passes.loop.forward", None)
        assert not run(llama, corpus, tmp_path, first)
    run(llama, corpus, tmp_path, second)
    assert content(tmp_path) == content(whole)
    monkeypatch.setattr(Handle, "load", None)
    assert run(llama, corpus, tmp_path, first)


@pytest.mark.parametrize("index", [0, 1])
def test_an_interrupted_shard_is_resumed(
    llama: Handle,
    corpus: Corpus,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    index: int,
) -> None:
    interrupted(monkeypatch, llama, corpus, tmp_path, after=3, sites=BOTH, shard=Shard(index, 2))
    states = [json.loads(path.read_text()) for path in tmp_path.glob("*.partial/shard_*.json")]
    assert [state["shard"] for state in states] == [index, index]
    assert all(state["first"] < state["sequences_done"] < state["end"] for state in states)
    for shard in (Shard(1 - index, 2), Shard(index, 2)):
        caches = run(llama, corpus, tmp_path, shard)
    assert caches
    assert content(tmp_path) == content(whole)


def test_batches_halved_in_one_shard_are_recorded(
    llama: Handle, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = ExtractionConfig(tokens_per_batch=200)
    with monkeypatch.context() as patch:
        limit_tokens(patch, 90)
        run(llama, corpus, tmp_path, Shard(0, 2), large)
    caches = run(llama, corpus, tmp_path, Shard(1, 2), large)
    batching = caches["heads"].manifest["batching"]
    assert batching[0] == [0, 200] and batching[-1][1] == 200
    assert len([tokens for _, tokens in batching if tokens <= 90]) > 0


@pytest.mark.parametrize("damage", ["shard", "missing", "layer"])
def test_damaged_progress_is_computed_again(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path, damage: str
) -> None:
    run(llama, corpus, tmp_path, Shard(0, 2))
    for begun in tmp_path.glob("*.partial"):
        if damage == "shard":
            text = (begun / "shard_000.json").read_text()
            (begun / "shard_000.json").write_text(text.replace('"rows_done": ', '"rows_done": 1'))
        elif damage == "missing":
            (begun / "shard_000.json").unlink()
        else:
            (begun / "layer_001.safetensors").write_bytes(b"short")
    assert not run(llama, corpus, tmp_path, Shard(1, 2))
    assert run(llama, corpus, tmp_path, Shard(0, 2))
    assert content(tmp_path) == content(whole)


@pytest.mark.parametrize("second", [Shard(), Shard(1, 3)])
def test_what_was_begun_in_another_split_is_begun_again(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path, second: Shard
) -> None:
    """A run without shards is not taken for a shard, and the other way round."""
    run(llama, corpus, tmp_path, Shard(0, 2))
    if second.count == 1:
        assert run(llama, corpus, tmp_path, second)
    else:
        for index in (1, 0, 2):
            caches = run(llama, corpus, tmp_path, Shard(index, 3))
        assert caches
    assert content(tmp_path) == content(whole)


def test_a_run_without_shards_that_was_interrupted_is_no_shard(
    llama: Handle, corpus: Corpus, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(monkeypatch, llama, corpus, tmp_path, after=3, sites=BOTH)
    assert not run(llama, corpus, tmp_path, Shard(1, 2))
    assert run(llama, corpus, tmp_path, Shard(0, 2))
    assert content(tmp_path) == content(whole)


class TestProcesses:
    def test_two_at_once_make_one_cache(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        running = [forks.start(tmp_path, pause=0.01, shard=(index, 2)) for index in range(2)]
        outputs = [forks.finish(*process) for process in running]
        assert sorted(output.split()[-1] for output in outputs) in ENDS
        assert all("pass" in output.split() for output in outputs)
        assert content(tmp_path) == undisturbed

    def test_one_is_killed_and_run_again_while_the_other_works(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        first, output = forks.start(tmp_path, hold=4, shard=(0, 2))
        wait_for(output, "pass", 4)
        other = forks.start(tmp_path, pause=0.02, shard=(1, 2))
        os.kill(first, signal.SIGKILL)
        assert forks.ask(wait=first) == -signal.SIGKILL
        again = forks.start(tmp_path, shard=(0, 2))
        outputs = [forks.finish(*other), forks.finish(*again)]
        assert sorted(output.split()[-1] for output in outputs) in ENDS
        assert content(tmp_path) == undisturbed

    def test_others_that_are_at_work_are_not_disturbed(
        self, forks: Forks, llama: Handle, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        first, output = forks.start(tmp_path, hold=3, shard=(0, 2))
        wait_for(output, "pass", 3)
        corpus = mixed_corpus(random_texts(30, seed=9))
        for shard in (Shard(), Shard(0, 3)):
            with pytest.raises(UserError, match="is being extracted in other shards"):
                run(llama, corpus, tmp_path, shard)
        os.kill(first, signal.SIGKILL)
        forks.ask(wait=first)
        extract(llama, corpus, sites=BOTH, extraction=SMALL, cache_dir=tmp_path)
        assert content(tmp_path) == undisturbed


class TestWaiting:
    def test_a_shard_waits_for_one_that_is_at_work(
        self, forks: Forks, tmp_path: Path, undisturbed: dict[str, bytes]
    ) -> None:
        slow = forks.start(tmp_path, pause=0.05, shard=(0, 2), patience=30.0)
        quick = forks.start(tmp_path, shard=(1, 2), patience=30.0)
        outputs = [forks.finish(*process).split()[-1] for process in (slow, quick)]
        assert sorted(outputs) == ["fresh", "reused"]
        assert content(tmp_path) == undisturbed

    def test_one_that_nobody_works_on_is_named(
        self, llama: Handle, corpus: Corpus, tmp_path: Path
    ) -> None:
        with pytest.raises(UserError, match="those of shard 0, 2, which no process") as caught:
            extract(
                llama,
                corpus,
                sites=BOTH,
                extraction=SMALL,
                cache_dir=tmp_path,
                shard=Shard(1, 3),
                patience=0.0,
            )
        assert "shard=0/3" in caught.value.fix

    def test_what_a_killed_process_left_to_complete_is_completed(
        self,
        llama: Handle,
        corpus: Corpus,
        whole: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        run(llama, corpus, tmp_path, Shard(0, 2))
        with monkeypatch.context() as patch:
            patch.setattr("probes.activations.partial.PartialCache.complete", stop)
            with pytest.raises(KeyboardInterrupt):
                run(llama, corpus, tmp_path, Shard(1, 2))
        caches = extract(
            llama,
            corpus,
            sites=BOTH,
            extraction=SMALL,
            cache_dir=tmp_path,
            shard=Shard(0, 2),
            patience=0.0,
        )
        assert sorted(caches) == sorted(BOTH)
        assert content(tmp_path) == content(whole)


class TestMachines:
    @pytest.mark.parametrize("name", ["threads", "versions", "device"])
    def test_another_machine_is_refused_and_keeps_the_others_rows(
        self,
        llama: Handle,
        corpus: Corpus,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
    ) -> None:
        run(llama, corpus, tmp_path, Shard(0, 2))
        before = content(tmp_path)
        if name == "threads":
            monkeypatch.setattr("torch.get_num_threads", lambda: 77)
        elif name == "versions":
            monkeypatch.setattr("probes.activations.manifest.__version__", "77")
        else:
            body = llama.load()
            monkeypatch.setattr(Handle, "load", lambda self: body)
            llama = replace(llama, device="kind77")
        with pytest.raises(UserError, match=f"{name} .*77.*: shard 0 of this cache"):
            run(llama, corpus, tmp_path, Shard(1, 2))
        assert content(tmp_path) == before

    def test_kinds_of_processors_are_named_where_they_differ(
        self, llama: Handle, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for index, name in enumerate(("a new one", "an old one")):
            with monkeypatch.context() as patch:
                patch.setattr("probes.activations.shard_states.processor", lambda name=name: name)
                caches = run(llama, corpus, tmp_path, Shard(index, 2))
        for cache in caches.values():
            assert cache.manifest["processors"] == ["a new one", "an old one"]
