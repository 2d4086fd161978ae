"""What is kept of steering beside the results table: sums by group of each dose.

The effect of each dose is ``doses.sums.sum(axis=1) / doses.rows.sum()``, for each of
``load_doses("outputs/.../evidence.safetensors")``.

The sums stand in ``evidence.safetensors`` beside those of maps, as ``doses.<number>.<name>``, with
a JSON list of what they are under ``doses`` in its metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load

from probes.core.errors import UserError
from probes.results.integrity import NO_DIGESTS, Digests, read_checked
from probes.results.tensor_files import metadata_of
from probes.statistics.group_sums import GroupSums, share_sums

DOSES = "doses"
"""Key of the metadata, and beginning of the names of arrays."""
ARRAYS = ("heads", "strengths", "groups", "rows", "sums")


@dataclass(frozen=True)
class DoseEvidence:
    """What every dose of steering changes in one metric, or the loss that it leaves."""

    feature: str
    metric: str
    """As in the results; of ``perplexity`` the sums are losses in nats, and ``rows`` are tokens."""
    positions: str
    variants: tuple[str, ...]
    """(D,) the direction or the control, as in the column ``probe``."""
    heads: npt.NDArray[np.int64]
    """(D,) how many are pushed together."""
    strengths: npt.NDArray[np.float64]
    """(D,) in standard deviations."""
    groups: npt.NDArray[np.int64]
    """(G,) codes of groups of texts; of neutral texts their numbers."""
    rows: npt.NDArray[np.int64]
    """(G,) rows of each group."""
    sums: npt.NDArray[np.float64]
    """(D, G) of the change over the rows of a group."""

    def group_sums(self) -> GroupSums:
        """The mean of every dose, as sums that can be resampled."""
        return share_sums(self.metric, self.sums, self.rows)


def dose_arrays(doses: Sequence[DoseEvidence]) -> tuple[dict[str, npt.NDArray[Any]], str]:
    """Arrays by name, and the text that describes them."""
    arrays = {
        f"{DOSES}.{number}.{name}": np.ascontiguousarray(getattr(one, name))
        for number, one in enumerate(doses)
        for name in ARRAYS
    }
    described = [
        {
            "feature": one.feature, "metric": one.metric, "positions": one.positions,
            "variants": list(one.variants),
        }
        for one in doses
    ]  # fmt: skip
    return arrays, json.dumps(described)


def load_doses(path: str | os.PathLike[str], *, files: Digests = NO_DIGESTS) -> list[DoseEvidence]:
    """The sums of steering in a run's ``evidence.safetensors``; empty where nothing was steered.

    files: checksums of the run's record; none: of an earlier version.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    path = Path(path)
    raw = read_checked(path, files, fix="running it again")
    try:
        metadata, tensors = metadata_of(raw), load(raw)
        described = json.loads(metadata.get(DOSES, "[]"))
        found = [
            DoseEvidence(
                str(one["feature"]),
                str(one["metric"]),
                str(one["positions"]),
                tuple(map(str, one["variants"])),
                *(tensors[f"{DOSES}.{number}.{name}"] for name in ARRAYS),
            )
            for number, one in enumerate(described)
        ]
        for one in found:
            if one.sums.shape != (len(one.variants), len(one.groups)):
                raise ValueError("its arrays do not fit each other")
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise UserError(
            f"{path}: no readable evidence of a run ({error})", fix="running it again"
        ) from None
    return found
