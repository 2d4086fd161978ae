"""What is kept of a map beside its results table: right answers by group, for later comparison."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from safetensors.numpy import save_file

from probes.core.errors import UserError
from probes.core.files import atomic_path
from probes.statistics.maps import MapEvidence

SCHEMA = 1


def save_evidence(maps: Sequence[MapEvidence], path: str | os.PathLike[str]) -> None:
    """Write ``evidence.safetensors``: the arrays, and what they are as JSON in its metadata."""
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    names = []
    for number, one in enumerate(maps):
        for field in ("units", "groups", "rows", "correct", "validation"):
            tensors[f"{number}.{field}"] = np.ascontiguousarray(getattr(one, field))
        names.append(
            {
                "feature": one.feature,
                "site": one.site,
                "probe": one.probe,
                "streams": list(one.streams),
            }
        )
    metadata = {"schema": str(SCHEMA), "maps": json.dumps(names)}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata=metadata)


def load_evidence(path: str | os.PathLike[str]) -> list[MapEvidence]:
    """Read the maps back; raises ``UserError`` for a file that is missing or something else."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return [
            MapEvidence(
                feature=str(named["feature"]),
                site=str(named["site"]),
                probe=str(named["probe"]),
                streams=tuple(map(str, named["streams"])),
                **{
                    field: tensors[f"{number}.{field}"]
                    for field in ("units", "groups", "rows", "correct", "validation")
                },
            )
            for number, named in enumerate(json.loads(metadata["maps"]))
        ]
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise UserError(
            f"{path}: no readable evidence of a run ({error})", fix="running it again"
        ) from None
