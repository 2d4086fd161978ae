"""Jobs are composed as Hydra composes them, and quickly."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from probes.config import register
from probes.config.files import config_dir
from probes.sweeps.composition import JobComposer

JOBS = [
    [],
    ["seed=3"],
    ["probe=mlp", "seed=1"],
    ["seed=1", "probe=mlp", "probe.hidden=8"],
    ["probe.l2=[1,2]", "features=[upos,deprel]", "layers=[0,2]"],
    ["corpus=table", "corpus.path=a file.csv", "++corpus.labels.kind=two words"],
    ["model=simplified", "model.checkpoint=20", "hydra.sweep.subdir=abc"],
    ["experiment=smoke", "corpus.sentences=20"],
    ["experiment=atlas", "model=gpt2"],
    ["~logger", "probe=mlp", "seeds=[1]"],
    ["model.name='a=b,c'", "logger=csv", "hydra.verbose=true"],
]


@pytest.fixture
def multirun() -> Iterator[tuple[Hydra, DictConfig]]:
    GlobalHydra.instance().clear()
    register()
    hydra = Hydra.create_main_hydra2("headprobes", create_config_search_path(str(config_dir())))
    config = hydra.compose_config(
        "config", ["min_count=1,2", "hydra.sweep.dir=kept"], run_mode=RunMode.MULTIRUN
    )
    yield hydra, config
    GlobalHydra.instance().clear()


@pytest.mark.parametrize("job", JOBS, ids=" ".join)
def test_a_job_is_what_hydra_makes_of_it(
    multirun: tuple[Hydra, DictConfig], job: list[str]
) -> None:
    hydra, config = multirun
    composer = JobComposer(hydra.config_loader)
    composer.load_sweep_config(config, ["seed=9", *job])  # must leave no trace in the next
    for overrides in (job, ["trainer=cpu", *job], job):
        expected = hydra.config_loader.load_sweep_config(config, overrides)
        composed = composer.load_sweep_config(config, overrides)
        assert OmegaConf.to_container(composed, resolve=False) == OmegaConf.to_container(
            expected, resolve=False
        )
        assert OmegaConf.get_type(composed.probe) is OmegaConf.get_type(expected.probe)
        assert OmegaConf.is_struct(composed) == OmegaConf.is_struct(expected)


@pytest.mark.parametrize("wrong", ["sed=3", "probe=none", "probe.hidden=8", "seed=word"])
def test_mistakes_are_the_same(multirun: tuple[Hydra, DictConfig], wrong: str) -> None:
    hydra, config = multirun
    errors = []
    for loader in (hydra.config_loader, JobComposer(hydra.config_loader)):
        with pytest.raises(HydraException) as caught:
            loader.load_sweep_config(config, [wrong])
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_it_can_be_sent_to_other_processes_and_is_quick(
    multirun: tuple[Hydra, DictConfig],
) -> None:
    hydra, config = multirun
    composer = JobComposer(hydra.config_loader)
    composer.load_sweep_config(config, ["seed=0"])
    there = pickle.loads(pickle.dumps(composer))
    assert there.load_sweep_config(config, ["seed=4"]).seed == 4
    seconds = []
    for loader in (hydra.config_loader, composer):
        begun = time.process_time()
        for seed in range(6):
            assert loader.load_sweep_config(config, [f"seed={seed}"]).seed == seed
        seconds.append(time.process_time() - begun)
    assert seconds[1] < seconds[0] / 2
