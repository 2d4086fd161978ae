"""Directions of a class and of the controls, against their definitions in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from probes.interventions.directions import (
    Push,
    class_difference,
    class_weight,
    covariance_directions,
    other_heads,
    push_along,
    random_directions,
)
from probes.models.sites import Site

SITES = [Site("decoder", n, "heads", 6, 4, f"layers.{n}.o_proj", "input") for n in range(2)]


def outputs(site: Site, head: int) -> torch.Tensor:
    """Training rows of a head, with a spread of its own along every axis and none along the last"""
    random = np.random.default_rng(100 * site.layer + head)
    z = random.normal(size=(200, 4)) * [5.0, 1.0, 0.2, 0.0] + 3
    return torch.from_numpy(z).float()


def pushes(heads: list[int]) -> list[Push]:
    return [
        push_along(site, head, torch.tensor([0.6, 0.8, 0.0, 0.0]), outputs(site, head))
        for site in SITES
        for head in heads
    ]


def test_the_class_difference_is_a_unit_vector_between_the_means() -> None:
    z, labels = outputs(SITES[0], 0), torch.arange(200) % 3 == 1
    wanted = z[labels].double().mean(0) - z[~labels].double().mean(0)
    torch.testing.assert_close(class_difference(z, labels), wanted / wanted.norm())
    same = torch.ones(10, 4)
    assert not class_difference(same, torch.arange(10) < 5).any()  # no direction, so no push


def test_the_weight_of_a_class_stands_against_the_mean_of_the_others() -> None:
    weight = torch.tensor([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 0, 3.0, 0]])
    wanted = torch.tensor([-0.5, 2.0, -1.5, 0]).double()
    torch.testing.assert_close(class_weight(weight, 1), wanted / wanted.norm())
    torch.testing.assert_close(class_weight(weight[1:2], 1), torch.tensor([0, 1.0, 0, 0]).double())
    torch.testing.assert_close(class_weight(weight[1:2], 0), torch.tensor([0, -1.0, 0, 0]).double())


def test_a_strength_is_one_standard_deviation_along_the_direction() -> None:
    push = pushes([2])[0]
    along = outputs(SITES[0], 2).numpy().astype(np.float64) @ [0.6, 0.8, 0, 0]
    assert push.norm == pytest.approx(along.std(), rel=1e-6)
    assert push.times(-3).norm == pytest.approx(3 * along.std(), rel=1e-6)
    assert push.times(0).norm == 0


def test_controls_push_exactly_as_far() -> None:
    own = pushes([0, 3])
    heads, again = other_heads(
        own, lambda site, head: push_along(site, head, torch.ones(4), outputs(site, head)), 0
    )
    for control in (random_directions(own, 0), covariance_directions(own, outputs, 0), heads):
        np.testing.assert_allclose([p.norm for p in control], [p.norm for p in own], rtol=1e-5)
        assert [p.site for p in control] == [p.site for p in own]
        assert not np.allclose(control[0].vector, own[0].vector)
    assert again == 0 and not {p.head for p in heads} & {0, 3}
    assert random_directions(own, 0)[0].vector.equal(random_directions(own, 0)[0].vector)
    assert not random_directions(own, 0)[0].vector.equal(random_directions(own, 1)[0].vector)


def test_random_heads_fall_back_on_pushed_ones_only_where_no_other_is_left() -> None:
    own = pushes([0, 1, 2, 3])
    heads, again = other_heads(own, lambda site, head: Push(site, head, torch.ones(4)), 0)
    assert again == 4  # two in each of both layers
    for site in SITES:
        drawn = [p.head for p in heads if p.site == site]
        assert len(set(drawn)) == 4 and {4, 5} <= set(drawn)


def test_directions_of_the_covariance_vary_as_the_outputs_do() -> None:
    own = pushes([1])[:1]
    drawn = np.stack([covariance_directions(own, outputs, s)[0].vector for s in range(400)])
    assert not drawn[:, 3].any()  # a constant output is never pushed
    share = (drawn**2).mean(axis=0) / own[0].norm ** 2
    z = outputs(SITES[0], 1).numpy() - outputs(SITES[0], 1).numpy().mean(axis=0)
    random = np.random.default_rng(0).normal(size=(4000, 200)) @ z
    wanted = ((random / np.linalg.norm(random, axis=1, keepdims=True)) ** 2).mean(axis=0)
    np.testing.assert_allclose(share, wanted, atol=0.03)
    even = np.stack([random_directions(own, s)[0].vector for s in range(400)])
    np.testing.assert_allclose((even**2).mean(axis=0) / own[0].norm ** 2, 0.25, atol=0.05)
