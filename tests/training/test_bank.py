"""Banks against a loop over heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from probes.training.bank import ProbeBank, concatenate

D, M = 5, 4


def make_bank(
    kind: str = "linear", classes: int = 3, heads: tuple[int, ...] = (0, 1, 2), seed: int = 0
) -> ProbeBank:
    generator = torch.Generator().manual_seed(seed)
    H, K = len(heads), 1 if classes == 2 else classes
    shapes = {
        "linear": {"weight": (H, K, D), "bias": (H, K)},
        "mlp": {"w1": (H, D, M), "b1": (H, M), "w2": (H, M, classes), "b2": (H, classes)},
    }[kind]
    return ProbeBank(
        kind=kind,
        feature="upos",
        classes=tuple("abcdef"[:classes]),
        site="heads",
        stream="encoder",
        layer=1,
        heads=tuple(heads),
        tensors={name: torch.randn(shape, generator=generator) for name, shape in shapes.items()},
        choice=tuple(float(h) for h in heads),
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_logits_are_those_of_each_head(kind: str, classes: int) -> None:
    bank = make_bank(kind, classes)
    z = torch.randn(3, 7, D).half()
    logits = bank.logits(z)
    assert logits.shape == (3, 7, classes)
    t = {name: tensor.double().numpy() for name, tensor in bank.tensors.items()}
    for h in range(3):
        x = z[h].double().numpy()
        if kind == "mlp":
            wanted = np.maximum(x @ t["w1"][h] + t["b1"][h], 0) @ t["w2"][h] + t["b2"][h]
        else:
            wanted = x @ t["weight"][h].T + t["bias"][h]
            if classes == 2:
                wanted = np.concatenate([np.zeros_like(wanted), wanted], axis=1)
        np.testing.assert_allclose(logits[h], wanted, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_parts_and_concatenation(kind: str) -> None:
    bank = make_bank(kind, heads=(3, 5, 8))
    z = torch.randn(3, 4, D)
    assert torch.equal(bank.one(5).logits(z[1:2]), bank.slice(1, 2).logits(z[1:2]))
    torch.testing.assert_close(bank.one(5).logits(z[1:2])[0], bank.logits(z)[1])
    assert bank.one(5).heads == (5,) and bank.one(5).choice == (5.0,)
    whole = concatenate([bank.slice(0, 1), bank.slice(1, 3)])
    assert whole.heads == bank.heads and whole.choice == bank.choice
    assert all(torch.equal(whole.tensors[name], bank.tensors[name]) for name in bank.tensors)
    assert bank.width == D


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("weight", torch.zeros(3, 3, D)[:2]),
        ("weight", torch.zeros(3, 2, D)),
        ("bias", torch.zeros(3)),
        ("bias", torch.zeros(3, 3, dtype=torch.long)),
    ],
)
def test_wrong_shapes_and_dtypes_are_refused(name: str, tensor: Tensor) -> None:
    bank = make_bank()
    with pytest.raises(ValueError, match=name):
        ProbeBank(**{**vars(bank), "tensors": {**bank.tensors, name: tensor}})


def test_unknown_kind_and_missing_tensor_are_refused() -> None:
    bank = make_bank()
    with pytest.raises(ValueError, match="kind"):
        ProbeBank(**{**vars(bank), "kind": "tree"})
    with pytest.raises(ValueError, match="tensors"):
        ProbeBank(**{**vars(bank), "tensors": {"weight": bank.tensors["weight"]}})
