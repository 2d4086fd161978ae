"""Names, groups and ids, within what W&B takes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from probes.reporting.tracking.names import (
    ID_FILE,
    artifact_name,
    collection_name,
    job_type,
    limited,
    run_id,
    run_name,
)
from probes.reporting.tracking.sweep_of_run import SweepOfRun
from tests.reporting.tracking.conftest import described

ALONE = SweepOfRun()
ODD = ["a/b:c", "x" * 300, "日本語", "two words", "..", "-", ""]


def job(directory: Path, hydra: str, config: str = "{}", overrides: str = "[]") -> Path:
    configs = directory / ".hydra"
    configs.mkdir(parents=True)
    (configs / "hydra.yaml").write_text(hydra)
    (configs / "config.yaml").write_text(config)
    (configs / "overrides.yaml").write_text(overrides)
    return directory


def test_names_say_model_corpus_features_and_means() -> None:
    run = described(Path("r"), features=("upos", "tense"), methods=("probe", "ablation"))
    assert run_name(run, ALONE) == "gpt2 ud upos,tense linear+ablation"
    many = described(Path("r"), features=tuple("abcdef"))
    assert run_name(many, ALONE) == "gpt2 ud a,b,c+3 linear"


def test_a_job_is_named_by_what_else_it_sets(tmp_path: Path) -> None:
    given = "hydra: {overrides: {task: ['seed=1,2', 'probe.l2=[1]', 'min_count=3']}}"
    (tmp_path / "multirun.yaml").write_text(given)
    lines = ["model=gpt2", "+corpus=ud", "seed=2", "probe.l2=[1]", "logger.mode=offline",
             "hydra.sweep.dir=x", "features=[upos]", "~debug", "split.seed=4"]  # fmt: skip
    sweep = SweepOfRun.of(
        job(tmp_path / "0", "hydra: {mode: MULTIRUN}", overrides=json.dumps(lines))
    )
    assert run_name(described(tmp_path), sweep) == "gpt2 ud upos linear seed=2 split.seed=4"


@pytest.mark.parametrize("word", ODD)
def test_names_are_within_the_limits(word: str) -> None:
    run = described(Path("r"), model=f"m{word}", corpus=f"c{word}", features=(f"f{word}", "g"))
    assert 1 <= len(run_name(run, ALONE)) <= 128
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", collection_name(run))


def test_long_names_that_begin_alike_stay_different() -> None:
    first, second = (limited("x" * 200 + end) for end in "ab")
    assert first != second and len(first) == 128
    assert artifact_name("y" * 200, "a") != artifact_name("y" * 200, "b")


def test_the_collection_is_that_of_the_question() -> None:
    run = described(Path("r"))
    assert collection_name(run) == "probes-gpt2-ud-upos-linear"
    again = described(Path("elsewhere"), identity="f" * 16, config={"seed": 4})
    assert collection_name(again) == collection_name(run), "another version of it"
    for change in ({"model": "bert"}, {"corpus": "bio"}, {"features": ("tense",)},
                   {"probe": "mlp"}, {"site": "residual"}):  # fmt: skip
        assert collection_name(described(Path("r"), **change)) != collection_name(run)


@pytest.mark.parametrize(
    ("methods", "kind"),
    [(("probe",), "probe"), (("ablation", "patching"), "interventions"),
     (("probe", "ablation"), "probe-and-interventions")],
)  # fmt: skip
def test_job_types(methods: tuple[str, ...], kind: str) -> None:
    run = described(Path("r"), methods=methods)
    assert job_type(run, ALONE) == kind
    assert job_type(run, SweepOfRun(of_atlas=True)) == "atlas"


def test_groups_of_sweeps(tmp_path: Path) -> None:
    many = "hydra: {mode: MULTIRUN, sweep: {dir: %s}}"
    named = job(tmp_path / "named" / "ab12", many % "x", "sweep: night")
    assert SweepOfRun.of(named).group == "night"
    asked = tmp_path / "here" / "runs"
    flat, deep = job(asked / "0", many % asked), job(asked / "a" / "b", many % asked)
    assert SweepOfRun.of(flat).group == SweepOfRun.of(deep).group
    other = tmp_path / "there" / "runs"
    assert SweepOfRun.of(job(other / "0", many % other)).group != SweepOfRun.of(flat).group
    single = job(tmp_path / "single", "hydra: {mode: RUN}", "sweep: null")
    assert SweepOfRun.of(single) == SweepOfRun.of(tmp_path / "nothing") == ALONE


def test_parts_of_an_atlas_share_a_group(tmp_path: Path) -> None:
    atlas = job(tmp_path / "2026-11-20" / "10-00-00", "hydra: {mode: RUN}", "atlas: {folds: 5}")
    part = SweepOfRun.of(atlas / "corpora" / "ud")
    assert part.of_atlas and part.group == "atlas 2026-11-20 10-00-00"


@pytest.mark.parametrize(
    "content", ["hydra: [", "- 1", "hydra: 3", "\0", "hydra: {mode: MULTIRUN, sweep: 3}"]
)
def test_damaged_files_of_hydra_give_a_name_all_the_same(tmp_path: Path, content: str) -> None:
    assert SweepOfRun.of(job(tmp_path / "j", content, "sweep: [", "{a: 1}")).overrides == ()


def test_ids_follow_job_and_directory(tmp_path: Path) -> None:
    here, there = described(tmp_path / "a"), described(tmp_path / "b")
    first = run_id(here)
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert run_id(here) == first != run_id(there)
    assert run_id(described(tmp_path / "a", identity="f" * 16)) != first


def test_a_moved_directory_keeps_its_id(tmp_path: Path) -> None:
    first = run_id(described(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "moved")
    assert run_id(described(tmp_path / "moved")) == first


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"identity": "0123456789abcdef", "id": "../../x"}', "\0" * 40]
)
def test_a_damaged_file_of_the_id_is_replaced(tmp_path: Path, content: str) -> None:
    run = described(tmp_path / "a")
    first = run_id(run)
    (tmp_path / "a" / "wandb" / ID_FILE).write_text(content)
    assert run_id(run) == first
