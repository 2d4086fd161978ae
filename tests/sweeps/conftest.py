"""A sweep on disk whose jobs are finished, failed, unfinished and damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import commands
from tests.sweeps.written import HOSTILE, add_job, finish
from tests.tiny_handles import llama_directory

__all__ = ["commands", "llama_directory"]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Jobs 0, 1, 10 finished; 2 failed; 3 never wrote anything; 4 is damaged."""
    sweep = tmp_path / "2026-11-20" / "10-00-00"
    for number, feature, probe in ((0, "upos", "linear"), (1, "upos", "mlp"), (10, "tense", "mlp")):
        finish(
            add_job(sweep, number, [f"probe={probe}", f"features=[{feature}]", "logger=wandb"]),
            feature,
            probe,
        )
    failed = add_job(sweep, 2, ["probe=linear", f"features=[{HOSTILE}]", "logger=wandb"])
    (failed / "error.json").write_text(json.dumps({"error": f"no {HOSTILE}", "kind": "UserError"}))
    add_job(sweep, 3, ["probe=linear", "features=[tense]", "logger=wandb"])
    damaged = add_job(sweep, 4, ["probe=mlp", "features=[tense]", "logger=wandb"])
    finish(damaged, "tense", "mlp")
    (damaged / "results.csv").write_text("feature,value\n")
    return sweep
