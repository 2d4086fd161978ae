from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from probes.activations.cache import Cache
from probes.activations.layout import LayerInfo
from probes.analysis.runs import load_run
from probes.core.errors import UserError
from probes.results.banks import save_banks
from probes.results.evidence import save_evidence
from probes.results.record import write_record
from probes.results.table import write_results
from probes.statistics.maps import MapEvidence
from probes.training.bank import ProbeBank
from tests.reporting.synthetic import CLASSES, make_record, make_results

D = 5


def bank(stream: str, layer: int, heads: int, **more: str) -> ProbeBank:
    generator = torch.Generator().manual_seed(layer)
    names = {"feature": "upos", "site": "heads", "probe": "linear"} | more
    return ProbeBank(
        kind="linear",
        classes=tuple(CLASSES),
        stream=stream,
        layer=layer,
        heads=tuple(range(heads)),
        tensors={
            "weight": torch.randn(heads, len(CLASSES), D, generator=generator),
            "bias": torch.randn(heads, len(CLASSES), generator=generator),
        },
        **names,  # type: ignore[arg-type]
    )


def evidence(seed: int, heads: list[tuple[str, int, int]]) -> MapEvidence:
    rng = np.random.default_rng(seed)
    rows = np.full(12, 50)
    return MapEvidence(
        feature="upos",
        site="heads",
        probe="linear",
        units=np.array([unit[1:] for unit in heads], dtype=np.int32),
        streams=tuple(unit[0] for unit in heads),
        groups=np.arange(12),
        rows=rows,
        totals=rng.integers(10, 50, (len(heads), 12)),
        validation=rng.random(len(heads)),
    )


def make_run(directory: Path, streams: dict[str, list[int]], *, seed: int = 0) -> Path:
    directory.mkdir()
    banks = [bank(s, layer, n) for s, counts in streams.items() for layer, n in enumerate(counts)]
    banks += [bank(s, 0, 1, site="residual") for s in streams]
    write_results(make_results(streams, seed=seed), directory / "results.csv")
    save_banks(directory, banks, {"name": "m", "fingerprint": "f"})
    units = [(s, layer, h) for s, counts in streams.items() for layer, n in enumerate(counts)
             for h in range(n)]  # fmt: skip
    save_evidence([evidence(seed, units)], directory / "evidence.safetensors")
    record = make_record(streams)
    write_record(replace(record, config={**record.config, "layers": [0]}), directory / "run.json")
    return directory


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "run", {"decoder": [3, 2]})


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    streams = {"encoder": [2], "decoder": [2, 2], "cross": [2, 2]}
    return make_run(tmp_path_factory.mktemp("runs") / "three", streams)


def test_maps_are_layers_by_heads(directory: Path) -> None:
    run = load_run(directory)
    assert run.features == ["upos"]
    grid = run.map("upos")
    assert grid.shape == (2, 3) and np.isnan(grid.to_numpy()[1, 2])
    own = make_results({"decoder": [3, 2]})
    row = own[(own["layer"] == 1) & (own["head"] == 0) & (own["probe"] == "linear")]
    row = row[(row["split"] == "test") & (row["metric"] == "accuracy")]
    assert grid.loc[1, 0] == pytest.approx(row["value"].item(), rel=1e-7)
    assert run.map("upos", "q_value").loc[1, 0] == pytest.approx(row["q_value"].item(), rel=1e-6)
    assert run.map("upos", split="validation").shape == (2, 3)
    assert run.map("upos", site="residual").columns.tolist() == ["residual"]
    assert run.map("upos", probe="random_init").shape == (2, 3)


def test_top_and_results(directory: Path) -> None:
    run = load_run(directory)
    assert run.top("upos", k=2).shape[0] == 2
    assert run.results["layer"].dtype == "Int64"


def test_probe_is_the_saved_one(directory: Path) -> None:
    probe = load_run(directory).probe("upos", layer=1, head=1)
    saved = bank("decoder", 1, 2)
    np.testing.assert_allclose(probe.coef_, saved.tensors["weight"][1].numpy())
    z = np.random.default_rng(0).normal(size=(20, D)).astype(np.float32)
    expected = saved.logits(torch.tensor(z).expand(2, -1, -1))[1].argmax(dim=-1)
    assert probe.predict(z).tolist() == [CLASSES[c] for c in expected]
    assert probe.classes_.tolist() == CLASSES


def test_probe_of_a_whole_layer_needs_no_head(directory: Path) -> None:
    probe = load_run(directory).probe("upos", layer=0, site="residual")
    assert probe.coef_.shape == (len(CLASSES), D)


