"""Disks that are full, too small or not writable."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
from pathlib import Path
from typing import Any

import pytest

from probes.activations import partial
from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.activations.storing import StoringVisitor
from probes.config import ExtractionConfig
from probes.core import files as disk
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.passes.batches import Batch
from probes.passes.disk_columns import DiskColumns
from probes.passes.progress import Progress
from tests.small_corpora import corpus_of_words, random_texts


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

    @pytest.mark.parametrize("last", [False, True])
    def test_a_full_disk_keeps_what_checkpoints_made_durable(
        self, llama: Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bool
    ) -> None:
        """Space for the numbers was reserved; only the manifest of a checkpoint, or the last one,
        finds none. The same command resumes."""
        corpus, small = corpus_of_words(random_texts(60)), ExtractionConfig(tokens_per_batch=64)
        expected = extract(llama, corpus, extraction=small, cache_dir=tmp_path / "undisturbed")
        real, progresses = partial.PartialCache._write_manifest, list[Progress]()

        def full(self: partial.PartialCache, progress: Progress, **more: Any) -> None:
            if more["complete"] if last else len(progresses) == 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            progresses.append(progress)
            real(self, progress, **more)

        def again() -> Cache:
            return extract(
                llama,
                corpus,
                extraction=small,
                cache_dir=tmp_path / "c",
                checkpoint_seconds=0,
            )["heads"]

        monkeypatch.setattr(partial.PartialCache, "_write_manifest", full)
        with pytest.raises(UserError, match=r"checkpoint cannot be written .*it resumes"):
            again()
        monkeypatch.setattr(partial.PartialCache, "_write_manifest", real)
        (left,) = (tmp_path / "c").glob("*.partial/manifest.json")
        assert json.loads(left.read_text())["sequences_done"] == progresses[-1].sequences > 0
        begins: list[int] = []
        begin = StoringVisitor.begin

        def note(self: StoringVisitor, batch: Batch) -> None:
            begins.append(batch.position)
            begin(self, batch)

        monkeypatch.setattr(StoringVisitor, "begin", note)
        cache = again()
        assert begins[:1] in ([], [progresses[-1].sequences])
        for layer in (0, 1):
            assert cache.layer(layer).equal(expected["heads"].layer(layer))

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

        monkeypatch.setattr("probes.passes.loop.forward", look)
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
