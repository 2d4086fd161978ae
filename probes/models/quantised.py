"""Checkpoints whose weights are stored in fewer bits (bitsandbytes, GPTQ, AWQ, FP8, ...)."""

from __future__ import annotations

from typing import Any

from probes.config import ModelConfig
from probes.core.errors import UserError
from probes.models.hf_messages import explained, quiet


def check_quantised(settings: ModelConfig, config: Any) -> None:
    """Ask when a model is opened for what reading its quantised weights takes: the package of its
    method, a device. transformers says so when it loads the weights only.

    Heads of such models are read as of any model. The identity of their projections is verified by
    what these compute, where weights are no plain numbers.

    Raises:
        UserError: a method that transformers does not know, and would read as plain weights; or
            one that does not work here, with transformers' reason.
    """
    described = getattr(config, "quantization_config", None)
    if described is None or settings.random_init:  # fresh weights are plain
        return
    # Late: it takes a second, and most checkpoints are not quantised.
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING, AutoHfQuantizer

    if not isinstance(described, dict):
        described = described.to_dict()
    method = described.get("quant_method")
    flags = [key for key in ("load_in_4bit", "load_in_8bit") if described.get(key)]
    if not flags and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        known = [str(name) for name in AUTO_QUANTIZATION_CONFIG_MAPPING]
        raise UserError(
            f"model.name={settings.name}: its weights are quantised by "
            f"{'an unnamed method' if method is None else repr(method)}, which transformers does "
            "not know",
            allowed=", ".join(sorted(known)),
            fix="model.name=ANOTHER_CHECKPOINT that is not quantised, or by one of these",
        )
    with quiet(), explained(settings.name, "weights"):
        quantiser = AutoHfQuantizer.from_config(dict(described), pre_quantized=True)
        quantiser.validate_environment(device_map=settings.device_map)
