"""Configurations that no run can have are refused before anything is imported for them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from typing import Any

import pytest

from probes.activations.dtypes import AUTO, DTYPES
from probes.config import (
    EvaluationConfig,
    ExtractionConfig,
    GrammarConfig,
    LinearConfig,
    LoggerConfig,
    MLPConfig,
    ModelConfig,
    PositionConfig,
    ProbeConfig,
    RunConfig,
    SignificanceConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.config.checks import check
from probes.config.choices import choices_of
from probes.core.errors import UserError
from probes.core.process import heavy_imports

BAD = [
    ({"site": "head"}, "site=head; .*Try site=heads"),
    ({"position": PositionConfig(word="last")}, "position.word=last; .*Try position.word=last_"),
    ({"position": PositionConfig(text="first")}, "position.text=first"),
    ({"extraction": ExtractionConfig(dtype="float8")}, "extraction.dtype=float8; .*bfloat16"),
    ({"extraction": ExtractionConfig(tokens_per_batch=0)}, "tokens_per_batch=0.*1 and more"),
    ({"model": ModelConfig(dtype="half")}, "model.dtype=half; .*float16"),
    ({"model": ModelConfig(bos="yes")}, "model.bos=yes; .*always"),
    ({"model": ModelConfig(device_map="auto", random_init=True)}, "model.device_map=null"),
    ({"probe": ProbeConfig(name="knn")}, "probe=knn; allowed: linear, mlp"),
    ({"probe": LinearConfig(l2=[])}, "probe.l2="),
    ({"probe": LinearConfig(l2=[-1.0])}, "probe.l2="),
    ({"probe": LinearConfig(l2=[float("nan")])}, "probe.l2="),
    ({"probe": LinearConfig(l2=[float("inf")])}, "probe.l2="),
    ({"probe": LinearConfig(tolerance=0.0)}, "probe.tolerance="),
    ({"probe": LinearConfig(max_iterations=0)}, "probe.max_iterations=0.*=500"),
    ({"probe": MLPConfig(hidden=0)}, "probe.hidden=0.*=64"),
    ({"probe": MLPConfig(epochs=0)}, "probe.epochs="),
    ({"probe": MLPConfig(patience=0)}, "probe.patience="),
    ({"probe": MLPConfig(batch_size=0)}, "probe.batch_size="),
    ({"probe": MLPConfig(learning_rate=0.0)}, "probe.learning_rate="),
    ({"probe": MLPConfig(learning_rate=float("nan"))}, "probe.learning_rate="),
    ({"probe": MLPConfig(weight_decay=-1.0)}, "probe.weight_decay="),
    ({"seeds": [1, 2]}, "seeds=.*probe=mlp"),
    ({"seed": -1}, "seed=-1; allowed: 0 to .*Try seed=0"),
    ({"split": SplitConfig(seed=-5)}, "split.seed=-5"),
    ({"model": ModelConfig(random_seed=2**32)}, "model.random_seed="),
    ({"corpus": GrammarConfig(sample_seed=-1)}, "corpus.sample_seed=-1; allowed: 0 to .*=0"),
    ({"probe": MLPConfig(), "seeds": [1, -1]}, "seeds=-1; .*Try seeds="),
    ({"logger": LoggerConfig("wandb", tags=["x" * 76])}, "has 76 characters; allowed: 1 to 64"),
    ({"logger": LoggerConfig("wandb", tags=[""])}, "has 0 characters"),
    ({"logger": LoggerConfig("wandb", project="a/b")}, "logger.project=a/b: .*project=a-b"),
    ({"logger": LoggerConfig("wandb", project="p" * 129)}, "logger.project has 129 characters"),
    ({"logger": LoggerConfig("wandb", group="g" * 200)}, "logger.group has 200 characters"),
    ({"split": SplitConfig(source="mine")}, "split.source=mine; allowed: auto, shipped, group"),
    ({"split": SplitConfig(validation=0.0)}, "split.validation=0.0.*=0.15"),
    ({"split": SplitConfig(validation=0.6, test=0.5)}, "no group to train on"),
    ({"split": SplitConfig(folds=2)}, "split.folds=2.*at least 3"),
    ({"split": SplitConfig(folds=-1)}, "split.folds=-1"),
    (
        {"trainer": TrainerConfig(accelerator="tpu")},
        "trainer.accelerator=tpu; allowed: auto, cpu, gpu",
    ),
    ({"logger": LoggerConfig(name="mlflow")}, "logger=mlflow; allowed: .*wandb"),
    ({"logger": LoggerConfig(mode="ofline")}, "logger.mode=ofline; .*Try logger.mode=offline"),
    ({"evaluation": EvaluationConfig(bootstrap=-1)}, "evaluation.bootstrap=-1; allowed: 0 and"),
    ({"evaluation": EvaluationConfig(confidence=95.0)}, "evaluation.confidence=95.0.*=0.95"),
    ({"significance": SignificanceConfig(permutations=-1)}, "significance.permutations=-1"),
    ({"significance": SignificanceConfig(level=5.0)}, "significance.level=5.0.*=0.05"),
    ({"significance": SignificanceConfig(level=float("nan"))}, "significance.level=nan"),
    (
        {"evaluation": EvaluationConfig(erase="upos"), "split": SplitConfig(folds=5)},
        "evaluation.erase=upos.*split.folds=0",
    ),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message for _, message in BAD])
def test_what_no_run_can_have_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.").replace(r"\.*", ".*")):
        check(replace(RunConfig(), **change))


def test_defaults_and_other_good_values_pass() -> None:
    check(RunConfig())
    check(RunConfig(probe=MLPConfig(), seeds=[1, 2], split=SplitConfig(folds=3)))
    check(RunConfig(probe=LinearConfig(l2=[0.0]), evaluation=EvaluationConfig(bootstrap=0)))


def test_a_device_map_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=re.escape("pip install accelerate")):
        check(RunConfig(model=ModelConfig(device_map="auto")))


def test_stored_dtypes_are_those_of_the_cache() -> None:
    assert set(choices_of(ExtractionConfig, "dtype")) == {*DTYPES, AUTO}


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_only_while_heavy_libraries_are_imported(enabled: bool) -> None:
    import gc

    before = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ImportError), heavy_imports():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_what_heavy_imports_bring_is_set_aside_once() -> None:
    script = """
        import gc
        from probes.core.process import heavy_imports
        with heavy_imports():
            import torch
        frozen = gc.get_freeze_count()
        kept = [[] for _ in range(100)]
        with heavy_imports():
            import torch
        print(frozen > 100_000, gc.get_freeze_count() == frozen, gc.isenabled())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["True", "True", "True"]
