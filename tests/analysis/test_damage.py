"""Files of a finished run that were damaged, forged, mixed up or cut short are refused."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probes.analysis.runs import Run, load_run
from probes.core.errors import UserError
from probes.results.banks import save_banks
from probes.results.evidence import save_evidence
from probes.results.record import is_finished, write_record
from probes.results.table import write_results
from probes.statistics.maps import MapEvidence
from probes.sweeps.report import write_sweep_report
from tests.analysis.test_runs import bank
from tests.reporting.synthetic import CLASSES, make_record, make_results

HEADS = [2, 2]
GROUPS, ROWS = 12, 50
FILES = ("results.csv", "run.json", "probes.json", "probes.safetensors", "evidence.safetensors")
Damage = Callable[[Path], object]


def write_run(directory: Path, seed: int = 0) -> Path:
    """A run whose files agree with each other."""
    directory.mkdir()
    rng = np.random.default_rng(seed)
    units = [(layer, head) for layer, count in enumerate(HEADS) for head in range(count)]
    totals = rng.integers(10, ROWS, (len(units), GROUPS))
    table = make_results({"decoder": HEADS}, classes=CLASSES, seed=seed)
    for unit, (layer, head) in enumerate(units):
        of_unit = (table["site"] == "heads") & (table["layer"] == layer) & (table["head"] == head)
        of_test = (table["split"] == "test") & (table["metric"] == "accuracy")
        chosen = of_unit & of_test & (table["probe"] == "linear")
        table.loc[chosen, "value"] = totals[unit].sum() / (GROUPS * ROWS)
    write_results(table, directory / "results.csv")
    kept = MapEvidence(
        feature="upos",
        site="heads",
        probe="linear",
        units=np.array(units, dtype=np.int32),
        streams=("decoder",) * len(units),
        groups=np.arange(GROUPS),
        rows=np.full(GROUPS, ROWS),
        totals=totals,
        validation=rng.random(len(units)),
    )
    save_evidence([kept], directory / "evidence.safetensors")
    record = make_record({"decoder": HEADS})
    base = {"name": record.model.name, "fingerprint": record.model.fingerprint}
    banks = [bank("decoder", layer, n) for layer, n in enumerate(HEADS)]
    banks = [replace(b, tensors={k: v + seed for k, v in b.tensors.items()}) for b in banks]
    save_banks(directory, banks, base)
    write_record(replace(record, rows=6000 + seed), directory / "run.json")
    return directory


@pytest.fixture(scope="session")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("damage") / "run")


@pytest.fixture(scope="session")
def another(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("damage") / "other", seed=1)


@pytest.fixture
def copy(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "run"))


def read_everything(directory: Path) -> Run:
    run = load_run(directory)
    run.map("upos")
    run.probe("upos", 1, 1)
    run.compare(run, "upos", draws=10)
    return run


def without_checksums(directory: Path) -> None:
    """As earlier versions wrote it."""
    path = directory / "run.json"
    content = json.loads(path.read_text())
    del content["digest"], content["files"]
    path.write_text(json.dumps(content))


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def change_cell(directory: Path, column: int, value: str) -> None:
    path = directory / "results.csv"
    lines = path.read_text().splitlines()
    number = next(
        i for i, line in enumerate(lines) if ",heads,linear," in line and ",test,accuracy," in line
    )
    cells = lines[number].split(",")
    cells[column] = value
    path.write_text("\n".join([*lines[:number], ",".join(cells), *lines[number + 1 :]]) + "\n")


def test_intact_files_are_read(copy: Path) -> None:
    assert set(read_everything(copy).record.files) == set(FILES) - {"run.json"}
    without_checksums(copy)
    assert not read_everything(copy).record.files


def test_files_are_readable_by_colleagues(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        run = write_run(tmp_path / "run")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in run.iterdir()} == dict.fromkeys(
        FILES, 0o644
    )


def flips(path: Path) -> Iterator[bytes]:
    content = path.read_bytes()
    for place in range(3, len(content), max(1, len(content) // 12)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 7
        yield bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_refused(copy: Path, name: str) -> None:
    intact = json.loads((copy / "run.json").read_text())
    for changed in flips(copy / name):
        (copy / name).write_bytes(changed)
        if name == "run.json" and _same_json(changed, intact):
            continue  # white space
        with pytest.raises(UserError):
            read_everything(copy)


def _same_json(changed: bytes, content: object) -> bool:
    try:
        return bool(json.loads(changed) == content)
    except ValueError:
        return False


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_refused(copy: Path, intact: Path, name: str, old: bool) -> None:
    content = (intact / name).read_bytes()
    for length in (1, len(content) // 3, len(content) // 2, len(content) - 2):
        shutil.copytree(intact, copy, dirs_exist_ok=True)
        if old and name != "run.json":
            without_checksums(copy)
        (copy / name).write_bytes(content[:length])
        with pytest.raises(UserError):
            read_everything(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_run_is_refused(copy: Path, another: Path, name: str) -> None:
    (copy / name).write_bytes((another / name).read_bytes())
    with pytest.raises(UserError, match="refused"):
        read_everything(copy)


@pytest.mark.parametrize("value", ["1.5", "99999999999999999999", "-1", "one", "123456", "inf"])
@pytest.mark.parametrize("column", [4, 5, 11])
def test_bad_numbers_get_a_message(copy: Path, column: int, value: str) -> None:
    if (column, value) == (11, "123456"):
        value = "123456789"  # rows that the run does not have
    without_checksums(copy)
    change_cell(copy, column, value)
    with pytest.raises(UserError, match=r"results\.csv"):
        load_run(copy)


BAD: dict[str, Damage] = {
    "a value": lambda run: change_cell(run, 8, "0.5000001"),
    "a share above 1": lambda run: change_cell(run, 8, "1.7"),
    "infinity": lambda run: change_cell(run, 9, "inf"),
    "lines": lambda run: (run / "results.csv").write_text(
        "".join((run / "results.csv").read_text().splitlines(keepends=True)[:-60])
    ),
    "heads": lambda run: change(run / "probes.json", "   0,\n    1", "   0,\n    9"),
    "classes": lambda run: change(run / "probes.json", '"ADJ"', '"ADK"'),
    "the model": lambda run: change(run / "probes.json", "all-MiniLM", "all-MiniLN"),
    "counts": lambda run: change(run / "run.json", "[600,", "[-600,"),
    "depth": lambda run: (run / "run.json").write_text('{"a":' + "[" * 50_000),
    "some depth": lambda run: (run / "run.json").write_text('{"a":' + "[" * 200 + "]" * 200 + "}"),
    "NaN": lambda run: change(run / "run.json", "600", "NaN"),
    "1e999": lambda run: change(run / "run.json", "600", "1e999"),
    "depth of probes": lambda run: (run / "probes.json").write_text('{"a":' + "[" * 50_000),
    "a huge number": lambda run: change(run / "run.json", '"layers": [0', f'"layers": [{10**30}'),
}


@pytest.mark.parametrize("damage", list(BAD))
def test_runs_of_earlier_versions_are_looked_through(copy: Path, damage: str) -> None:
    without_checksums(copy)
    BAD[damage](copy)
    with pytest.raises(UserError):
        read_everything(copy)


@pytest.mark.parametrize("content", [b"", b"\0" * 4096])
def test_what_a_power_cut_leaves_is_no_finished_run(copy: Path, content: bytes) -> None:
    assert is_finished(copy)
    (copy / "run.json").write_bytes(content)
    assert not is_finished(copy)
    with pytest.raises(UserError, match="holds no finished run"):
        load_run(copy)


@pytest.mark.parametrize("value", ["1.5", "99999999999999999999"])
@pytest.mark.parametrize("old", [False, True])
def test_one_bad_job_leaves_the_others_their_report(
    copy: Path, intact: Path, tmp_path: Path, value: str, old: bool
) -> None:
    for number, source in enumerate((intact, copy)):
        job = tmp_path / "sweep" / str(number)
        (job / ".hydra").mkdir(parents=True)
        shutil.copytree(source, job, dirs_exist_ok=True)
    if old:
        without_checksums(tmp_path / "sweep" / "1")
    change_cell(tmp_path / "sweep" / "1", 4, value)
    report = write_sweep_report(tmp_path / "sweep")
    assert [job.status for job in report.jobs] == ["finished", "failed"]
    assert "results.csv" in (report.jobs[1].error or "")
    assert report.page.is_file()


def test_no_message_advises_to_delete_what_a_file_names(copy: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    path = copy / "run.json"
    without_checksums(copy)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"caches": {"heads": str(precious)}}))
    with pytest.raises(UserError) as error:
        load_run(copy).cache()
    assert "rm" not in error.value.fix.split() and str(precious) not in error.value.fix
