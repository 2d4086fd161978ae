"""One GPU for each of the processes of a machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

import torch

from probes.config import ModelConfig, RunConfig
from probes.passes.shard_choice import ENV, local_rank


def on_own_device(
    model: ModelConfig, config: RunConfig, environ: Mapping[str, str] = os.environ
) -> ModelConfig:
    """The model on the GPU of this process, where ``shard=env`` asks for it and there are several.

    A device that is named (``model.device=cuda:1``, ``cpu``) is kept. Fits take the same GPU, which
    is made the current one.
    """
    if config.shard != ENV or model.device not in ("auto", "cuda"):
        return model
    if torch.cuda.device_count() < 2:  # none, or the one that the starter has made visible
        return model
    own = local_rank(environ) % torch.cuda.device_count()
    torch.cuda.set_device(own)
    return replace(model, device=f"cuda:{own}")
