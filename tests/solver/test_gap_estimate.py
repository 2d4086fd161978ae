"""An understated decrement is found out by what is gained after it."""

import torch

from probes.solver.gap_estimate import REMEMBERED, GapEstimate


def test_a_decrement_counts_as_much_as_earlier_ones_have_proved_to_be() -> None:
    estimate = GapEstimate(torch.zeros(1, 2))
    left = torch.tensor([[64.0, 64.0]], dtype=torch.float64)
    said = torch.tensor([[0.25, 2.0]])  # of what is left
    for _ in range(6):
        judged = estimate.judged(left * said)
        estimate.fall(left / 2)
        left = left / 2
    left = left * 2  # of the last call
    assert 0.9 < float(judged[0, 0] / left[0, 0]) <= 1
    assert float(judged[0, 1] / left[0, 1]) == 2, "an overstated one is left as it is"


def test_only_the_last_iterations_count() -> None:
    estimate = GapEstimate(torch.zeros(1, 1))
    one = torch.ones(1, 1, dtype=torch.float64)
    estimate.judged(one)  # far from the optimum a metric says little
    estimate.fall(100 * one)
    assert float(estimate.judged(one)) == 100
    for _ in range(REMEMBERED):
        last = estimate.judged(one)
    assert float(last) == 1


def test_a_column_without_anything_left_stays_at_zero() -> None:
    estimate = GapEstimate(torch.zeros(1, 1))
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(3):
        assert float(estimate.judged(nothing)) == 0
        estimate.fall(nothing + 1e-9)


def test_columns_that_have_ended_are_dropped() -> None:
    estimate = GapEstimate(torch.zeros(2, 3))
    estimate.judged(torch.ones(2, 3, dtype=torch.float64))
    estimate.fall(torch.arange(6.0).view(2, 3) + 1)
    estimate.keep(torch.tensor([1]), torch.tensor([[0, 2]]))
    assert estimate.judged(torch.ones(1, 2, dtype=torch.float64)).tolist() == [[4.0, 6.0]]
