"""A run divided over processes that know nothing of each other, and joined: the same bytes."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from probes import load_run
from probes.core.claims import TRY_LATER, AtWork, held
from probes.core.errors import UserError
from probes.pipeline.sharded_fits import gather, read_shard_record, write_shard_record
from tests.pipeline.conftest import Small, results_of


@pytest.fixture(scope="module")
def sharded(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards, made by two processes at once with a cache of their own; one is killed while it
    fits and started again."""
    directory = tmp_path_factory.mktemp("sharded")
    run_dir, cache = directory / "run", f"cache_dir={directory / 'cache'}"
    killed = small.start(run_dir, cache, "shard=0/2")
    other = small.start(run_dir, cache, "shard=env", RANK="1", WORLD_SIZE="2")
    killed.wait_for(run_dir / "shard_000_of_002", "parts/*.part")
    os.kill(killed.pid, signal.SIGKILL)
    again = killed.wait()
    assert again == -signal.SIGKILL, killed.text
    small.run(run_dir, cache, "shard=0/2")
    assert other.wait() == 0, other.text
    return run_dir


def copy(sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "run"))


def test_shards_that_are_joined_are_one_run(
    small: Small, sharded: Path, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    run_dir = copy(sharded, tmp_path)
    own = [set(read_shard_record(path).parts) for path in sorted(run_dir.glob("shard_*"))]
    assert all(own) and not own[0] & own[1], "each process has fitted parts of its own"
    command = small.merge(run_dir)
    assert command.wait() == 0, command.text
    assert results_of(run_dir) == undisturbed
    run = load_run(run_dir)
    assert run.record.config["shard"] is None
    assert "processors" not in run.record.environment
    assert not (run_dir / "parts").exists()
    again = small.merge(run_dir)
    assert again.wait() == 2 and "already holds a finished run" in again.text
    more = small.start(run_dir, "shard=0/2")
    assert more.wait() == 2 and "already holds a finished run" in more.text


def test_what_is_missing_foreign_or_there_twice_is_refused(sharded: Path, tmp_path: Path) -> None:
    first, second = sorted(sharded.glob("shard_*"))
    with pytest.raises(UserError, match="no shard of a run is finished there"):
        gather([tmp_path])
    with pytest.raises(UserError, match="shard 1 of 2 is not finished") as caught:
        gather([first])
    assert "shard=1/2" in caught.value.fix
    twice = Path(shutil.copytree(first, tmp_path / "twice"))
    with pytest.raises(UserError, match="shard 0 of 2 occurs twice"):
        gather([sharded, twice])
    foreign = Path(shutil.copytree(second, tmp_path / "foreign"))
    record = read_shard_record(foreign)
    for key, value in (("threads", 77), ("settings", {**record.identity["settings"], "seed": 7})):
        write_shard_record(replace(record, identity={**record.identity, key: value}), foreign)
        with pytest.raises(UserError, match=r"differ in (threads|settings.seed) \(7"):
            gather([first, foreign])
    write_shard_record(replace(record, count=3), foreign)
    with pytest.raises(UserError, match="one of 3 shards"):
        gather([first, foreign])
    assert gather([second, first]).directories == (first, second)


def test_shards_that_still_run_are_waited_for(small: Small, sharded: Path, tmp_path: Path) -> None:
    run_dir = copy(sharded, tmp_path)
    first, second = sorted(run_dir.glob("shard_*"))
    (second / "shard.json").unlink()
    with held(second):
        for given in ([run_dir], [first, second]):
            with pytest.raises(
                AtWork, match=rf"still running: {second} \(process {os.getpid()} on"
            ):
                gather(given)
        (first / "shard.json").unlink()
        with held(first), pytest.raises(AtWork, match=r"still running: .*shard_000.*shard_001"):
            gather([run_dir])
        command = small.merge(run_dir)
        assert command.wait() == TRY_LATER, command.text
        assert "the same command when they have ended" in command.text
    with pytest.raises(UserError, match="no shard of a run is finished there"):
        gather([run_dir])


def test_a_shard_without_its_files_is_refused(sharded: Path, tmp_path: Path) -> None:
    run_dir = copy(sharded, tmp_path)
    path = run_dir / "shard_001_of_002"
    record = read_shard_record(path)
    with pytest.raises(UserError, match="parts are in no shard"):
        write_shard_record(replace(record, parts=record.parts[1:]), path)
        gather([run_dir])
    for names in (["../../x.part"], ["/etc/passwd"]):
        write_shard_record(replace(record, parts=names, plan=names), path)
        with pytest.raises(UserError, match="names files of other directories"):
            gather([run_dir])
    write_shard_record(record, path)
    (path / "parts" / record.parts[0]).unlink()
    with pytest.raises(UserError, match="no such file") as caught:
        gather([run_dir])
    assert "shard=1/2" in caught.value.fix
    text = (path / "shard.json").read_text()
    (path / "shard.json").write_text(text.replace('"index": 1', '"index": 0'))
    with pytest.raises(UserError, match="differs from its checksum"):
        gather([run_dir])


def test_a_damaged_part_is_refused_and_nothing_is_left_as_finished(
    small: Small, sharded: Path, tmp_path: Path
) -> None:
    run_dir = copy(sharded, tmp_path)
    part = sorted(run_dir.glob("shard_001_of_002/parts/*.part"))[0]
    raw = bytearray(part.read_bytes())
    raw[-1] ^= 1
    part.write_bytes(raw)
    command = small.merge(run_dir)
    assert command.wait() == 2 and f"{part} was refused" in command.text
    assert not (run_dir / "run.json").exists()


def test_shards_are_joined_with_their_own_activations_only(
    small: Small, sharded: Path, tmp_path: Path
) -> None:
    run_dir = copy(sharded, tmp_path)
    command = small.merge(run_dir, more=["--set", f"cache_dir={tmp_path / 'empty'}"])
    assert command.wait() == 2 and "does not have the activations" in command.text
    command = small.merge(run_dir, more=["--set", "seed=3"])
    assert command.wait() == 2 and "differ in settings.seed (0 and 3)" in command.text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-m"], "not with a sweep"),
        (["experiment=atlas"], "atlas"),
        (["shard=2/2"], "0/N to N-1/N"),
    ],
)
def test_shards_of_what_is_no_single_run_are_refused(
    small: Small, tmp_path: Path, more: list[str], message: str
) -> None:
    if more == ["-m"]:
        sweep = ["-m", *small.overrides, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
        command = small.commands.start(*sweep, "shard=0/2", "seed=1,2")
    else:
        command = small.start(tmp_path / "run", "shard=0/2", *more)
    assert command.wait() == 2 and message in command.text, command.text
