"""Which shard of a run a process is: told by the user, or by whoever started the processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from probes.core.errors import UserError
from probes.passes.shards import WHOLE, Shard

ENV = "env"
"""``shard=env`` asks for the variables below, which are never read otherwise."""


@dataclass(frozen=True)
class Starter:
    """What starts several processes, and the variables by which it numbers them."""

    name: str
    index: str
    count: str
    first: str = ""
    """Variable with the number of the first process, where that need not be 0."""
    step: str = ""
    """Variable with the distance between two numbers."""


STARTERS = (
    Starter("torchrun", "RANK", "WORLD_SIZE"),
    Starter("srun", "SLURM_PROCID", "SLURM_NTASKS"),
)
"""The first that numbers the process counts: torchrun numbers the processes of all tasks."""
ARRAY = Starter(
    "a Slurm array",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_ARRAY_TASK_COUNT",
    "SLURM_ARRAY_TASK_MIN",
    "SLURM_ARRAY_TASK_STEP",
)
"""Its tasks may have several processes each."""
LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID")
"""Variables with the number of a process among those of its machine."""


def chosen_shard(text: str | None, environ: Mapping[str, str]) -> Shard:
    """The shard that ``shard=TEXT`` means.

    environ: variables of the process, which only ``env`` reads. Tasks of an array may have several
    processes each, which are then numbered through.

    Raises:
        UserError: another text, or no variables.

    >>> chosen_shard("1/4", {}), chosen_shard(None, {"RANK": "1", "WORLD_SIZE": "2"}) == WHOLE
    (Shard(index=1, count=4), True)
    >>> chosen_shard("env", {"RANK": "1", "WORLD_SIZE": "2"})
    Shard(index=1, count=2)
    """
    if text is None:
        return WHOLE
    if text == ENV:
        return _from_variables(environ)
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None:
        raise UserError(
            f"shard={text}",
            allowed="null; INDEX/COUNT, from 0/N to N-1/N; env, where torchrun or Slurm starts the "
            "processes",
            fix="shard=0/2",
        )
    return Shard(int(match[1]), int(match[2]))


def local_rank(environ: Mapping[str, str]) -> int:
    """The number of this process among those of its machine; 0 where nothing numbers them."""
    values = [environ[name] for name in LOCAL_RANKS if environ.get(name, "").isdecimal()]
    return int(values[0]) if values else 0


def _from_variables(environ: Mapping[str, str]) -> Shard:
    known = [_shard(s, environ) for s in (*STARTERS, ARRAY) if _numbers(s, environ)]
    if not known:
        names = "; ".join(f"{s.index} and {s.count} ({s.name})" for s in (*STARTERS, ARRAY))
        raise UserError(
            "shard=env: nothing numbers this process",
            allowed=f"where these variables are set: {names}",
            fix="shard=0/2 in one process and shard=1/2 in another",
        )
    array = known[-1] if _numbers(ARRAY, environ) else WHOLE
    inner = known[0] if any(_numbers(s, environ) for s in STARTERS) else WHOLE
    return Shard(array.index * inner.count + inner.index, array.count * inner.count)


def _numbers(starter: Starter, environ: Mapping[str, str]) -> bool:
    return starter.index in environ and starter.count in environ


def _shard(starter: Starter, environ: Mapping[str, str]) -> Shard:
    names = [starter.index, starter.count, starter.first, starter.step]
    values = [environ.get(name, "") if name else "" for name in names]
    for name, value in zip(names, values, strict=True):
        if value and not value.isdecimal():
            raise UserError(f"shard=env: {name}={value} is no number", fix="shard=0/2")
    first, step = int(values[2] or 0), int(values[3] or 1)
    return Shard((int(values[0]) - first) // max(step, 1), int(values[1]))
