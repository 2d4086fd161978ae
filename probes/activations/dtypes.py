"""The dtypes that activations are stored in, and the bits that tell what no probe could use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class StoredDtype:
    """One of ``extraction.dtype``."""

    dtype: torch.dtype
    safetensors: str
    """Its name in a safetensors header."""
    exponent: int
    """Bits of the exponent: all ones in a value that is infinite or not a number."""
    mantissa: int
    """Bits of the mantissa: not all zero in a value that is not a number."""

    @property
    def itemsize(self) -> int:
        """Bytes of one number."""
        return self.dtype.itemsize

    @property
    def raw(self) -> tuple[torch.dtype, type[np.unsignedinteger[Any]]]:
        """Integers of the same size, in which NumPy can look at the bits of any of them."""
        return (torch.int16, np.uint16) if self.itemsize == 2 else (torch.int32, np.uint32)


AUTO = "auto"
"""``extraction.dtype`` that is chosen by what rounding would take: float16, else float32."""

DTYPES = {
    "float16": StoredDtype(torch.float16, "F16", 0x7C00, 0x03FF),
    "bfloat16": StoredDtype(torch.bfloat16, "BF16", 0x7F80, 0x007F),
    "float32": StoredDtype(torch.float32, "F32", 0x7F800000, 0x007FFFFF),
}
"""By the name that ``extraction.dtype`` and the manifest of a cache give them."""
