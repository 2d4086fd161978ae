"""What is kept of a run's maps beside the results table: sums by group, for later comparison.

``evidence.safetensors`` holds for each map, numbered from 0, its arrays as ``<number>.<name>``, and
in its metadata a JSON list of what the maps are. *Schema 1* holds right answers by group, as all
runs of probes write them. *Schema 2* also holds float sums by group (effects), which rows were
right, and the method of each map; a file is written in it where a map needs it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load, save

from probes.core.errors import UserError
from probes.core.files import write_atomically
from probes.results.dose_evidence import DOSES, DoseEvidence, dose_arrays
from probes.results.integrity import NO_DIGESTS, Digests, read_checked
from probes.results.tensor_files import metadata_of, with_metadata
from probes.statistics.maps import MapEvidence, RightRows

COUNTS, SUMS = "1", "2"
"""Schemas: right answers by group; sums of any kind."""
Arrays = dict[str, npt.NDArray[Any]]


def save_evidence(
    maps: Sequence[MapEvidence],
    path: str | os.PathLike[str],
    *,
    doses: Sequence[DoseEvidence] = (),
) -> None:
    """Write the maps, and what was steered; the same evidence gives the same bytes."""
    schema = COUNTS if all(map(_fits_schema_1, maps)) else SUMS
    tensors: Arrays = {}
    descriptions = []
    for number, evidence in enumerate(maps):
        arrays = evidence_arrays(evidence)
        tensors |= {f"{number}.{name}": np.ascontiguousarray(a) for name, a in arrays.items()}
        descriptions.append(describe_evidence(evidence, schema))
    metadata = {"schema": schema, "maps": json.dumps(descriptions)}
    if doses:
        arrays, metadata[DOSES] = dose_arrays(doses)
        tensors |= arrays
    write_atomically(Path(path), with_metadata(save(tensors), metadata))


def load_evidence(
    path: str | os.PathLike[str], *, files: Digests = NO_DIGESTS
) -> list[MapEvidence]:
    """Read the maps back, of either schema.

    files: checksums of the run's record; none: of an earlier version.

    Raises:
        UserError: the file is missing, damaged, something else, or of a newer schema.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"{path}: no readable evidence of a run (no such file)", fix="running it again"
        )
    raw = read_checked(path, files)
    try:
        metadata, tensors = metadata_of(raw), load(raw)
        schema = metadata["schema"]
        if schema in (COUNTS, SUMS):
            return [
                rebuild_evidence(description, tensors, f"{number}.")
                for number, description in enumerate(json.loads(metadata["maps"]))
            ]
    except Exception as error:  # safetensors raises its own type for every kind of damage
        raise UserError(
            f"{path}: no readable evidence of a run ({error})", fix="running it again"
        ) from None
    raise UserError(f"{path}: schema {schema!r} of evidence", allowed=f"{COUNTS}, {SUMS}")


def _fits_schema_1(evidence: MapEvidence) -> bool:
    return (
        evidence.method == "probe"
        and np.issubdtype(evidence.totals.dtype, np.integer)
        and evidence.right is None
        and evidence.weights is None
    )


def evidence_arrays(evidence: MapEvidence) -> Arrays:
    """The arrays of one map by name; counts are called ``correct``, as in schema 1."""
    counts = np.issubdtype(evidence.totals.dtype, np.integer)
    arrays: Arrays = {
        "units": evidence.units,
        "groups": evidence.groups,
        "rows": evidence.rows,
        "correct" if counts else "sums": evidence.totals,
        "validation": evidence.validation,
    }
    if evidence.reference is not None:
        arrays["reference"] = evidence.reference
    if evidence.weights is not None:
        arrays["weights"] = evidence.weights
    if evidence.right is not None:
        arrays["right.bits"], arrays["right.rows"] = evidence.right.bits, evidence.right.rows
    return arrays


def describe_evidence(evidence: MapEvidence, schema: str = SUMS) -> dict[str, object]:
    """What a map is, as JSON: all of it but the arrays."""
    description: dict[str, object] = {
        "feature": evidence.feature,
        "site": evidence.site,
        "probe": evidence.probe,
        "streams": list(evidence.streams),
    }
    if schema == SUMS:
        for name in ("method", "metric", "effect", "positions", "validation_rows"):
            description[name] = getattr(evidence, name)
    return description


def rebuild_evidence(description: dict[str, Any], tensors: Arrays, prefix: str) -> MapEvidence:
    """A map from ``describe_evidence`` and the arrays whose names begin with ``prefix``."""
    arrays = {n.removeprefix(prefix): a for n, a in tensors.items() if n.startswith(prefix)}
    right = None
    if "right.bits" in arrays:
        right = RightRows(arrays["right.bits"], arrays["right.rows"])
    return MapEvidence(
        feature=str(description["feature"]),
        site=str(description["site"]),
        probe=str(description["probe"]),
        units=arrays["units"],
        streams=tuple(map(str, description["streams"])),
        groups=arrays["groups"],
        rows=arrays["rows"],
        totals=arrays["correct"] if "correct" in arrays else arrays["sums"],
        validation=arrays["validation"],
        method=str(description.get("method", "probe")),
        metric=str(description.get("metric", "accuracy")),
        effect=str(description.get("effect", "")),
        positions=str(description.get("positions", "")),
        reference=arrays.get("reference"),
        validation_rows=int(description.get("validation_rows", 0)),
        weights=arrays.get("weights"),
        right=right,
    )
