"""The documentation is right: commands compose, links lead somewhere, the README stays short."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from probes.cli import commands as cli
from probes.cli.commands import VERBS
from probes.cli.job import parse
from probes.config import register
from probes.config.checks import check
from probes.config.files import config_dir
from tests.documented_commands import Command, config_commands, distinct, page_commands

PROJECT = Path(__file__).resolve().parent.parent
COMMANDS = distinct(page_commands(PROJECT) + config_commands(config_dir()))
OURS = [c for c in COMMANDS if c.program != "python -m benchmarks."]
RUNS = [c for c in OURS if c.arguments[:1] not in [(name,) for name in (*VERBS, "--version")]]


def jobs(overrides: list[str]) -> list[list[str]]:
    """The first and the last job of a sweep, as Hydra's own sweeper splits it."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    return [list(batch[0]), list(batch[-1])]


def composed(overrides: list[str]) -> None:
    """Compose and check what a run would, with values in the place of mandatory ones."""
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("config", overrides=overrides)
    with open_dict(cfg):
        for key in OmegaConf.missing_keys(cfg):
            OmegaConf.update(cfg, str(key), "given")
    check(parse(cfg))


@pytest.mark.parametrize("command", RUNS, ids=str)
def test_every_documented_run_composes(command: Command) -> None:
    arguments = [a for a in command.arguments if not a.startswith("--")]
    if arguments and arguments[0] in cli.RUNS:
        arguments[:1] = cli.RUNS[arguments[0]].overrides
    overrides = [a for a in arguments if a != "-m"]
    for job in jobs(overrides) if "-m" in arguments else [overrides]:
        composed(job)


@pytest.mark.parametrize("command", [c for c in OURS if c not in RUNS], ids=str)
def test_every_documented_verb_takes_its_arguments(command: Command) -> None:
    name, *arguments = command.arguments
    if name != "--version":
        parser = argparse.ArgumentParser()
        importlib.import_module(VERBS[name].module).add_arguments(parser)
        parser.parse_args(arguments)


def test_there_are_commands_in_pages_and_configs() -> None:
    assert len([c for c in RUNS if c.where.startswith("README.md")]) > 12
    assert len([c for c in RUNS if c.where.startswith("conf")]) > 20


@pytest.mark.parametrize(
    "command", [c for c in COMMANDS if c.program == "python -m benchmarks."], ids=str
)
def test_every_documented_benchmark_exists(command: Command) -> None:
    assert importlib.util.find_spec(f"benchmarks.{command.arguments[0]}")


def test_the_readme_has_at_most_200_lines() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_links_outside_the_built_pages_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" not in link:
            file, _, anchor = link.partition("#")
            target = (PROJECT / page).parent / file
            assert target.exists(), link
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.M)
                assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, link
