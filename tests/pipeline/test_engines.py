"""What several processes cannot share is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from probes.config import GrammarConfig, RunConfig
from probes.config.checks import check
from probes.config.run import EngineConfig
from probes.core.errors import UserError
from probes.passes.shards import Shard
from probes.pipeline.engine import LOCAL
from probes.pipeline.engine_choice import engine_of
from probes.pipeline.identity import result_keys
from probes.pipeline.prepare import prepare

RAY = EngineConfig(name="ray")


@pytest.fixture(autouse=True)
def any_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probes.pipeline.prepare.check_source", lambda model: None)


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return RunConfig(corpus=GrammarConfig(sentences=20), cache_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard": "0/2", "engine": RAY}, "one of them divides the run"),
        ({"shard": "0/2", "disk_budget": "1GB"}, "shard=0/2 and disk_budget=1GB"),
        ({"engine": RAY, "disk_budget": "1GB"}, "engine=ray and disk_budget=1GB"),
        ({"shard": "0/2", "methods": ["attribution"]}, "this one has none"),
        ({"engine": RAY, "methods": ["attribution"]}, "this one has none"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    config: RunConfig, change: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        prepare(replace(config, **change))  # type: ignore[arg-type]
    assert caught.value.fix


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        (EngineConfig(name="dask"), "engine.name"),
        (EngineConfig(cpus=0), "engine.cpus"),
        (EngineConfig(gpus=-1), "engine.gpus"),
        (EngineConfig(memory="much"), "engine.memory"),
    ],
)
def test_impossible_engines_are_refused(config: RunConfig, engine: EngineConfig, key: str) -> None:
    with pytest.raises(UserError, match=f"{key}="):
        check(replace(config, engine=engine))


def test_results_do_not_depend_on_how_a_run_is_divided(config: RunConfig) -> None:
    divided = replace(config, shard="1/4"), replace(config, engine=RAY)
    assert all(result_keys(other) == result_keys(config) for other in divided)
    assert prepare(divided[0]).shard == Shard(1, 4)


def test_without_ray_the_extra_is_named(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with engine_of(prepare(config)) as engine:
        assert engine is LOCAL
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with (
        pytest.raises(UserError, match="needs Ray") as caught,
        engine_of(prepare(replace(config, engine=RAY))),
    ):
        pass
    assert "headprobes[ray]" in caught.value.fix
