"""Checks of the groups of a configuration, each by itself.

The parts of the library that are used by themselves call the check of their own group. Nothing
heavy is imported here. Each raises ``UserError`` for the first mistake it meets.
"""

from __future__ import annotations

import importlib.util
import math
import re

from probes.config.choices import check_choice, check_choices, choices_of
from probes.config.limits import at_least, share
from probes.config.methods import AblationConfig
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
from probes.core.errors import UserError
from probes.core.memory import parse_size

WANDB_TAG, WANDB_NAME, WANDB_FORBIDDEN = 64, 128, "/\\#?%:"
"""Most characters of a tag and of other names of W&B, and what projects must not have in them."""
SITE_KINDS = choices_of(RunConfig, "site")


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
    at_least(1, config, "extraction", "tokens_per_batch")


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
        at_least(1, config, "probe", "max_iterations")
    elif isinstance(config, MLPConfig):
        for name in ("hidden", "epochs", "patience", "batch_size"):
            at_least(1, config, "probe", name)
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
    share("split.validation", config.validation, SplitConfig().validation)
    share("split.test", config.test, SplitConfig().test)
    if config.validation + config.test >= 1:
        raise UserError(
            f"split.validation={config.validation} and split.test={config.test} leave no group "
            "to train on",
            allowed="a sum below 1",
            fix="split.validation=0.15 split.test=0.15",
        )


def check_trainer(config: TrainerConfig) -> None:
    check_choices(config, "trainer.")


def check_engine(config: EngineConfig) -> None:
    check_choices(config, "engine.")
    at_least(1, config, "engine", "cpus")
    if not 0 <= config.gpus < math.inf:
        raise UserError(f"engine.gpus={config.gpus}", allowed="numbers from 0", fix="engine.gpus=1")
    if config.memory is not None:
        parse_size(config.memory, key="engine.memory")


def check_logger(config: LoggerConfig) -> None:
    check_choice("logger", config.name, choices_of(config, "name"))  # as it is chosen
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
    at_least(0, config, "evaluation", "bootstrap")
    share("evaluation.confidence", config.confidence, EvaluationConfig().confidence)


def check_significance(config: SignificanceConfig) -> None:
    at_least(0, config, "significance", "permutations")
    share("significance.level", config.level, SignificanceConfig().level)


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
