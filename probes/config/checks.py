"""Checks of a configuration that need neither the texts nor the model.

Nothing heavy is imported here: a run begins with ``check``, so that such a mistake is reported
at once and not after the model has been run. The parts of the library that are used by themselves
call the check of their own group. Each raises ``UserError`` for the first mistake it meets.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Sequence
from typing import Any

from probes.config.choices import check_choice, check_choices, choices_of
from probes.config.layers import LayerChoice
from probes.config.methods import METHODS, AblationConfig
from probes.config.model import ModelConfig
from probes.config.run import (
    CustomProbeConfig,
    EngineConfig,
    EvaluationConfig,
    ExtractionConfig,
    LinearConfig,
    LoggerConfig,
    MLPConfig,
    PositionConfig,
    ProbeConfig,
    RunConfig,
    SignificanceConfig,
    SplitConfig,
    TrainerConfig,
)
from probes.core.errors import UserError, closest
from probes.core.memory import parse_size

WANDB_TAG, WANDB_NAME, WANDB_FORBIDDEN = 64, 128, "/\\#?%:"
"""Most characters of a tag and of other names of W&B, and what projects must not have in them."""
SITE_KINDS = choices_of(RunConfig, "site")


def check(config: RunConfig) -> None:
    """Refuse values and combinations that no run can have.

    Raises:
        UserError: the first of them.
    """
    check_model(config.model)
    check_position(config.position)
    check_extraction(config.extraction)
    check_choices(config.baseline, "baseline.")
    check_probe(config.probe)
    check_split(config.split)
    check_trainer(config.trainer)
    check_engine(config.engine)
    check_logger(config.logger)
    check_evaluation(config.evaluation)
    check_significance(config.significance)
    check_choices(config)
    check_methods(config)
    check_choices(config.corpus, "corpus.")
    LayerChoice.parse(config.layers)
    for name, seeds in (("seed", [config.seed]), ("split.seed", [config.split.seed]),
                        ("model.random_seed", [config.model.random_seed]),
                        ("corpus.sample_seed", [config.corpus.sample_seed]),
                        ("seeds", config.seeds)):  # fmt: skip
        _check_seeds(name, seeds)
    if config.evaluation.erase is not None and config.split.folds:
        # Each fold would need an eraser of its own: one fitted on all folds has seen the test rows.
        raise UserError(
            f"evaluation.erase={config.evaluation.erase} goes with one split, not with folds",
            fix="split.folds=0",
        )
    if config.until == "extraction" and config.disk_budget is not None:
        raise UserError(
            f"disk_budget={config.disk_budget} drops activations that were fitted, and "
            "until=extraction keeps them for later runs",
            fix="disk_budget=null",
        )
    if config.seeds and isinstance(config.probe, LinearConfig):
        raise UserError(
            f"seeds={config.seeds}: a linear probe has one optimum, whatever the seed",
            fix="probe=mlp, or seeds=[]",
        )


def check_methods(config: RunConfig) -> None:
    """Refuse methods that are none, and options that no method has.

    Raises:
        UserError: the first of them.
    """
    if not config.methods:
        raise UserError(
            "methods=[]: nothing would be done",
            allowed=", ".join(METHODS),
            fix="methods=[probe]",
        )
    for name in config.methods:
        if name not in METHODS:
            raise UserError(
                f"methods=[{','.join(config.methods)}]: no method '{name}'",
                allowed=", ".join(METHODS),
                fix=closest(name, list(METHODS), "methods=[{}]"),
            )
    for group in ("ablation", "patching", "attribution", "steering"):
        check_choices(getattr(config, group), f"{group}.")
    if config.site != "heads" and config.methods != ["probe"]:
        raise UserError(
            f"site={config.site} methods=[{','.join(config.methods)}]: it is heads that are edited",
            fix="site=heads",
        )
    top_of(config.ablation)
    _at_least(1, config.ablation, "ablation", "draws")
    _at_least(0, config.attribution, "attribution", "steps")
    if any(not math.isfinite(strength) for strength in config.steering.strengths):
        raise UserError("steering.strengths has a value that is no number", allowed="numbers")
    if not config.steering.heads or min(config.steering.heads) < 1:
        raise UserError(
            f"steering.heads={list(config.steering.heads)}",
            allowed="numbers of heads of at least 1",
            fix="steering.heads=[1,8,48]",
        )
    _at_least(1, config.steering, "steering", "draws")
    _check_steering(config)


def _check_steering(config: RunConfig) -> None:
    if "steering" not in config.methods:
        return
    if set(config.methods) == {"steering"}:
        raise UserError(
            "methods=[steering]: nothing says which heads are the best, which are steered",
            allowed="steering beside a method that gives every head a number",
            fix="methods=[probe,steering]",
        )
    if config.split.folds:
        # Each fold would have heads of its own: those chosen on all folds were chosen on test rows.
        raise UserError(
            f"methods=[steering] goes with one split, not with split.folds={config.split.folds}: "
            "heads are chosen on validation rows",
            fix="split.folds=0",
        )


def top_of(config: AblationConfig) -> int | None:
    """N of ``ablation.heads=top:N``; None for all heads.

    Raises:
        UserError: for any other word.
    """
    match = re.fullmatch(r"top:([1-9]\d*)", config.heads)
    if config.heads != "all" and match is None:
        raise UserError(
            f"ablation.heads={config.heads}",
            allowed="all, or top:N",
            fix="ablation.heads=all or ablation.heads=top:20",
        )
    return int(match.group(1)) if match else None


def check_model(config: ModelConfig) -> None:
    check_choices(config, "model.")
    if config.device_map is not None and config.random_init:
        raise UserError(
            "model.random_init=true cannot be spread over devices",
            fix="model.device_map=null",
        )
    if config.device_map is not None and importlib.util.find_spec("accelerate") is None:
        raise UserError(
            f"model.device_map={config.device_map} needs the package accelerate",
            fix="pip install accelerate, or model.device_map=null",
        )


def check_site(kind: str) -> None:
    check_choice("site", kind, SITE_KINDS)


def check_position(config: PositionConfig) -> None:
    check_choices(config, "position.")


def check_extraction(config: ExtractionConfig) -> None:
    check_choices(config, "extraction.")
    _at_least(1, config, "extraction", "tokens_per_batch")


def check_probe(config: ProbeConfig) -> None:
    if isinstance(config, LinearConfig):
        l2 = config.l2
        if l2 is not None and (not l2 or any(not 0 <= value < math.inf for value in l2)):
            raise UserError(
                f"probe.l2={list(l2)} is not a list of penalties",
                allowed="finite numbers of at least 0, or null",
                fix="probe.l2=[1,10,100,1000]",
            )
        if not config.tolerance > 0:
            raise UserError(f"probe.tolerance={config.tolerance}", allowed="numbers above 0")
        _at_least(1, config, "probe", "max_iterations")
    elif isinstance(config, MLPConfig):
        for name in ("hidden", "epochs", "patience", "batch_size"):
            _at_least(1, config, "probe", name)
        if not 0 < config.learning_rate < math.inf:
            raise UserError(
                f"probe.learning_rate={config.learning_rate}",
                allowed="numbers above 0",
                fix="probe.learning_rate=0.003",
            )
        if not 0 <= config.weight_decay < math.inf:
            raise UserError(f"probe.weight_decay={config.weight_decay}", allowed="numbers from 0")
    elif not isinstance(config, CustomProbeConfig):
        raise UserError(f"probe={config.name}", allowed="linear, mlp, custom", fix="probe=linear")


def check_split(config: SplitConfig) -> None:
    check_choices(config, "split.")
    if config.folds != 0 and config.folds < 3:
        raise UserError(
            f"split.folds={config.folds}: nested cross-validation trains, chooses and scores on "
            "different folds",
            allowed="0 (one split) or at least 3",
            fix="split.folds=5",
        )
    _share("split.validation", config.validation, SplitConfig().validation)
    _share("split.test", config.test, SplitConfig().test)
    if config.validation + config.test >= 1:
        raise UserError(
            f"split.validation={config.validation} and split.test={config.test} leave no group "
            "to train on",
            allowed="a sum below 1",
            fix="split.validation=0.15 split.test=0.15",
        )


def check_trainer(config: TrainerConfig) -> None:
    allowed = choices_of(config, "accelerator")
    if config.accelerator not in allowed:
        raise UserError(
            f"trainer.accelerator={config.accelerator}",
            allowed=", ".join(allowed),
            fix="trainer=cpu",
        )


def check_engine(config: EngineConfig) -> None:
    check_choices(config, "engine.")
    _at_least(1, config, "engine", "cpus")
    if not 0 <= config.gpus < math.inf:
        raise UserError(f"engine.gpus={config.gpus}", allowed="numbers from 0", fix="engine.gpus=1")
    if config.memory is not None:
        parse_size(config.memory, key="engine.memory")


def check_logger(config: LoggerConfig) -> None:
    names = choices_of(config, "name")
    if config.name not in names:
        raise UserError(
            f"logger.name={config.name}: no such logger",
            allowed=", ".join(names),
            fix=closest(config.name, list(names), "logger={}"),
        )
    check_choices(config, "logger.")
    if config.name == "wandb":
        _check_wandb_names(config)


def _check_wandb_names(config: LoggerConfig) -> None:
    """Names that W&B would refuse when the model has been run already."""
    for tag in config.tags:
        if not 1 <= len(tag) <= WANDB_TAG:
            raise UserError(
                f"logger.tags: '{tag}' has {len(tag)} characters",
                allowed=f"1 to {WANDB_TAG} characters",
                fix=f"logger.tags=[{re.sub(r'[^A-Za-z0-9_.-]+', '-', tag)[:WANDB_TAG] or 'TAG'}]",
            )
    for key, name in (("project", config.project), ("entity", config.entity),
                      ("group", config.group)):  # fmt: skip
        if name is None:
            continue
        if not 1 <= len(name) <= WANDB_NAME:
            raise UserError(
                f"logger.{key} has {len(name)} characters",
                allowed=f"1 to {WANDB_NAME} characters",
                fix=f"logger.{key}={re.sub(r'[^A-Za-z0-9_.-]+', '-', name)[:40] or 'headprobes'}",
            )
        wrong = sorted(set(name) & set(WANDB_FORBIDDEN)) if key != "group" else []
        if wrong:
            raise UserError(
                f"logger.{key}={name}: W&B takes no {' '.join(wrong)} there",
                allowed=f"characters other than {' '.join(WANDB_FORBIDDEN)}",
                fix=f"logger.{key}={re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}",
            )


def check_evaluation(config: EvaluationConfig) -> None:
    _at_least(0, config, "evaluation", "bootstrap")
    _share("evaluation.confidence", config.confidence, EvaluationConfig().confidence)


def check_significance(config: SignificanceConfig) -> None:
    _at_least(0, config, "significance", "permutations")
    _share("significance.level", config.level, SignificanceConfig().level)


def check_atlas(config: RunConfig) -> None:
    """Refuse settings that the runs of an atlas cannot share.

    Raises:
        UserError: the first of them.
    """
    if config.features is not None:
        raise UserError(
            f"features=[{','.join(config.features)}]: the atlas takes its features from the "
            "catalogue",
            fix="atlas.corpora=[CORPUS,...] or atlas.stages=[KR,...], and features=null",
        )
    if config.site != "heads":
        raise UserError(f"site={config.site}: an atlas is about heads", fix="site=heads")
    if config.methods != ["probe"]:
        raise UserError(
            f"methods=[{','.join(config.methods)}]: an atlas is of probes, for not every corpus of "
            "the catalogue has what other methods need",
            fix="methods=[probe]",
        )
    if config.layers is not None:
        raise UserError(
            f"layers={config.layers}: an atlas compares depths, so it needs all layers",
            fix="layers=null",
        )
    if config.evaluation.erase is not None:
        raise UserError(
            f"evaluation.erase={config.evaluation.erase}: not every corpus has this feature",
            fix="evaluation.erase=null",
        )


def _at_least(least: int, config: Any, group: str, name: str) -> None:
    value, usual = getattr(config, name), getattr(type(config)(), name)
    if value < least:
        raise UserError(
            f"{group}.{name}={value}", allowed=f"{least} and more", fix=f"{group}.{name}={usual}"
        )


def _check_seeds(key: str, seeds: Sequence[int]) -> None:
    wrong = [seed for seed in seeds if not 0 <= seed < 2**32]
    if wrong:
        fix = f"{key}=[0]" if key == "seeds" else f"{key}=0"
        raise UserError(f"{key}={wrong[0]}", allowed=f"0 to {2**32 - 1}", fix=fix)


def _share(key: str, value: float, usual: float) -> None:
    if not 0 < value < 1:
        raise UserError(f"{key}={value}", allowed="above 0 and below 1", fix=f"{key}={usual}")
