"""Every file of conf/ composes into the typed configuration."""

from __future__ import annotations

import copy
import pickle
import re

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from probes.cli import commands as cli
from probes.cli.job import parse
from probes.config import RunConfig, register
from probes.config.checks import check
from probes.config.files import config_dir
from probes.core.errors import UserError

GROUPS = ("corpus", "model", "probe", "trainer", "logger", "experiment", "debug")
CHOICES = [
    (group, file.stem) for group in GROUPS for file in sorted((config_dir() / group).glob("*.yaml"))
]


def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides=list(overrides))


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda part: str(part))
def test_every_choice_composes(group: str, choice: str) -> None:
    cfg = composed(f"{group}={choice}")
    with open_dict(cfg):
        for key in OmegaConf.missing_keys(cfg):
            OmegaConf.update(cfg, str(key), "given")
    config = parse(cfg)
    assert isinstance(config, RunConfig)
    check(config)
    assert OmegaConf.is_config(config) is False
    assert not OmegaConf.is_config(config.corpus)


def test_every_group_has_choices() -> None:
    assert {group for group, _ in CHOICES} == set(GROUPS)


def test_a_missing_mandatory_key_is_named() -> None:
    with pytest.raises(UserError, match=r"corpus\.path=\.\.\."):
        parse(composed("corpus=ud"))


def test_schemas_are_not_copied_with_the_store_and_stay_as_they_are() -> None:
    """Hydra copies its store for every group that ``--help`` lists: two seconds of ours."""
    register()
    store = ConfigStore.instance()
    assert copy.deepcopy(store) is store
    assert list(pickle.loads(pickle.dumps(store)).repo) == list(store.repo)  # launchers do
    first = store.load("schema/probe/linear.yaml").node
    first.tolerance = 0.5
    assert store.load("schema/probe/linear.yaml").node.tolerance != 0.5


def test_help_lists_every_choice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.setattr("sys.argv", ["train.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        cli.run_command()
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert re.search(r"^site: heads, residual, ", shown, re.MULTILINE)
    assert "headprobes compare RUN RUN" in shown
    for group, choice in CHOICES:
        assert re.search(rf"^{group}: .*\b{choice}\b", shown, re.MULTILINE), (group, choice)
