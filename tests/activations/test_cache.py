"""What readers refuse, and that what they accept is what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from probes.activations import cache as module
from probes.activations.cache import Cache
from probes.activations.extraction import extract
from probes.activations.layout import header, seal
from probes.config import ModelConfig
from probes.core import files as disk
from probes.core.errors import UserError
from probes.models.handle import Handle
from probes.models.loading import open_model
from tests.small_corpora import corpus_of_words, random_texts
from tests.tiny_checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def original(llama: Handle, tmp_path_factory: pytest.TempPathFactory) -> Cache:
    corpus = corpus_of_words(random_texts(20))
    return extract(llama, corpus, cache_dir=tmp_path_factory.mktemp("caches"))["heads"]


@pytest.fixture
def directory(original: Cache, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(original.directory, tmp_path / original.directory.name))


class TestReading:
    def test_plain_safetensors_reads_it(self, original: Cache) -> None:
        for info in original.layers:
            path = original.directory / info.file
            tensor = load_file(path)["z"]
            assert tensor.shape == (info.units, original.n_rows, info.width)
            assert torch.equal(tensor, original.layer(info.layer))
            with safe_open(path, framework="np") as file:
                np.testing.assert_array_equal(file.get_tensor("z"), tensor.numpy())
        rows = load_file(original.directory / "rows.safetensors")
        assert set(rows) == set(original.rows)

    def test_a_layer_is_a_map_of_its_file(self, original: Cache) -> None:
        """Its pages are the system's to take back: no memory that grows with the rows."""
        info = original.info(1)
        z = original.mapped(info, slice(1, 3))
        assert torch.equal(z, original.layer(1)[1:3])
        files = [
            line.split()[-1]
            for line in Path("/proc/self/maps").read_text().splitlines()
            for start, end in [(int(end, 16) for end in line.split()[0].split("-"))]
            if start <= z.data_ptr() < end
        ]
        assert files == [str(original.directory / info.file)]

    @pytest.mark.parametrize("heads", [slice(None), slice(0, 1), slice(1, 3), slice(3, 4)])
    @pytest.mark.parametrize("dtype", [None, torch.float16, torch.float32, torch.float64])
    @pytest.mark.parametrize(("piece", "small"), [(1 << 20, 1 << 22), (100, 0)])
    def test_read_equals_the_map(
        self,
        original: Cache,
        heads: slice,
        dtype: torch.dtype | None,
        piece: int,
        small: int,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(module, "PIECE", piece)
        monkeypatch.setattr(module, "SMALL", small)
        cache = Cache.open(original.directory)
        expected = original.layer(1)[heads]
        out = None if dtype is None else torch.full(expected.shape, 7, dtype=dtype)
        got = cache.read(cache.info(1), heads, out=out)
        assert out is None or got is out
        assert torch.equal(got, expected.to(got.dtype))

    def test_out_must_fit(self, original: Cache) -> None:
        info = original.info(0)
        with pytest.raises(ValueError, match="out has shape"):
            original.read(info, slice(0, 2), out=torch.empty(1, original.n_rows, info.width))
        with pytest.raises(ValueError, match="range of step 1"):
            original.read(info, slice(0, 4, 2))

    def test_changing_a_layer_changes_no_file(self, directory: Path) -> None:
        cache = Cache.open(directory)
        before = cache.layer(0).clone()
        cache.layer(0).fill_(3)
        assert torch.equal(cache.layer(0), before)
        Cache.open(directory).verify()

    def test_streams_are_named_where_there_are_several(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "model", "t5")
        handle = open_model(ModelConfig(name=str(tmp_path / "model")))
        corpus = corpus_of_words(random_texts(4))
        cache = extract(handle, corpus, cache_dir=tmp_path / "c")["heads"]
        assert (cache.directory / "cross.layer_002.safetensors").exists()
        assert cache.layer(1, "encoder").shape[0] == 4
        with pytest.raises(UserError, match="layer 1 exists in several streams"):
            cache.layer(1)
        assert cache.layer(2, "decoder").shape == cache.layer(2, "cross").shape

    def test_a_layer_that_is_not_there(self, original: Cache) -> None:
        with pytest.raises(UserError, match="no layer") as error:
            original.layer(9)
        assert error.value.allowed == "decoder 0, decoder 1"


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)


