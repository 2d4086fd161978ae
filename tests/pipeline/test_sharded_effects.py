"""Effects divided over processes that know nothing of each other, and joined: the same bytes."""

from __future__ import annotations

import os
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes import load_run
from probes.cli.job import parse
from probes.cli.overrides import composed
from probes.core.errors import UserError
from probes.interventions.effect_parts import EffectPart, PlannedEffect
from probes.interventions.exact import ExactEffects
from probes.passes.shards import Shard
from probes.pipeline.effect_share import EffectShare
from probes.pipeline.prepare import prepare
from probes.pipeline.run import run_prepared
from probes.pipeline.sharded_fits import gather, read_shard_record, write_shard_record
from tests.pipeline.conftest import Small, results_of

SHARD = "shard_{:03d}_of_002"


@pytest.fixture(scope="module")
def sharded(
    edited_ioi: Small, undisturbed_effects: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two shards, one of which was killed while it edited heads and started again."""
    run_dir = tmp_path_factory.mktemp("sharded") / "run"
    killed = edited_ioi.start(run_dir, "shard=0/2")
    killed.wait_for(run_dir / SHARD.format(0), "parts/ablation*.effect", 3)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL, killed.text
    first = sorted(run_dir.glob(SHARD.format(0) + "/parts/*.effect"))
    untouched = {path: path.stat().st_mtime_ns for path in first}
    text = edited_ioi.run(run_dir, "shard=0/2").text
    assert f"{len(first)} parts of the effects were stored before" in text
    assert {path: path.stat().st_mtime_ns for path in first} == untouched
    edited_ioi.run(run_dir, "shard=1/2")
    return run_dir


def copy(sharded: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sharded, tmp_path / "run"))


def effects(run_dir: Path, shard: int) -> list[str]:
    names = read_shard_record(run_dir / SHARD.format(shard)).parts
    return [name for name in names if name.endswith(".effect")]


def test_shards_of_effects_that_are_joined_are_one_run(
    edited_ioi: Small, undisturbed_effects: Path, sharded: Path, tmp_path: Path
) -> None:
    run_dir = copy(sharded, tmp_path)
    own = [set(effects(run_dir, shard)) for shard in (0, 1)]
    assert all(own) and not own[0] & own[1], "each process has edited parts of its own"
    for method in ("ablation", "patching"):
        counts = [sum(name.startswith(method) for name in of) for of in own]
        assert min(counts) >= 0.3 * sum(counts), (method, counts)
    stored = {path for shard in (0, 1) for path in run_dir.glob(SHARD.format(shard) + "/parts/*")}
    command = edited_ioi.merge(run_dir)
    assert command.wait() == 0, command.text
    assert results_of(run_dir) == results_of(undisturbed_effects)
    run, expected = load_run(run_dir), load_run(undisturbed_effects)
    assert run.record.caveats == expected.record.caveats
    assert run.record.estimates == expected.record.estimates
    assert "processors" not in run.record.environment
    assert not (run_dir / "parts").exists() and all(path.exists() for path in stored)


def test_joining_edits_nothing_again(
    edited_ioi: Small,
    undisturbed_effects: Path,
    sharded: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError("a head was edited")

    monkeypatch.setattr(ExactEffects, "_edited", refuse)
    run_dir = copy(sharded, tmp_path)
    prepared = prepare(parse(composed(edited_ioi.overrides)).run_config())
    run_prepared(prepared, run_dir, gather([run_dir]))
    assert results_of(run_dir) == results_of(undisturbed_effects)


def test_effects_that_are_missing_foreign_or_there_twice_are_refused(
    edited_ioi: Small, sharded: Path, tmp_path: Path
) -> None:
    run_dir = copy(sharded, tmp_path)
    first, second = (run_dir / SHARD.format(shard) for shard in (0, 1))
    name = effects(run_dir, 1)[0]
    path = second / "parts" / name
    raw = path.read_bytes()
    path.unlink()
    with pytest.raises(UserError, match="no such file") as caught:
        gather([run_dir])
    assert name in caught.value.wrong and "shard=1/2" in caught.value.fix
    shutil.rmtree(second)
    with pytest.raises(UserError, match="shard 1 of 2 is not finished"):
        gather([run_dir])
    shutil.copytree(sharded / SHARD.format(1), second)
    record = read_shard_record(second)
    write_shard_record(replace(record, parts=[*record.parts, effects(run_dir, 0)[0]]), second)
    with pytest.raises(UserError, match=r"is in .*shard_000_of_002, too"):
        gather([run_dir])
    write_shard_record(replace(record, parts=[n for n in record.parts if n != name]), second)
    with pytest.raises(UserError, match="1 parts are in no shard"):
        gather([run_dir])
    write_shard_record(record, second)
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    command = edited_ioi.merge(run_dir)
    assert command.wait() == 2 and f"{path} was refused" in command.text, command.text
    path.write_bytes(raw)
    record = read_shard_record(first)
    of_other_seed = {**record.identity["settings"], "seed": 7}
    write_shard_record(
        replace(record, identity={**record.identity, "settings": of_other_seed}), first
    )
    with pytest.raises(UserError, match=r"differ in settings.seed"):
        gather([run_dir])


@pytest.mark.parametrize(
    ("more", "by_shards"),
    [
        (("methods=[probe,ablation,steering]", "ablation.heads=top:1"), False),
        (("methods=[ablation]", "ablation.heads=top:1"), True),
    ],
)
def test_heads_are_chosen_where_all_that_they_follow_from_is_there(
    edited_ioi: Small, tmp_path: Path, more: tuple[str, ...], by_shards: bool
) -> None:
    """By probes: where the shards are joined. By estimates alone: in each shard."""
    more = (*more, "steering.towards=Jack", "steering.heads=[1,3]", "steering.strengths=[-4,4]")
    edited_ioi.run(tmp_path / "whole", *more)
    for shard in ("0/2", "1/2"):
        text = edited_ioi.run(tmp_path / "run", *more, f"shard={shard}").text
        assert ("so that merge ablates" in text) != by_shards
    assert all(bool(effects(tmp_path / "run", n)) == by_shards for n in (0, 1))
    command = edited_ioi.merge(tmp_path / "run")
    assert command.wait() == 0, command.text
    assert results_of(tmp_path / "run") == results_of(tmp_path / "whole")


def test_what_the_last_layers_probe_decodes_is_shared_too(
    edited_ioi: Small, tmp_path: Path
) -> None:
    more = ("methods=[ablation]", "measure=downstream", "corpus=grammar", "corpus.sentences=80",
            "features=[upos]", "ablation.heads=top:2")  # fmt: skip
    kept = [word for word in edited_ioi.overrides if not word.startswith(("corpus", "features"))]
    small = Small(edited_ioi.commands, kept)
    small.run(tmp_path / "whole", *more)
    for shard in ("0/3", "1/3", "2/3"):
        small.run(tmp_path / "run", *more, f"shard={shard}")
    command = small.merge(tmp_path / "run")
    assert command.wait() == 0, command.text
    assert results_of(tmp_path / "run") == results_of(tmp_path / "whole")


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60), st.integers(1, 9))
def test_every_part_of_the_effects_is_in_one_share(costs: list[int], count: int) -> None:
    plan = [PlannedEffect(EffectPart("ablation", "f", layer=n), c) for n, c in enumerate(costs)]
    shares = [EffectShare(Shard(index, count)) for index in range(count)]
    for share in shares:
        share.add(plan)
    assert [part for share in shares for part in share.own] == [each.part for each in plan]
    cost = {each.part: each.cost for each in plan}
    for share in shares:
        assert list(share.plan) == [each.part for each in plan]
        mean = sum(costs) / count
        assert abs(sum(cost[part] for part in share.own) - mean) <= max(costs)
        assert sum(share.has(each.part) for each in plan) == len(share.own)


def test_a_share_without_the_memory_for_its_batches_is_refused() -> None:
    share = EffectShare(Shard(0, 2))
    part = EffectPart("ablation", "f", edit="mean", position=0, count=8)
    share.add([PlannedEffect(part, 1), PlannedEffect(replace(part, layer=1), 1)])
    assert share.has(part) and not share.has(replace(part, layer=1))
    with pytest.raises(UserError, match=re.escape("memory runs out on ablation (mean)")) as caught:
        share.has(replace(part, count=4))
    assert "extraction.tokens_per_batch" in caught.value.fix
