"""Evidence on disk: what comes back, in which schema, and which files are refused."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from probes.core.errors import UserError
from probes.results.evidence import load_evidence, save_evidence
from probes.statistics.maps import MapEvidence, RightRows

G = 6


def counts(units: int = 4, probe: str = "linear", seed: int = 0) -> MapEvidence:
    random = np.random.default_rng(seed)
    return MapEvidence(
        feature="upos",
        site="heads",
        probe=probe,
        units=np.stack([np.arange(units) // 2, np.arange(units) % 2], axis=1).astype(np.int32),
        streams=("decoder",) * units,
        groups=np.arange(G) * 3,
        rows=np.full(G, 5),
        totals=random.integers(0, 6, size=(units, G)),
        validation=random.random(units),
    )


def effects(units: int = 4) -> MapEvidence:
    random = np.random.default_rng(1)
    return replace(
        counts(units, "mean"),
        totals=random.normal(size=(units, G)),
        method="ablation",
        metric="logit_difference",
        effect="direct",
        positions="all",
        reference=random.normal(size=G),
        validation_rows=30,
        right=RightRows.of(random.random((units, 13)) < 0.5, rows=np.arange(13) * 2),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence.safetensors"


def schema(path: Path) -> str:
    with safe_open(path, framework="numpy") as file:
        return str(file.metadata()["schema"])


def assert_same(first: MapEvidence, second: MapEvidence) -> None:
    a, b = dataclasses.asdict(first), dataclasses.asdict(second)
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_equal(a[name], b[name], err_msg=name)
    assert first.totals.dtype == second.totals.dtype


def test_runs_of_probes_are_written_in_schema_1(path: Path) -> None:
    maps = [counts(), counts(8, "mlp", seed=1)]
    save_evidence(maps, path)
    for expected, read in zip(maps, load_evidence(path), strict=True):
        assert_same(read, expected)
    assert list(path.parent.iterdir()) == [path]
    with safe_open(path, framework="numpy") as file:
        assert set(file.keys()) == {
            f"{n}.{name}"
            for n in (0, 1)
            for name in ("units", "groups", "rows", "correct", "validation")
        }
        assert file.get_tensor("0.correct").dtype == np.int64
        metadata = file.metadata()
    assert metadata["schema"] == "1"
    assert json.loads(metadata["maps"])[0] == {
        "feature": "upos",
        "site": "heads",
        "probe": "linear",
        "streams": ["decoder"] * 4,
    }


def test_effects_and_probes_share_a_file_in_schema_2(path: Path) -> None:
    maps = [counts(), effects(), replace(effects(2), reference=None, right=None)]
    save_evidence(maps, path)
    assert schema(path) == "2"
    for expected, read in zip(maps, load_evidence(path), strict=True):
        assert_same(read, expected)


def test_right_rows_of_probes_need_schema_2(path: Path) -> None:
    right = np.random.default_rng(0).random((4, 30)) < 0.5
    save_evidence([replace(counts(), right=RightRows.of(right, rows=np.arange(30)))], path)
    assert schema(path) == "2"
    (read,) = load_evidence(path)
    assert read.right is not None and read.right.bits.shape == (4, 4)
    np.testing.assert_array_equal(read.right.unpacked(), right)


def test_missing_damaged_and_foreign_files_are_refused(path: Path) -> None:
    with pytest.raises(UserError, match="no readable evidence"):
        load_evidence(path)
    save_evidence([counts()], path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="no readable evidence"):
        load_evidence(path)
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(UserError, match="no readable evidence"):
        load_evidence(path)


def test_a_newer_schema_is_refused(path: Path) -> None:
    save_file({"x": np.zeros(3)}, path, metadata={"schema": "3", "maps": "[]"})
    with pytest.raises(UserError, match="schema '3' of evidence; allowed: 1, 2"):
        load_evidence(path)