def edit(directory: Path, change: Callable[[dict[str, Any]], Any], *, sealed: bool = True) -> None:
    path = directory / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_bytes(seal(manifest) if sealed else json.dumps(manifest).encode())


class TestDamage:
    """Each is one message that names the file and the remedy; nothing is silently recomputed."""

    @pytest.mark.parametrize("where", ["first", "middle", "last"])
    @pytest.mark.parametrize("read", ["layer", "read", "verify"])
    @pytest.mark.parametrize("small", [0, 1 << 22])
    def test_one_flipped_bit_in_the_numbers(
        self, directory: Path, where: str, read: str, small: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "SMALL", small)
        path = directory / "layer_001.safetensors"
        start = len(header(4, Cache.open(directory).n_rows, 8, "float16"))
        end = path.stat().st_size - 1
        flip(path, {"first": start, "middle": (start + end) // 2, "last": end}[where])
        cache = Cache.open(directory)
        cache.layer(0)
        actions: dict[str, Callable[[], Any]] = {
            "layer": lambda: cache.layer(1),
            "read": lambda: cache.read(cache.info(1)),
            "verify": cache.verify,
        }
        with pytest.raises(UserError, match=r"layer_001.safetensors is damaged: head \d") as error:
            actions[read]()
        assert error.value.fix.startswith("cache_dir=ANOTHER_DIRECTORY")

    def test_reading_other_heads_goes_on(self, directory: Path) -> None:
        path = directory / "layer_001.safetensors"
        flip(path, path.stat().st_size - 1)
        cache = Cache.open(directory)
        cache.read(cache.info(1), slice(0, 3))
        with pytest.raises(UserError, match="head 3"):
            cache.read(cache.info(1), slice(3, 4))

    @pytest.mark.parametrize(
        ("file", "damage", "message"),
        [
            ("layer_001.safetensors", "truncate", "bytes, expected"),
            ("layer_001.safetensors", "extend", "bytes, expected"),
            ("layer_001.safetensors", "remove", "No such file"),
            ("layer_000.safetensors", "header", "header differs"),
            ("rows.safetensors", "header", "checksum differs"),
            ("rows.safetensors", "truncate", "checksum differs"),
            ("rows.safetensors", "remove", "No such file"),
            ("manifest.json", "header", "not JSON"),
            ("manifest.json", "truncate", "not JSON"),
            ("manifest.json", "remove", "No such file"),
        ],
    )
    def test_files_are_checked_on_opening(
        self, directory: Path, file: str, damage: str, message: str
    ) -> None:
        path = directory / file
        if damage == "remove":
            path.unlink()
        elif damage == "header":
            flip(path, 12 if path.suffix != ".json" else 0)
        else:
            content = path.read_bytes()
            path.write_bytes(content[:-5] if damage == "truncate" else content + b"\0")
        with pytest.raises(UserError, match=message) as error:
            Cache.open(directory)
        assert str(path) in str(error.value)
        assert "rm" not in error.value.fix

    def test_a_file_that_shrinks_while_it_is_open(self, directory: Path) -> None:
        cache = Cache.open(directory)
        path = directory / "layer_001.safetensors"
        path.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(UserError, match="ends too early"):
            cache.read(cache.info(1))

    def test_a_file_that_shrinks_after_it_was_checked(self, directory: Path) -> None:
        """A map beyond its end would kill the process."""
        cache = Cache.open(directory)
        before = cache.layer(1).clone()
        path = directory / "layer_001.safetensors"
        content = path.read_bytes()
        path.write_bytes(content[:-5])
        with pytest.raises(UserError, match="bytes, expected"):
            cache.layer(1)
        path.write_bytes(content)
        assert torch.equal(cache.layer(1), before)

    def test_the_next_run_refuses_it_too(self, llama: Handle, directory: Path) -> None:
        (directory / "layer_001.safetensors").write_bytes(b"")
        with pytest.raises(UserError, match=r"layer_001.safetensors is damaged"):
            extract(llama, corpus_of_words(random_texts(20)), cache_dir=directory.parent)
        shutil.rmtree(directory)
        again = extract(llama, corpus_of_words(random_texts(20)), cache_dir=directory.parent)
        assert again["heads"].fresh

    def test_a_cache_renamed_to_the_key_of_another(
        self, llama: Handle, directory: Path, tmp_path: Path
    ) -> None:
        corpus = corpus_of_words(random_texts(7))
        other = extract(llama, corpus, cache_dir=tmp_path)["heads"].directory
        shutil.rmtree(other)
        directory.rename(other)
        with pytest.raises(UserError, match="belongs to another cache"):
            extract(llama, corpus, cache_dir=tmp_path)

    def test_incomplete(self, directory: Path) -> None:
        edit(directory, lambda m: m.update(complete=False, rows_done=3))
        with pytest.raises(UserError, match=r"is incomplete: 3 of \d+ rows"):
            Cache.open(directory)

    def test_no_directory(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="there is no activation cache"):
            Cache.open(tmp_path / "nowhere")


class TestHostileManifest:
    def test_a_changed_manifest_fails_its_checksum(self, directory: Path) -> None:
        edit(directory, lambda m: m.update(dtype="float32"), sealed=False)
        with pytest.raises(UserError, match="its checksum differs"):
            Cache.open(directory)

    @pytest.mark.parametrize(
        "change",
        [
            lambda m: m["head_map"][0].update(file="../../etc/passwd"),
            lambda m: m["head_map"][0].update(file="/etc/passwd"),
            lambda m: m["head_map"][0].update(file="layer_001.safetensors"),
            lambda m: m["head_map"][0].update(stream="../x"),
            lambda m: m["head_map"][0].update(layer="0"),
            lambda m: m["head_map"][0].update(layer=-1),
            lambda m: m["head_map"][0].update(units=1 << 40),
            lambda m: m["head_map"][0].update(units=0),
            lambda m: m["head_map"][0].update(width=True),
            lambda m: m["head_map"][0].update(_target_="os.system"),
            lambda m: m["head_map"].append("text"),
            lambda m: m["head_map"].append(m["head_map"][0]),
            lambda m: m.update(head_map={}),
            lambda m: m.update(rows=-4),
            lambda m: m.update(rows=1 << 50),
            lambda m: m.update(dtype="object"),
            lambda m: m.update(complete="yes"),
            lambda m: m.update(files=[]),
            lambda m: m["files"].clear(),
            lambda m: m["files"]["layer_000.safetensors"].update(crc32=None),
            lambda m: m["files"]["layer_000.safetensors"].update(crc32=[0]),
            lambda m: m.pop("rows"),
        ],
    )
    def test_what_no_cache_of_ours_says(
        self, directory: Path, change: Callable[[dict[str, Any]], Any]
    ) -> None:
        edit(directory, change)
        with pytest.raises(UserError, match="is damaged"):
            Cache.open(directory)

    @pytest.mark.parametrize("content", ["[]", "3", "null", '{"a": NaN}', "[" * 100_000])
    def test_other_json(self, directory: Path, content: str) -> None:
        (directory / "manifest.json").write_text(content)
        with pytest.raises(UserError, match=r"manifest.json is damaged"):
            Cache.open(directory)

    def test_a_newer_schema_says_so(self, directory: Path) -> None:
        edit(directory, lambda m: m.update(schema_version=2))
        with pytest.raises(UserError, match="schema version 2"):
            Cache.open(directory)

    def test_unknown_fields_are_ignored(self, directory: Path) -> None:
        edit(directory, lambda m: m.update(added_later={"x": 1}))
        Cache.open(directory).verify()


def test_checksum_does_not_depend_on_the_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zlib

    content = np.random.default_rng(0).bytes(10_001)
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb") as file:
        for piece in (1, 7, 4096, 1 << 20):
            monkeypatch.setattr(disk, "PIECE", piece)
            assert disk.checksum(file.fileno(), 3, 9_000) == zlib.crc32(content[3:9_003])
        assert disk.checksum(file.fileno(), 3, 10_001) is None
