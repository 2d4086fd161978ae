"""What is kept of one part of the fits, as an object and as a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probes.core.records import from_json
from probes.evaluation.chunk_results import ChunkResult
from probes.evaluation.table_rows import Row
from probes.results.banks import describe_bank, rebuild_bank
from probes.results.checked_tensors import checked_bytes, read_checked
from probes.results.evidence import (
    describe_evidence,
    evidence_arrays,
    rebuild_evidence,
)
from probes.results.integrity import damaged
from probes.training.bank import ProbeBank
from probes.training.convergence import Convergence
from probes.training.parts import Part


@dataclass(frozen=True)
class PartResult:
    """The probes of one part and all that the evaluation of the run needs of it."""

    part: Part
    bank: ProbeBank
    """Of the real problem."""
    chunk: ChunkResult
    convergence: Convergence
    probes: int
    """Heads x problems."""
    seconds: float
    """In the fits."""


def part_bytes(result: PartResult, about: Mapping[str, Any]) -> bytes:
    """The content of a file; equal results give equal bytes.

    about: JSON values that ``read_part`` returns with the result.
    """
    arrays = {f"evidence/{n}": a for n, a in evidence_arrays(result.chunk.evidence).items()}
    for name in ("control", "permuted_gains"):
        if (values := getattr(result.chunk, name)) is not None:
            arrays[name] = values
    tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    for name, tensor in result.bank.tensors.items():
        tensors[f"{result.bank.key}/{name}"] = tensor.detach().cpu().contiguous()
    content = {
        "about": dict(about),
        "part": asdict(result.part),
        "bank": describe_bank(result.bank),
        "evidence": describe_evidence(result.chunk.evidence),
        "rows": result.chunk.rows,
        "accuracy_rows": len(result.chunk.accuracy_rows),
        "penalties": result.chunk.penalties,
        "convergence": asdict(result.convergence),
        "probes": result.probes,
        "seconds": result.seconds,
    }
    return checked_bytes(content, tensors)


def read_part(raw: bytes, path: Path) -> tuple[PartResult, dict[str, Any]]:
    """A result and what was stored about it, from the bytes of the file ``path``.

    Raises:
        UserError: the bytes are not those that were written.
    """
    content, tensors = read_checked(raw, path)
    try:
        return _rebuilt(content, tensors, path), dict(content["about"])
    except Exception as error:  # whatever a file of another kind lacks
        raise damaged(path, str(error) or repr(error)) from None


def _rebuilt(content: dict[str, Any], tensors: dict[str, torch.Tensor], path: Path) -> PartResult:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    rows: list[Row] = [dict(row) for row in content["rows"]]
    return PartResult(
        part=from_json(Part, content["part"], where=str(path)),
        bank=rebuild_bank(content["bank"], tensors, path),
        chunk=ChunkResult(
            rows=rows,
            accuracy_rows=rows[: int(content["accuracy_rows"])],
            evidence=rebuild_evidence(content["evidence"], arrays, "evidence/"),
            control=arrays.get("control"),
            permuted_gains=arrays.get("permuted_gains"),
            penalties=[float(penalty) for penalty in content["penalties"]],
        ),
        convergence=from_json(Convergence, content["convergence"], where=str(path)),
        probes=int(content["probes"]),
        seconds=float(content["seconds"]),
    )
