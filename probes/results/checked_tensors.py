"""Tensors and JSON in one file with a checksum over both: what is read is what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from probes.core.files import canonical
from probes.results.integrity import damaged
from probes.results.tensor_files import metadata_of, with_metadata

CONTENT, CHECKSUM = "content", "sha256"
"""Metadata of a file."""


def checked_bytes(content: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A file of safetensors; equal content gives equal bytes.

    content: JSON values. tensors: on the CPU and contiguous.
    """
    text = json.dumps(content)
    return with_metadata(save(dict(tensors)), {CONTENT: text, CHECKSUM: _checksum(text, tensors)})


def read_checked(raw: bytes, path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Content and tensors, from the bytes of the file ``path``.

    Raises:
        UserError: the bytes are not those that were written.
    """
    try:
        metadata, tensors = metadata_of(raw), load(raw)
        if metadata[CHECKSUM] != _checksum(metadata[CONTENT], tensors):
            raise ValueError("its content differs from its checksum")
        content: dict[str, Any] = json.loads(metadata[CONTENT])
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise damaged(path, str(error) or repr(error)) from None
    return content, tensors


def _checksum(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of a text and of tensors with their names, kinds and shapes."""
    sha256 = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha256.update(canonical([name, str(tensor.dtype), list(tensor.shape)]))
        sha256.update(tensor.contiguous().numpy().tobytes())
    return sha256.hexdigest()
