"""What the fits of a run depend on: stored results of other fits are not taken for its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from probes.config import CustomProbeConfig
from probes.core.environment import processor, software
from probes.core.files import digest
from probes.core.targets import code_digest
from probes.models.handle import Handle
from probes.pipeline.identity import Settings, result_keys
from probes.pipeline.prepare import PreparedRun
from probes.training.problems import ActivationSource
from probes.training.trainer import accelerator_of


def fit_identity(
    prepared: PreparedRun, handle: Handle, sources: Sequence[ActivationSource]
) -> Settings:
    """Whatever may change a bit of the fits, as plain JSON values.

    Equal identities give equal bytes on the same kind of processor (``node_name``).
    """
    config = prepared.config
    settings = result_keys(config)
    model = settings["model"]
    assert isinstance(model, dict)
    model["device"] = device_kind(handle.device)
    targets = list(config.evaluation.metrics)
    if isinstance(config.probe, CustomProbeConfig):
        targets.append(config.probe._target_)
    return {
        "settings": settings,
        "corpus": prepared.corpus.fingerprint,
        "model": handle.fingerprint,
        "activations": {
            f"{source.site} {source.probe}".strip(): digest(source.cache.manifest["files"])
            for source in sources
        },
        "memory_budget": prepared.memory_budget,  # which decides what is fitted side by side
        "code": {target: code_digest(target) for target in targets},
        "versions": software(),
        "device": accelerator_of(config.trainer),
        "threads": torch.get_num_threads(),
    }


def device_kind(device: str) -> str:
    """Without its number, which is no difference.

    >>> device_kind("cuda:3")
    'cuda'
    """
    return device.partition(":")[0]


def node_name(device: str) -> str:
    """The kind of processor that fits run on: on another kind, last bits may differ.

    device: what Lightning calls it.
    """
    return torch.cuda.get_device_name() if device == "gpu" else processor()
