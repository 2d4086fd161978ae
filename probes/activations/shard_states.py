"""How far each shard of a cache has come, in a file that only that shard writes.

Shards whose bytes could differ from those of one process for another reason than the processor are
refused: other versions, another kind of device, another number of threads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from probes.activations.layout import seal, sealed
from probes.core.environment import processor
from probes.core.errors import UserError
from probes.core.files import write_atomically

State = dict[str, Any]
MACHINE = ("versions", "device")
"""Fields of a manifest that say on what it was computed."""


def partial_directory(directory: Path) -> Path:
    """Of a cache that is not complete. directory: of the finished cache."""
    return directory.with_name(directory.name + ".partial")


def write_state(path: Path, index: int, state: State, device: str) -> None:
    """Store the progress of a shard, and on what it was computed.

    path: of the cache that is not complete. device: kind of device of the model.
    """
    own = {"shard": index, "threads": torch.get_num_threads(), "processor": _processor(device)}
    write_atomically(path / _file(index), seal(state | own))


def read_state(path: Path, index: int) -> State | None:
    """What a shard stored last; None where there is nothing, or nothing that can be used."""
    try:
        state = json.loads((path / _file(index)).read_bytes())
    except (OSError, ValueError):
        return None
    intact = isinstance(state, dict) and sealed(state) and state.get("shard") == index
    return state if intact else None


def remove_states(path: Path) -> None:
    """Remove the files of all shards."""
    for file in path.glob("shard_*.json"):
        file.unlink()


def done_shards(directory: Path, count: int) -> set[int]:
    """Which of ``count`` shards have stored all their rows of a cache that is not complete.

    directory: of the finished cache.
    """
    states = _states(partial_directory(directory), count)
    return {i for i, state in states.items() if state["end"] == state["sequences_done"]}


def processors(path: Path, count: int) -> list[str]:
    """The kinds of processors that the shards ran on."""
    return sorted({str(state.get("processor")) for state in _states(path, count).values()})


def require_same_machine(
    path: Path, index: int, stored: Mapping[str, Any], ours: Mapping[str, Any]
) -> None:
    """Check that what other shards have stored was computed as this shard will compute.

    stored, ours: manifests of the cache that is there, and of this shard.

    Raises:
        UserError: with other versions, on another kind of device, or with other threads.
    """
    others = {i: s for i, s in _states(path, stored["shards"]).items() if i != index}
    if not others:
        return
    other, state = next(iter(others.items()))
    for name in MACHINE:
        theirs, own = stored.get(name), ours.get(name)
        if theirs != own:
            raise _another(other, name, _difference(theirs, own), _difference(own, theirs))
    for other, state in others.items():
        if state.get("threads") != torch.get_num_threads():
            threads = state.get("threads")
            raise _another(
                other,
                "threads",
                str(threads),
                str(torch.get_num_threads()),
                fix=f"the environment variable OMP_NUM_THREADS={threads}, ",
            )


def _another(shard: int, name: str, theirs: str, own: str, fix: str = "") -> UserError:
    return UserError(
        f"{name} {own}: shard {shard} of this cache was computed with {theirs}, and the bytes of "
        "one process are those of one kind",
        fix=fix + "cache_dir=ANOTHER_DIRECTORY for all shards",
    )


def _difference(value: object, other: object) -> str:
    """What of a value is not in the other one."""
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items() if other.get(k) != v)
    return str(value)


def _states(path: Path, count: int) -> dict[int, State]:
    states = {index: read_state(path, index) for index in range(count)}
    return {index: state for index, state in states.items() if state is not None}


def _file(index: int) -> str:
    return f"shard_{index:03d}.json"


def _processor(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else processor()
