"""Lightning's ``Trainer`` inside a cluster's allocation: one process, which logs."""

from __future__ import annotations

import lightning
import pytest
import torch
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from probes.training.trainer import SingleProcess, undisturbed

SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_JOB_NAME": "probe",
    "SLURM_JOB_ID": "77",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "2",
    "SLURM_NODEID": "1",
}
TORCHRUN = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "GROUP_RANK": "0",
    "LOCAL_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "localhost",
    "MASTER_PORT": "29500",
}


class _Steps(lightning.LightningModule):
    """Counts its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        self.steps += 1
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("variables", [SLURM, TORCHRUN, {}], ids=["slurm", "torchrun", "none"])
def test_variables_of_a_cluster_change_nothing(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(rank_zero_only, "rank", 2)
    module = _Steps()
    with undisturbed():
        trainer = lightning.Trainer(
            accelerator="cpu",
            devices=1,
            plugins=[SingleProcess()],
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(TensorDataset(torch.zeros(3, 1))))
    assert module.steps == 3
    assert (trainer.world_size, trainer.global_rank, vars(rank_zero_only)["rank"]) == (1, 0, 0)
