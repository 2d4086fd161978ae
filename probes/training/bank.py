"""Many fitted probes as stacked tensors: what training yields and what is saved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from probes.solver import class_logits
from probes.training.problems import Role

SHAPES = {
    "linear": {"weight": "HKD", "bias": "HK"},
    "mlp": {"w1": "HDM", "b1": "HM", "w2": "HMC", "b2": "HC"},
}
"""Tensors of each kind with the symbols of their axes: H probes, D width of an activation, M
hidden units, C classes, K columns of a linear probe (C, or 1 for two classes)."""


@dataclass(frozen=True)
class ProbeBank:
    """The probes of several heads of one layer for one feature.

    The scaler is folded into the weights, so a bank takes raw activations. A linear probe of two
    classes has one column, the log-odds of the second class. Banks are saved and loaded, as a
    folder's ``probes.safetensors`` and ``probes.json``, by ``save_banks`` and ``load_banks`` in
    ``probes.results.banks``; ``load_run(...).probe(...)`` gives one head's as a classifier.
    """

    kind: str
    """``linear`` or ``mlp``: which tensors, see ``SHAPES``."""
    feature: str
    classes: tuple[str, ...]
    site: str
    stream: str
    layer: int
    heads: tuple[int, ...]
    """Index in the layer of each probe; ``(0,)`` for whole-layer sites."""
    tensors: dict[str, Tensor]
    problem: str = Role.REAL.value
    """``Problem.name`` of what it was trained on."""
    probe: str = ""
    """Name of the probe in the results."""
    choice: tuple[float, ...] = field(default=())
    """For each head what validation chose: the L2 penalty, or the number of epochs."""

    def __post_init__(self) -> None:
        sizes = {"H": len(self.heads), "C": len(self.classes)}
        sizes["K"] = 1 if len(self.classes) == 2 else len(self.classes)
        if len(set(self.heads)) != len(self.heads):
            raise ValueError(f"a head occurs twice in {self.heads}")
        if self.choice and len(self.choice) != len(self.heads):
            raise ValueError(f"{len(self.choice)} choices for {len(self.heads)} heads")
        if self.kind not in SHAPES:
            raise ValueError(f"kind '{self.kind}' is not one of {', '.join(SHAPES)}")
        if set(self.tensors) != set(SHAPES[self.kind]):
            raise ValueError(f"tensors {sorted(self.tensors)}, not {sorted(SHAPES[self.kind])}")
        for name, axes in SHAPES[self.kind].items():
            shape = self.tensors[name].shape
            wanted = [sizes.setdefault(axis, size) for axis, size in zip(axes, shape, strict=False)]
            if list(shape) != wanted or len(shape) != len(axes):
                raise ValueError(f"{name} has shape {tuple(shape)}, not {axes}={tuple(wanted)}")
            if not self.tensors[name].is_floating_point():
                raise ValueError(f"{name} is {self.tensors[name].dtype}, not floating point")

    @property
    def is_real(self) -> bool:
        """Whether it was trained on the task's own labels, under the task's own split."""
        return self.problem == Role.REAL

    @property
    def width(self) -> int:
        """Width D of the activations that the probes take."""
        axis, name = (2, "weight") if self.kind == "linear" else (1, "w1")
        return self.tensors[name].shape[axis]

    def logits(self, z: Tensor) -> Tensor:
        """Scores of raw activations ``z`` (H, N, D), as (H, N, C); softmax gives probabilities."""
        t = self.tensors
        z = z.to(next(iter(t.values())).dtype)
        if self.kind == "mlp":
            hidden = torch.baddbmm(t["b1"][:, None], z, t["w1"]).relu_()  # (H, N, M)
            return torch.baddbmm(t["b2"][:, None], hidden, t["w2"])  # (H, N, C)
        return class_logits(torch.baddbmm(t["bias"][:, None], z, t["weight"].mT))  # (H, N, C)

    def one(self, head: int) -> ProbeBank:
        """The bank of one head, by its index in the layer; ``KeyError`` without such a head."""
        if head not in self.heads:
            raise KeyError(head)
        at = self.heads.index(head)
        tensors = {name: tensor[at : at + 1] for name, tensor in self.tensors.items()}
        choice = self.choice[at : at + 1]
        return replace(self, heads=(head,), tensors=tensors, choice=choice)

    def slice(self, start: int, stop: int) -> ProbeBank:
        """The bank of the probes at positions ``start`` to ``stop``, as views."""
        tensors = {name: tensor[start:stop] for name, tensor in self.tensors.items()}
        heads, choice = self.heads[start:stop], self.choice[start:stop]
        return replace(self, heads=heads, tensors=tensors, choice=choice)

    def to(self, device: torch.device | str) -> ProbeBank:
        """The same probes on another device."""
        return replace(self, tensors={n: t.to(device) for n, t in self.tensors.items()})

    @property
    def key(self) -> str:
        """Name of the bank in a file; the chunks of one layer share it."""
        parts = (self.feature, self.site, self.probe or self.kind, self.stream, str(self.layer))
        return "/".join((*parts, self.problem))


def concatenate(banks: Sequence[ProbeBank]) -> ProbeBank:
    """The chunks of one layer as one bank, in the order given."""
    first = banks[0]
    assert all((b.key, b.kind, b.classes) == (first.key, first.kind, first.classes) for b in banks)
    heads = tuple(head for bank in banks for head in bank.heads)
    tensors = {name: torch.cat([bank.tensors[name] for bank in banks]) for name in first.tensors}
    choice = tuple(value for bank in banks for value in bank.choice)
    return replace(first, heads=heads, tensors=tensors, choice=choice)
