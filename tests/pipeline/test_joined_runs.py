"""Jobs of a sweep over layers and features, joined: the bytes of one run of all of them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from probes import load_run
from probes.core.claims import TRY_LATER, AtWork, held
from probes.core.errors import UserError
from probes.core.files import write_atomically
from probes.pipeline.kept_parts import RECORD, KeptParts, join, read_kept
from probes.results.integrity import NO_DIGESTS, sealed
from tests.pipeline.conftest import Small, results_of


@pytest.fixture(scope="module")
def sweep(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four jobs: two layers by two features."""
    directory = tmp_path_factory.mktemp("joined") / "sweep"
    small.commands.run(
        "-m", *small.overrides, f"hydra.sweep.dir={directory}",
        "layers=[0],[1]", "features=[upos],[number]",
    )  # fmt: skip
    return directory


def rewrite(run_dir: Path, **changes: Any) -> None:
    record = replace(read_kept(run_dir), **changes)
    content = sealed(json.loads(json.dumps(asdict(record))), NO_DIGESTS)
    write_atomically(run_dir / "parts" / RECORD, json.dumps(content))


def test_jobs_that_are_joined_are_one_run(small: Small, sweep: Path, tmp_path: Path) -> None:
    together = tmp_path / "together"
    small.run(together, "features=[upos,number]")
    joined = tmp_path / "new" / "joined"
    command = small.commands.run("merge", str(sweep), "--to", str(joined))
    assert "joining 4 runs into" in command.text
    assert results_of(joined) == results_of(together)
    run, other = load_run(joined), load_run(together)
    assert run.features == other.features == ["upos", "number"]
    assert run.record.best == other.record.best and run.record.tests == other.record.tests
    assert run.record.caveats == other.record.caveats
    assert not (joined / "parts").exists()
    again = small.merge(sweep, more=["--to", str(joined)])
    assert again.wait() == 2 and "already holds a finished run" in again.text
    nowhere = small.merge(sweep)
    assert nowhere.wait() == 2 and "Try --to DIRECTORY" in nowhere.text


def test_jobs_alone_are_joined_from_a_cache_of_each(small: Small, tmp_path: Path) -> None:
    """Nothing but the directories is shared: the activations of all layers are extracted."""
    jobs = [tmp_path / "one", tmp_path / "two"]
    for layer, job in enumerate(jobs):
        small.run(job, f"layers=[{layer}]", "keep_parts=true", f"cache_dir={tmp_path / str(layer)}")
    command = small.merge(*jobs, more=["--to", str(tmp_path / "joined")])
    assert command.wait() == 0, command.text
    small.run(tmp_path / "whole")
    assert results_of(tmp_path / "joined") == results_of(tmp_path / "whole")


def test_a_run_that_is_in_no_group_keeps_nothing(small: Small, sweep: Path, tmp_path: Path) -> None:
    small.run(tmp_path / "run", "layers=[0]")
    assert not (tmp_path / "run" / "parts").exists()
    with pytest.raises(UserError, match="keeps no parts") as caught:
        join([sweep / "0", tmp_path / "run"])
    assert "keep_parts=true" in caught.value.fix


def copy(sweep: Path, tmp_path: Path) -> list[Path]:
    target = Path(shutil.copytree(sweep, tmp_path / "sweep"))
    return [target / str(number) for number in range(4)]


def _settings(record: KeptParts, key: str, value: object) -> dict[str, Any]:
    return {**record.identity, "settings": {**record.identity["settings"], key: value}}


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (lambda r: _settings(r, "seed", 7), r"differ in settings.seed \(7 and 0\)"),
        (lambda r: _settings(r, "min_count", 9), r"differ in settings.min_count \(9 and 5\)"),
        (lambda r: {**r.identity, "model": "other"}, r"differ in model \(other and "),
        (lambda r: {**r.identity, "corpus": "other"}, r"differ in corpus \(other and "),
        (lambda r: {**r.identity, "threads": 77}, r"differ in threads \(77 and "),
        (lambda r: {**r.identity, "code": {"a.py:f": "1"}}, r"differ in code.a.py:f \(1 and None"),
    ],
)
def test_jobs_of_other_runs_are_refused(
    sweep: Path, tmp_path: Path, identity: Callable[[KeptParts], dict[str, Any]], message: str
) -> None:
    jobs = copy(sweep, tmp_path)
    rewrite(jobs[3], identity=identity(read_kept(jobs[3])))
    with pytest.raises(UserError, match=message):
        join(jobs)


def test_what_is_missing_or_there_twice_is_refused(sweep: Path, tmp_path: Path) -> None:
    jobs = copy(sweep, tmp_path)
    assert join(jobs).layers == [0, 1] and join(jobs).features == ["upos", "number"]
    assert join([*jobs, jobs[0]]).directories == tuple(jobs)
    with pytest.raises(UserError, match="number in layer 1 is in none of these runs") as caught:
        join(jobs[:3])
    assert "features=[number] layers=[1]" in caught.value.fix
    twice = Path(shutil.copytree(jobs[0], tmp_path / "twice"))
    with pytest.raises(UserError, match="layer 0 of upos is in"):
        join([*jobs, twice])
    (jobs[1] / "run.json").rename(jobs[1] / "run.old")
    with pytest.raises(UserError, match="no finished run"):
        join(jobs)
    with held(jobs[1]), pytest.raises(AtWork, match=f"still running: .*process {os.getpid()}"):
        join(jobs)


def test_damage_is_refused_and_nothing_is_left_as_finished(
    small: Small, sweep: Path, tmp_path: Path
) -> None:
    jobs = copy(sweep, tmp_path)
    record = read_kept(jobs[1])
    for names in (["../x.part"], ["/etc/passwd"], [".hidden"]):
        rewrite(jobs[1], parts=names)
        with pytest.raises(UserError, match="names files of other directories"):
            join(jobs)
        shutil.copy(sweep / "1" / "parts" / RECORD, jobs[1] / "parts" / RECORD)
    to = ["--to", str(tmp_path / "joined")]
    name = next(iter(record.activations))
    rewrite(jobs[1], activations={**record.activations, name: "other"})
    command = small.merge(*jobs, more=to)
    assert command.wait() == 2 and f"other activations ({name})" in command.text, command.text
    rewrite(jobs[1], activations=record.activations)
    part = jobs[1] / "parts" / record.parts[0]
    raw = bytearray(part.read_bytes())
    raw[-1] ^= 1
    part.write_bytes(raw)
    command = small.merge(*jobs, more=to)
    assert command.wait() == 2 and f"{part} was refused" in command.text
    command = small.merge(*jobs, more=[*to, "--set", "seed=3"])
    assert command.wait() == 2 and "differ in settings.seed (0 and 3)" in command.text
    part.unlink()
    command = small.merge(*jobs, more=to)
    assert command.wait() == 2 and "no such file" in command.text
    with held(jobs[0]):
        command = small.merge(*jobs, more=to)
        assert command.wait() == TRY_LATER
    assert not (tmp_path / "joined" / "run.json").exists()
