"""Jobs of a multirun that were refused: what they found is another's, and nothing is written there.

A launcher may run jobs in other processes or on other nodes, which the command line hears nothing
of: each leaves a note in the directory of the sweep, and the multirun takes the notes at its end.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from probes.core.files import write_atomically

NOTES = "refused-*.json"


def note_refusal(sweep_dir: Path, run_dir: Path, message: str) -> None:
    """Leave a note about a job, unless its sweep's directory cannot be written."""
    name = hashlib.sha256(str(run_dir).encode()).hexdigest()[:12]
    content = json.dumps({"job": run_dir.name, "error": message})
    with contextlib.suppress(OSError):
        sweep_dir.mkdir(parents=True, exist_ok=True)
        write_atomically(sweep_dir / NOTES.replace("*", name), content, durable=False)


def take_refusals(sweep_dir: Path, since: float) -> dict[str, str]:
    """Messages by job, whose notes are removed; those from before this moment are not returned."""
    refused = {}
    for path in sorted(sweep_dir.glob(NOTES)):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(path.read_text(encoding="utf-8"))
            if path.stat().st_mtime >= since:
                refused[str(content["job"])] = str(content["error"])
            path.unlink()
    return refused