def test_several_streams_have_to_be_named(three: Path) -> None:
    run = load_run(three)
    with pytest.raises(UserError, match=r"several streams; allowed: encoder, decoder, cross"):
        run.map("upos")
    assert run.map("upos", stream="cross").shape == (2, 2)
    with pytest.raises(UserError, match="several streams"):
        run.probe("upos", layer=0, head=0)
    assert run.probe("upos", layer=1, head=0, stream="decoder").origin_["stream"] == "decoder"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda run: run.map("upso"), "'upso'.*allowed: upos"),
        (lambda run: run.map("upos", "f1"), "no 'f1' on test.*allowed: accuracy"),
        (lambda run: run.map("upos", site="mlp_output"), "site 'mlp_output' is not in this run"),
        (lambda run: run.map("upos", probe="mlp"), "probe 'mlp' is not in this run"),
        (lambda run: run.map("upos", stream="cross"), "no stream 'cross'; allowed: decoder"),
        (lambda run: run.probe("tense", 0, 0), r"no probe of 'tense'.*allowed: upos \(heads"),
        (lambda run: run.probe("upos", 7, 0), "layer 7 was not probed; allowed: 0, 1"),
        (lambda run: run.probe("upos", 1, 2), "layer 1 has no probed head 2; allowed: 0, 1"),
        (lambda run: run.probe("upos", 1), "site 'heads' has 2 heads in layer 1"),
        (lambda run: run.cache("residual"), "no activations of site 'residual'; allowed: heads"),
        (lambda run: run.cache(), "there is no activation cache at"),
        (lambda run: run.compare(run, "upos", other_probe="mlp"), r"no map of 'upos'.*'mlp'"),
    ],
)
def test_mistakes_are_named(directory: Path, call: object, says: str) -> None:
    with pytest.raises(UserError, match=says):
        call(load_run(directory))  # type: ignore[operator]


def test_cache_shows_the_layers_of_the_run(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, object] = {}

    def remember(path: Path, *, layers: list[int] | None = None) -> list[LayerInfo]:
        opened.update(path=Path(path), layers=layers)
        return []

    monkeypatch.setattr(Cache, "open", staticmethod(remember))
    load_run(directory).cache()
    assert opened == {"path": directory / "../../cache/0123abcd", "layers": [0]}


def test_compare_pairs_the_groups(tmp_path: Path) -> None:
    first = load_run(make_run(tmp_path / "a", {"decoder": [3, 3]}))
    second = load_run(make_run(tmp_path / "b", {"decoder": [3, 3]}, seed=1))
    found = first.compare(second, draws=200)
    assert len(found.difference) == 6 and found.groups == 12
    a, b = evidence(0, found.units), evidence(1, found.units)
    expected = (a.totals.sum(axis=1) - b.totals.sum(axis=1)) / a.rows.sum()
    np.testing.assert_allclose(found.difference, expected)


def test_compare_refuses_other_texts(tmp_path: Path, directory: Path) -> None:
    other = load_run(make_run(tmp_path / "a", {"decoder": [3, 2]}))
    corpus = replace(other.record.corpus, fingerprint="other")
    other = replace(other, record=replace(other.record, corpus=corpus))
    with pytest.raises(UserError, match="different texts, labels or splits"):
        load_run(directory).compare(other, "upos")


def test_directories_without_a_finished_run(tmp_path: Path, directory: Path) -> None:
    with pytest.raises(UserError, match="holds no finished run"):
        load_run(tmp_path)
    with pytest.raises(UserError, match=f"Try {directory}"):
        load_run(directory.parent)


def test_tampered_files_are_refused(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "run", {"decoder": [2]})
    described = json.loads((run_dir / "probes.json").read_text())
    described["banks"][0]["kind"] = "os.system"
    (run_dir / "probes.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match=r"probes.json was refused"):
        load_run(run_dir).probe("upos", 0, 0)
    content = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(content | {"_target_": "os.system"}))
    with pytest.raises(UserError, match="_target_"):
        load_run(run_dir)


def test_results_open_without_torch(directory: Path) -> None:
    code = (
        "import sys; from probes import load_run; "
        f"run = load_run({str(directory)!r}); run.map('upos'); run.top('upos'); "
        "print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_method_that_a_run_does_not_have_is_refused(directory: Path) -> None:
    run = load_run(directory)
    pd.testing.assert_frame_equal(run.map("upos", method="probe"), run.map("upos"))
    with pytest.raises(UserError, match=r"method 'ablation' is not in this run; allowed: probe"):
        run.map("upos", method="ablation")
