"""``python -m probes``: what it prints, draws and writes, and what it says to a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.analysis.runs import load_run
from probes.cli.commands import run_command
from probes.results.evidence import save_evidence
from probes.results.record import write_record
from probes.results.table import write_results
from probes.statistics.maps import MapEvidence
from tests.cli.comparing import answer, mistake
from tests.conftest import PROJECT
from tests.reporting.synthetic import make_record, make_results

SHAPE = {"decoder": [3, 3]}
GROUPS, ROWS = 12, 50


def evidence(
    streams: dict[str, list[int]], feature: str, probe: str, seed: int, *, least: int = 10
) -> MapEvidence:
    units = [(s, layer, h) for s, heads in streams.items() for layer, n in enumerate(heads)
             for h in range(n)]  # fmt: skip
    random = np.random.default_rng(seed)
    return MapEvidence(
        feature=feature,
        site="heads",
        probe=probe,
        units=np.array([unit[1:] for unit in units], dtype=np.int32),
        streams=tuple(unit[0] for unit in units),
        groups=np.arange(GROUPS),
        rows=np.full(GROUPS, ROWS),
        totals=random.integers(least, ROWS, (len(units), GROUPS)),
        validation=random.random(len(units)),
    )


def write_run(
    directory: Path,
    streams: dict[str, list[int]] = SHAPE,
    *,
    features: tuple[str, ...] = ("upos",),
    probe: str = "linear",
    seed: int = 0,
    layers: list[int] | None = None,
    fingerprint: str = "same",
) -> Path:
    """What ``compare`` reads of a run: results, evidence and the record."""
    directory.mkdir()
    write_results(make_results(streams, features=features, probe=probe), directory / "results.csv")
    maps = [evidence(streams, f, p, seed + n, least=10 if p == probe else 0)
            for n, f in enumerate(features) for p in (probe, "random_init")]  # fmt: skip
    save_evidence(maps, directory / "evidence.safetensors")
    record = make_record(streams, features=features)
    record = replace(
        record,
        corpus=replace(record.corpus, fingerprint=fingerprint),
        config={**record.config, "layers": layers},
    )
    write_record(record, directory / "run.json")
    return directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "a", features=("upos", "tense", "number"))
    write_run(folder / "b", features=("tense", "upos"), probe="mlp", seed=5)
    write_run(folder / "deep", {"decoder": [3, 3, 3]})
    write_run(folder / "top", {"decoder": [3]}, layers=[1])
    write_run(folder / "encoder", {"encoder": [3, 2]})
    write_run(folder / "other_feature", features=("deprel",))
    write_run(folder / "other_texts", fingerprint="other")
    (write_run(folder / "no_evidence") / "evidence.safetensors").unlink()
    (folder / "unfinished").mkdir()
    return folder


def test_it_starts_without_heavy_libraries() -> None:
    code = (
        "import sys; from probes.cli.commands import run_command\n"
        "try: run_command(['compare', '--help'])\n"
        "except SystemExit: pass\n"
        "print({'torch', 'pandas', 'numpy', 'matplotlib', 'hydra'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--other-probe" in done.stdout and done.stdout.endswith("set()\n")


def test_the_command_itself(runs: Path) -> None:
    command = [sys.executable, "-m", "probes", "compare"]
    done = subprocess.run([*command, "a", "b"], cwd=runs, capture_output=True, text=True,
                          env={"PYTHONPATH": str(PROJECT), "PATH": ""})  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    bare = subprocess.run([sys.executable, "-m", "probes"], capture_output=True, text=True)
    assert bare.returncode == 2 and "COMMAND" in bare.stderr


def test_every_common_feature_is_shown(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = answer(capsys, runs / "a", runs / "b")
    titles = [line.split(" · ")[:2] for line in text.splitlines() if "probe − " in line]
    assert titles == [[name, "linear probe − MLP probe"] for name in ("upos", "tense")]
    assert text.count("of 6 heads differ") == text.count("Rank correlation") == 2
    assert text.count("By layer, mean of heads:") == 2
    assert "tense" not in answer(capsys, runs / "a", runs / "b", "--feature", "upos")


def test_json_has_the_numbers(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (runs / "a", runs / "b", "--feature", "upos", "--json", "--confidence", 0.9)
    content = json.loads(answer(capsys, *arguments))
    assert content["confidence"] == 0.9 and content["pictures"] == []
    (found,) = content["features"]
    a, b = evidence(SHAPE, "upos", "linear", 0), evidence(SHAPE, "upos", "mlp", 6)
    share = (a.totals.sum(axis=1) - b.totals.sum(axis=1)) / (GROUPS * ROWS)
    shown = {(u["stream"], u["layer"], u["head"]): u["difference"] for u in found["units"]}
    assert shown == pytest.approx(dict(zip(a.keys, share, strict=True)), abs=1e-6)
    assert found["differing"] == sum(u["ci_low"] > 0 or u["ci_high"] < 0 for u in found["units"])
    means = [point["difference"] for point in found["profiles"]["decoder"]]
    assert means == pytest.approx(share.reshape(2, 3).mean(axis=1), abs=1e-5)
    assert (found["first"]["probe"], found["second"]["probe"]) == ("linear", "mlp")
    direct = load_run(runs / "a").compare(load_run(runs / "b"), "upos", confidence=0.9)
    assert direct.rank is not None
    assert found["rank_correlation"]["low"] == pytest.approx(direct.rank.low, abs=1e-5)
    np.testing.assert_allclose([u["ci_low"] for u in found["units"]], direct.interval.low,
                               atol=1e-5)  # fmt: skip


def test_a_run_against_its_random_model(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--other-probe", "random_init", "--feature", "upos")
    text = answer(capsys, runs / "a", runs / "a", *options)
    assert "upos · linear probe − random model" in text
    content = json.loads(answer(capsys, runs / "a", runs / "a", *options, "--json"))
    trained = evidence(SHAPE, "upos", "linear", 0)
    random = evidence(SHAPE, "upos", "random_init", 0, least=0)
    share = (trained.totals - random.totals).sum(axis=1) / (GROUPS * ROWS)
    units = content["features"][0]["units"]
    np.testing.assert_allclose([u["difference"] for u in units], share, atol=1e-6)


def test_models_of_different_depth(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = answer(capsys, runs / "deep", runs / "a", "--png", tmp_path / "d.png")
    assert "By relative depth" in text and "Rank" not in text
    assert {path.name for path in tmp_path.iterdir()} == {"d.png", "d.svg"}


@pytest.mark.parametrize("name", ["new/map.png", "new/map"])
def test_pictures(name: str, runs: Path, tmp_path: Path,
                  capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    text = answer(capsys, runs / "a", runs / "b", "--png", tmp_path / name)
    names = ["map.upos.png", "map.upos.svg", "map.tense.png", "map.tense.svg"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert all(f"picture: {tmp_path / 'new' / one}\n" in text for one in names)
    options = ("--feature", "upos", "--json", "--png", tmp_path / name)
    content = json.loads(answer(capsys, runs / "a", runs / "b", *options))
    assert content["pictures"] == [str(tmp_path / "new" / one) for one in ("map.png", "map.svg")]


def test_an_encoder_and_a_decoder_are_compared_by_depth(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    assert "By relative depth" in answer(capsys, "a", "encoder")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("a nowhere", "nowhere holds no finished run"),
        ("unfinished a", "holds no finished run"),
        ("a b --feature number", "--feature number: not a feature of both runs; allowed: upos, te"),
        ("a b --feature upso", "Try --feature upos"),
        ("a other_feature", "no feature in common: upos, tense, number against deprel"),
        ("deep other_texts", "made on different texts, labels or splits"),
        ("a b --probe mlp", "no map of 'upos' (site 'heads', probe 'mlp'); allowed: upos (heads"),
        ("a a --other-probe x", "probe 'x'"),
        ("a b --site residual", "no map of 'upos' (site 'residual'"),
        ("a no_evidence", "no readable evidence"),
        ("a top", "probed different layers (layers=null against layers=[1])"),
        ("a b --png .", "it is a directory. Try --png map.png"),
        ("a b --png a/run.json/map.png", "--png a/run.json/map.png: a/run.json: File exists"),
    ],
)
def test_mistakes_end_in_one_message(
    arguments: str,
    says: str,
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs)
    assert says in mistake(capsys, *arguments.split())


@pytest.mark.parametrize("confidence", ["0", "1", "95", "nan", "high"])
def test_confidence_is_a_share(confidence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_command(["compare", "a", "b", "--confidence", confidence])
    assert stopped.value.code == 2
    assert "argument --confidence" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("probes.analysis.runs.load_run", lambda path: 1 / 0)
    assert run_command(["compare", str(runs / "a"), str(runs / "b")]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
