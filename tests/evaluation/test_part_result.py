"""Results of parts as files: what is read back is what was written, or nothing."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from probes.config import EvaluationConfig, MLPConfig, SignificanceConfig, SplitConfig
from probes.core.errors import UserError
from probes.evaluation.evaluate import Evaluator
from probes.evaluation.part_result import PartResult, part_bytes, read_part
from probes.evaluation.planted import planted_activations, planted_task
from probes.training.convergence import Convergence
from tests.evaluation.fitted_chunks import fitted_chunks

WHERE = Path("layer.part")
SETTINGS = (
    EvaluationConfig(bootstrap=50, codelength=True),
    SignificanceConfig(permutations=19),
    SplitConfig(),
)


def results(probe: MLPConfig | None = None) -> list[PartResult]:
    planted = planted_activations(planted_task(40, 5), [0, 2.0, 0, 1.0])
    evaluator = Evaluator(*SETTINGS[:2])
    return [
        PartResult(
            fit.part, fit.bank(), evaluator.evaluate(fit), Convergence(4, 1, 0, 0.5), 8, 0.25
        )
        for fit in fitted_chunks(planted, *SETTINGS, per_layer=2, probe=probe)
    ]


@pytest.fixture(scope="module")
def linear() -> PartResult:
    return results()[0]


@pytest.mark.parametrize("probe", [None, MLPConfig(hidden=3, epochs=2)])
def test_what_is_read_is_what_was_written(probe: MLPConfig | None) -> None:
    for result in results(probe):
        raw = part_bytes(result, {"node": "a processor"})
        again, about = read_part(raw, WHERE)
        assert about == {"node": "a processor"}
        assert again.part == result.part and again.convergence == result.convergence
        assert repr(again.chunk.rows) == repr(result.chunk.rows)  # NaN is NaN
        assert all(
            a is b for a, b in zip(again.chunk.accuracy_rows, again.chunk.rows, strict=False)
        )
        assert len(again.chunk.accuracy_rows) == len(result.chunk.accuracy_rows)
        assert again.chunk.penalties == result.chunk.penalties
        assert bool(result.chunk.penalties) == (probe is None)
        for name in ("control", "permuted_gains"):
            np.testing.assert_array_equal(getattr(again.chunk, name), getattr(result.chunk, name))
        np.testing.assert_array_equal(again.chunk.evidence.totals, result.chunk.evidence.totals)
        assert again.chunk.evidence.key == result.chunk.evidence.key
        for name, tensor in result.bank.tensors.items():
            assert torch.equal(again.bank.tensors[name], tensor)
        assert again.bank.choice == result.bank.choice
        assert part_bytes(again, about) == raw


def test_damage_anywhere_is_refused_or_harmless(linear: PartResult) -> None:
    raw = part_bytes(linear, {})
    header = 8 + int.from_bytes(raw[:8], "little")
    places = [*range(header), *random.Random(0).sample(range(header, len(raw)), 200)]
    refused = 0
    for place in places:
        damaged = bytearray(raw)
        damaged[place] ^= 1 << (place % 8)
        try:
            again, _ = read_part(bytes(damaged), WHERE)
        except UserError:
            refused += 1
            continue
        assert part_bytes(again, {}) == raw
    assert refused > 0.9 * len(places)


def test_a_file_cut_short_is_refused(linear: PartResult) -> None:
    raw = part_bytes(linear, {})
    for length in [*range(0, len(raw), 97), len(raw) - 1]:
        with pytest.raises(UserError, match="refused"):
            read_part(raw[:length], WHERE)
