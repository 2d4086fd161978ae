"""How the process computes while probes are fitted: precision and threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def full_precision() -> Iterator[None]:
    """float32 products in float32: TF32 and bfloat16 passes stall above the tolerance."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def one_pool() -> Iterator[None]:
    """Only torch's threads: those of NumPy's and SciPy's BLAS look for work for tens of
    milliseconds after every product, on the cores that the next fit needs."""
    with ThreadpoolController().select(internal_api="openblas").limit(limits=1):
        yield
