"""What ``model.dtype=auto`` stands for: the checkpoint's dtype, where the device computes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from probes.models.hf_config import text_config

CPUINFO = Path("/proc/cpuinfo")
CPU_FLAGS = {"avx512_bf16", "amx_bf16", "bf16", "FEAT_BF16"}
"""Names of instructions for bfloat16 products: x86, and Arm on Linux and macOS."""


def chosen_dtype(asked: str, config: Any, device: str) -> tuple[str, str]:
    """The dtype of a model, and the reason where ``auto`` does not take the checkpoint's.

    ``auto`` keeps what the checkpoint was saved in, float32 where its config names no dtype. On a
    processor without bfloat16 instructions it takes float32 in place of bfloat16, which is several
    times slower there. The processor decides and no timing, which differs between jobs.
    """
    if asked != "auto":
        return asked, ""
    saved = getattr(config, "dtype", None) or getattr(text_config(config), "dtype", None)
    dtype = str(saved or "float32").removeprefix("torch.")
    if dtype == "bfloat16" and device == "cpu" and not cpu_has_bfloat16():
        return "float32", (
            "float32, because this processor has no bfloat16 instructions (AVX512_BF16, AMX, "
            "Armv8 BF16), and the checkpoint's bfloat16 would be several times slower; "
            "model.dtype=bfloat16 keeps it"
        )
    return dtype, ""


def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16."""
    read = getattr(torch.cpu, "get_capabilities", None)  # of newer versions of torch
    if read is not None:
        capabilities = read()
        if any(capabilities.get(flag) for flag in CPU_FLAGS):
            return True
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return False
    listed = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return not CPU_FLAGS.isdisjoint(listed.split())
