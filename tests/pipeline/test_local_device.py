"""Processes of one machine take a GPU each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import pytest
import torch

from probes.config import LinearConfig, ModelConfig, RunConfig, TrainerConfig
from probes.pipeline.local_device import on_own_device
from probes.training import fit


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The GPUs that were made the current one, of four."""
    made: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    return made


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({"LOCAL_RANK": "0", "RANK": "8", "WORLD_SIZE": "16"}, 0),
        ({"LOCAL_RANK": "3", "RANK": "11", "WORLD_SIZE": "16"}, 3),
        ({"SLURM_LOCALID": "2", "SLURM_PROCID": "6", "SLURM_NTASKS": "8"}, 2),
        ({"LOCAL_RANK": "1", "SLURM_LOCALID": "0"}, 1),  # torchrun inside a task of Slurm
        ({"LOCAL_RANK": "5"}, 1),  # two processes a GPU
        ({"LOCAL_RANK": "two"}, 0),
        ({}, 0),  # a task of an array, which has a machine for itself
    ],
)
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_by_the_number_among_those_of_the_machine(
    current: list[int], variables: Mapping[str, str], number: int, device: str
) -> None:
    model = on_own_device(ModelConfig(device=device), RunConfig(shard="env"), variables)
    assert model.device == f"cuda:{number}" and current == [number]


@pytest.mark.parametrize(
    ("shard", "device"), [("env", "cuda:1"), ("env", "cpu"), ("1/4", "auto"), (None, "cuda")]
)
def test_what_the_user_chose_stays(current: list[int], shard: str | None, device: str) -> None:
    model = on_own_device(ModelConfig(device=device), RunConfig(shard=shard), {"LOCAL_RANK": "2"})
    assert model.device == device and not current


@pytest.mark.parametrize("visible", [0, 1])
def test_a_process_that_sees_one_gpu_takes_that(
    current: list[int], visible: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    model = on_own_device(ModelConfig(), RunConfig(shard="env"), {"LOCAL_RANK": "2"})
    assert model.device == ModelConfig().device and not current


@pytest.mark.parametrize(("accelerator", "devices"), [("gpu", [3]), ("cpu", 1)])
def test_fits_take_the_same_gpu(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, devices: object
) -> None:
    class Asked(Exception):
        pass

    def trainer(**options: Any) -> None:
        raise Asked(options["accelerator"], options["devices"])

    class Data:
        dataset = (1,)

    monkeypatch.setattr(lightning, "Trainer", trainer)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(fit, "accelerator_of", lambda config: accelerator)
    monkeypatch.setattr(fit, "ChunkDataModule", lambda *given, **options: Data())
    with pytest.raises(Asked) as asked:
        fit.fit_banks(
            [], LinearConfig(), TrainerConfig(progress=False), memory_budget=1, on_fit=print
        )
    assert asked.value.args == (accelerator, devices)
