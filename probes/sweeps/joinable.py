"""Jobs of a sweep that are parts of one run: they differ in ``layers`` or ``features`` alone."""

from __future__ import annotations

from collections.abc import Iterable

from probes.core.files import digest
from probes.pipeline.identity import result_keys
from probes.sweeps.plan import PlannedJob


def joinable(jobs: Iterable[PlannedJob]) -> set[int]:
    """The numbers of jobs that ``headprobes merge`` can join with another of them.

    They keep the parts of their fits (``keep_parts``).
    """
    groups: dict[str, list[int]] = {}
    for job in jobs:
        config = job.config
        if config is None or job.state in ("refused", "twin"):
            continue
        if "probe" in config.methods and config.disk_budget is None and config.until == "report":
            settings = result_keys(config)
            del settings["layers"], settings["features"]
            groups.setdefault(digest(settings), []).append(job.number)
    return {number for members in groups.values() if len(members) > 1 for number in members}
