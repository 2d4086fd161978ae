"""Checks of a whole configuration that need neither the texts nor the model.

Nothing heavy is imported here: a run begins with ``check``, so that such a mistake is reported
at once and not after the model has been run. Each raises ``UserError`` for the first mistake it
meets.
"""

from __future__ import annotations

import math

from probes.config.choices import check_choices
from probes.config.group_checks import (
    check_engine,
    check_evaluation,
    check_extraction,
    check_logger,
    check_model,
    check_position,
    check_probe,
    check_significance,
    check_split,
    check_trainer,
    top_of,
)
from probes.config.layers import LayerChoice
from probes.config.limits import at_least, check_seeds
from probes.config.methods import METHODS
from probes.config.run import LinearConfig, RunConfig
from probes.core.errors import UserError, closest


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
        check_seeds(name, seeds)
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
    at_least(1, config.ablation, "ablation", "draws")
    at_least(0, config.attribution, "attribution", "steps")
    if any(not math.isfinite(strength) for strength in config.steering.strengths):
        raise UserError("steering.strengths has a value that is no number", allowed="numbers")
    if not config.steering.heads or min(config.steering.heads) < 1:
        raise UserError(
            f"steering.heads={list(config.steering.heads)}",
            allowed="numbers of heads of at least 1",
            fix="steering.heads=[1,8,48]",
        )
    at_least(1, config.steering, "steering", "draws")
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
