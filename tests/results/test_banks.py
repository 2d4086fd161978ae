"""Saved banks: the same after loading, and refused when the files do not agree."""

from __future__ import annotations

import hashlib
import json
import pickle
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from probes.core.errors import UserError
from probes.results.banks import DESCRIPTION, TENSORS, load_banks, save_banks
from tests.training.test_bank import make_bank

BASE = {"name": "minilm", "fingerprint": "abc"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_banks(tmp_path, [make_bank(), make_bank("mlp", 2)], BASE)
    return tmp_path


def rewrite(folder: Path, change: Callable[[Any], object], *, checksum: bool = False) -> None:
    path = folder / DESCRIPTION
    description = json.loads(path.read_text())
    change(description)
    if checksum:
        description["sha256"] = hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest()
    path.write_text(json.dumps(description))


def test_loading_gives_back_what_was_saved(tmp_path: Path) -> None:
    linear, mlp = make_bank(heads=(0, 1, 2, 3)), make_bank("mlp", 2)
    fold = replace(make_bank(seed=1), problem="fold-0", probe="random_init")
    save_banks(tmp_path, [linear.slice(0, 3), linear.slice(3, 4), mlp, fold], BASE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = load_banks(tmp_path)
    assert loaded.base_model == BASE
    assert len(loaded.banks) == 3
    for bank, again in zip([linear, mlp, fold], loaded.banks, strict=True):
        assert all(torch.equal(bank.tensors[n], again.tensors[n]) for n in bank.tensors)
        assert again.key == bank.key
        assert (again.heads, again.classes, again.choice) == (bank.heads, bank.classes, bank.choice)
    assert sorted(p.name for p in tmp_path.iterdir()) == [DESCRIPTION, TENSORS]


def test_no_bank_is_a_valid_file(tmp_path: Path) -> None:
    save_banks(tmp_path, [], BASE)
    assert load_banks(tmp_path).banks == ()


def test_unknown_keys_are_ignored_with_a_warning(saved: Path) -> None:
    rewrite(saved, lambda d: d.update(colour="red") or d["banks"][0].update(shade=1))
    with pytest.warns(UserWarning, match="unknown keys ignored") as caught:
        assert len(load_banks(saved).banks) == 2
    text = " ".join(str(w.message) for w in caught)
    assert "colour" in text and "shade" in text


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("sha256"),
        lambda d: d.update(banks={}),
        lambda d: d.update(schema_version="1"),
        lambda d: d.update(base_model=None),
        lambda d: d["banks"].pop(),
        lambda d: d["banks"].append(d["banks"][0]),
        lambda d: d["banks"].append("bank"),
        lambda d: d["banks"][0].update(kind="sklearn.tree.DecisionTreeClassifier"),
        lambda d: d["banks"][0].update(classes=["a"]),
        lambda d: d["banks"][0].update(classes=["a", "b"]),
        lambda d: d["banks"][0].update(classes=["a", "b", 3]),
        lambda d: d["banks"][0].update(heads=[0, 1]),
        lambda d: d["banks"][0].update(heads=[0, 1, -2]),
        lambda d: d["banks"][0].update(heads=[0, 1, True]),
        lambda d: d["banks"][0].update(layer=True),
        lambda d: d["banks"][0].update(layer=2),
        lambda d: d["banks"][0].update(choice=["1", "2", "3"]),
        lambda d: d["banks"][0].update(choice=[1.0]),
        lambda d: d["banks"][0].update(heads=[0, 1, 1]),
        lambda d: d["banks"][0]["shapes"].update(weight=[3, 3, 6]),
        lambda d: d["banks"][0].pop("shapes"),
        lambda d: d["banks"][0].update(name="../../weights"),
    ],
)
def test_tampered_descriptions_are_refused(saved: Path, change: Callable[[Any], object]) -> None:
    rewrite(saved, change)
    with pytest.raises(UserError, match="refused"):
        load_banks(saved)


def test_changed_weights_are_refused_by_their_checksum(saved: Path) -> None:
    raw = bytearray((saved / TENSORS).read_bytes())
    raw[-1] ^= 1
    (saved / TENSORS).write_bytes(raw)
    with pytest.raises(UserError, match="sha256"):
        load_banks(saved)


@pytest.mark.parametrize("how", ["extra", "dtype", "nan", "pickle"])
def test_tampered_tensors_are_refused_even_under_a_matching_checksum(saved: Path, how: str) -> None:
    tensors = load_file(saved / TENSORS)
    name = next(n for n in tensors if n.endswith("/weight"))
    if how == "extra":
        tensors["more"] = torch.zeros(1)
    elif how == "dtype":
        tensors[name] = tensors[name].long()
    elif how == "nan":
        tensors[name][0, 0, 0] = float("nan")
    if how == "pickle":
        (saved / TENSORS).write_bytes(pickle.dumps(tensors[name].tolist()))
    else:
        save_file(tensors, saved / TENSORS)
    rewrite(saved, lambda d: None, checksum=True)
    with pytest.raises(UserError, match="refused"):
        load_banks(saved)


@pytest.mark.parametrize("name", [DESCRIPTION, TENSORS])
def test_missing_and_cut_files_are_refused(saved: Path, name: str) -> None:
    path = saved / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="refused"):
        load_banks(saved)
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        load_banks(saved)
