"""``shard=``: what a user writes, and what starters of processes set; never read unasked."""

from __future__ import annotations

import pytest

from probes.core.errors import UserError
from probes.passes.shard_choice import chosen_shard, local_rank
from probes.passes.shards import WHOLE, Shard

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8"}
SRUN = {"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}
ONE_TASK = {"SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
ARRAY = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}
STEPS = {**ARRAY, "SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_STEP": "2"}


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        (TORCHRUN, Shard(3, 8)),
        (SRUN, Shard(1, 2)),
        (ONE_TASK, WHOLE),
        ({**SRUN, **TORCHRUN}, Shard(3, 8)),
        ({**ONE_TASK, **ARRAY}, Shard(2, 4)),
        (STEPS, Shard(2, 4)),
        ({**SRUN, **ARRAY}, Shard(5, 8)),
    ],
)
def test_variables_are_read_where_they_are_asked_for(environ: dict[str, str], shard: Shard) -> None:
    assert chosen_shard("env", environ) == shard
    assert chosen_shard(None, environ) == WHOLE
    assert chosen_shard("0/3", environ) == Shard(0, 3)


@pytest.mark.parametrize("text", ["", "4", "4/4", "-1/4", "0/0", "1.5/2", "a/b", "0/4 ", "ENV"])
def test_other_texts_are_refused_with_one_that_works(text: str) -> None:
    with pytest.raises(UserError) as caught:
        chosen_shard(text, TORCHRUN)
    key, value = caught.value.fix.split("=")
    assert key == "shard" and chosen_shard(value, {})


@pytest.mark.parametrize(
    "environ", [{}, {"RANK": "0"}, {"RANK": "x", "WORLD_SIZE": "2"}, {**TORCHRUN, "RANK": "8"}]
)
def test_variables_that_number_nothing_are_refused(environ: dict[str, str]) -> None:
    with pytest.raises(UserError, match="shard="):
        chosen_shard("env", environ)


def test_the_number_on_the_machine() -> None:
    assert local_rank({"LOCAL_RANK": "3", "SLURM_LOCALID": "0"}) == 3
    assert local_rank({"SLURM_LOCALID": "2"}) == 2
    assert local_rank({"LOCAL_RANK": "x"}) == local_rank({}) == 0
