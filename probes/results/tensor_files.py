"""Safetensors files with metadata in one order, so that the same content is the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from probes.core.files import ALIGNMENT

METADATA = "__metadata__"


def with_metadata(raw: bytes, metadata: Mapping[str, str]) -> bytes:
    """The file ``raw``, which has none, with this metadata in the order of its keys.

    The library writes them in another order in every process.

    >>> from safetensors.numpy import load, save
    >>> import numpy as np
    >>> raw = with_metadata(save({"a": np.arange(3)}), {"y": "2", "x": "1"})
    >>> metadata_of(raw), load(raw)["a"].tolist()
    ({'x': '1', 'y': '2'}, [0, 1, 2])
    """
    header = {METADATA: dict(sorted(metadata.items())), **_header(raw)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text + raw[_data(raw) :]


def metadata_of(raw: bytes) -> dict[str, str]:
    """The metadata of a file, which the library gives for files on the disk only.

    Raises:
        ValueError, KeyError: ``raw`` is no such file, or has no metadata.
    """
    return dict(_header(raw)[METADATA])


def _data(raw: bytes) -> int:
    """Where the numbers begin."""
    return 8 + int.from_bytes(raw[:8], "little")


def _header(raw: bytes) -> dict[str, dict[str, str]]:
    header: dict[str, dict[str, str]] = json.loads(raw[8 : _data(raw)])
    return header
