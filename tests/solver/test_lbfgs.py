"""The compact L-BFGS product against the two loops that textbooks write."""

from typing import Any

import pytest
import torch
from torch import Tensor

from probes.solver.lbfgs import MEMORY, LbfgsPairs

H, T, C, N = 2, 3, 2, 5
SHAPE = (H, T, C, N)


def two_loops(pairs: Any, gradient: Tensor, scale: Any) -> Tensor:
    """Inverse Hessian times one column's gradient; the start is ``scale`` times the identity."""
    q, factors = gradient.clone(), []
    for s, y in reversed(pairs):
        factors.append((s @ q) / (s @ y))
        q -= factors[-1] * y
    q *= scale
    for (s, y), factor in zip(pairs, reversed(factors), strict=True):
        q += s * (factor - (y @ q) / (s @ y))
    return q


def steps_and_changes(count: int) -> Any:
    """Pairs of a strictly convex quadratic, one for each column."""
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(H, T, C * N, C * N, generator=generator, dtype=torch.float64)
    hessian = root @ root.mT + torch.eye(C * N, dtype=torch.float64)
    steps = torch.randn(count, *SHAPE, generator=generator, dtype=torch.float64)
    changes = (hessian @ steps.view(count, H, T, C * N, 1)).view(count, *SHAPE)
    return steps, changes, torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def product(pairs: LbfgsPairs, gradient: Tensor, scale: Any) -> Tensor:
    before, factors = pairs.before(gradient)
    return pairs.after(before * scale, factors)


@pytest.mark.parametrize("count", [1, 4, MEMORY, MEMORY + 3, 3 * MEMORY + 1])
def test_the_product_is_that_of_the_two_loops(count: int) -> None:
    steps, changes, gradient = steps_and_changes(count)
    pairs = LbfgsPairs(gradient)
    for step, change in zip(steps, changes, strict=True):
        pairs.add(step, change)
    found = product(pairs, gradient, 0.3)
    for h in range(H):
        for t in range(T):
            both = zip(steps[:, h, t], changes[:, h, t], strict=True)
            flat = [(s.flatten(), y.flatten()) for s, y in both]
            wanted = two_loops(flat[-MEMORY:], gradient[h, t].flatten(), 0.3)
            torch.testing.assert_close(found[h, t].flatten(), wanted)
    # The secant equation: the newest change is mapped to its step.
    torch.testing.assert_close(product(pairs, changes[-1], 0.3), steps[-1])


def test_a_pair_without_positive_curvature_is_as_if_it_had_not_been() -> None:
    steps, changes, gradient = steps_and_changes(3)
    changes[1, 0, 0] *= -1
    pairs = LbfgsPairs(gradient)
    for step, change in zip(steps, changes, strict=True):
        pairs.add(step, change)
    flat = [(steps[i, 0, 0].flatten(), changes[i, 0, 0].flatten()) for i in (0, 2)]
    wanted = two_loops(flat, gradient[0, 0].flatten(), 1.0)
    torch.testing.assert_close(product(pairs, gradient, 1.0)[0, 0].flatten(), wanted)


def test_columns_that_are_kept_keep_their_pairs() -> None:
    steps, changes, gradient = steps_and_changes(4)
    pairs = LbfgsPairs(gradient)
    for step, change in zip(steps, changes, strict=True):
        pairs.add(step, change)
    whole = product(pairs, gradient, 2.0)
    pairs.keep(torch.tensor([1 * T + 0, 1 * T + 2]), torch.Size((1, 2, C, N)))
    part = product(pairs, gradient[1:, [0, 2]], 2.0)
    torch.testing.assert_close(part, whole[1:, [0, 2]])


@pytest.mark.parametrize("count", [0, 5, MEMORY + 3])
def test_pairs_of_another_penalty_are_those_that_this_one_would_have_given(count: int) -> None:
    steps, changes, gradient = steps_and_changes(count + 2)
    stiffer = torch.rand(H, T, 1, N, dtype=torch.float64)
    other, followed, fresh = LbfgsPairs(gradient), LbfgsPairs(gradient), LbfgsPairs(gradient)
    for step, change in zip(steps[:count], changes[:count], strict=True):
        other.add(step, change)
        fresh.add(step, change + stiffer * step)
    followed.follow(other, stiffer)
    assert followed.count == min(count, MEMORY)
    for step, change in zip(steps[count:], changes[count:], strict=True):
        for pairs in (followed, fresh):
            pairs.add(step, change + stiffer * step)
    torch.testing.assert_close(product(followed, gradient, 0.3), product(fresh, gradient, 0.3))


def test_followed_pairs_that_would_curve_downwards_are_as_if_they_had_not_been() -> None:
    steps, changes, gradient = steps_and_changes(4)
    other, followed, fresh = LbfgsPairs(gradient), LbfgsPairs(gradient), LbfgsPairs(gradient)
    softer = torch.zeros(H, T, 1, 1, dtype=torch.float64)
    softer[0, 0] = -1e3  # more than what the first column's penalty can have been
    for step, change in zip(steps, changes, strict=True):
        other.add(step, change)
        fresh.add(step, change + softer * step)
    followed.follow(other, softer)
    found = product(followed, gradient, 0.3)
    torch.testing.assert_close(found, product(fresh, gradient, 0.3))
    torch.testing.assert_close(found[0, 0], 0.3 * gradient[0, 0])
