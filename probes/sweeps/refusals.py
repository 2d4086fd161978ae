"""Jobs of a multirun that were not run: what they found is another's, and nothing is written there.

A launcher may run jobs in other processes or on other nodes, which the command line hears nothing
of: each leaves a note in the directory of the sweep, and the multirun takes the notes at its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from probes.core.claims import InUse
from probes.core.errors import UserError
from probes.core.files import write_atomically

NOTES = "refused-*.json"


class Refusals(NamedTuple):
    """Messages by job."""

    refused: dict[str, str]
    """Their directories hold what is finished."""
    in_use: dict[str, str]
    """Another process was at work there."""


def note_refusal(sweep_dir: Path, run_dir: Path, error: UserError) -> None:
    """Leave a note about a job, unless its sweep's directory cannot be written."""
    name = hashlib.sha256(str(run_dir).encode()).hexdigest()[:12]
    about = {"job": run_dir.name, "error": error.wrong, "in_use": isinstance(error, InUse)}
    content = json.dumps(about)
    with contextlib.suppress(OSError):
        sweep_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(sweep_dir / NOTES.replace("*", name), content, durable=False, shared=True)


def take_refusals(sweep_dir: Path, since: float) -> Refusals:
    """What the notes say, which are removed; those from before this moment are not returned."""
    taken = Refusals({}, {})
    for path in sorted(sweep_dir.glob(NOTES)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if path.stat().st_mtime >= since:
                kind = taken.in_use if content.get("in_use") else taken.refused
                kind[str(content["job"])] = str(content["error"])
            path.unlink()
    return taken
