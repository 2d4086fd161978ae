"""Probes from outside the package: a function of the user's own fits the heads of a chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from probes.config import CustomProbeConfig, ProbeConfig
from probes.core.errors import UserError
from probes.core.targets import FORMS, load_target
from probes.training.chunk_fit import Fitted
from probes.training.penalty_choice import score_path
from probes.training.problems import Problem

KEY = "probe._target_"


@dataclass(frozen=True)
class LinearLayers:
    """What a probe from outside returns for one problem: a linear layer for each head.

    Scores of raw activations ``z`` are ``z @ weight.T + bias``, one column a class; for two classes
    one column, the score of class 1 against class 0, is allowed too. A method that standardises
    folds its scaler into both.
    """

    weight: Tensor
    """(H, C, D), or (H, 1, D) for two classes."""
    bias: Tensor
    """(H, C), or (H, 1)."""
    choice: Tensor | None = None
    """(H,) what the method chose for each head on the ``select`` rows, as a penalty; saved with the
    probes. None where nothing is chosen."""


def load_probe(config: ProbeConfig) -> Callable[..., object] | None:
    """The function of ``probe=custom``, None for other probes.

    Raises:
        UserError: the target is not set or cannot be loaded.
    """
    if not isinstance(config, CustomProbeConfig):
        return None
    if config._target_ in ("???", ""):
        raise UserError(f"{KEY} is not set", allowed=FORMS, fix=f"{KEY}=FILE.py:NAME")
    return load_target(config._target_, key=KEY)


def fit_custom(
    z: Tensor, problems: Sequence[Problem], config: CustomProbeConfig, *, classes: int
) -> list[Fitted]:
    """Fit every problem on every head of ``z`` (H, n, D) float32 with the user's function.

    It is called as ``function(z, problems, classes=C, options=config.options)`` and returns one
    ``LinearLayers`` for each problem, in their order. It may train on ``problem.train`` rows and
    choose on ``problem.select`` rows; ``problem.score`` rows are what is reported.

    Raises:
        UserError: the target cannot be loaded, or returns something else.
    """
    function = load_probe(config)
    assert function is not None
    try:
        returned = function(z, problems, classes=classes, options=dict(config.options))
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # an error inside the function, whose traceback its author needs
        raise UserError(
            f"{KEY}={config._target_}: {error}",
            allowed="a function (z, problems, *, classes, options)",
        ) from error
    if not isinstance(returned, (list, tuple)):
        raise _wrong(config, f"an object of type {type(returned).__name__}")
    if len(returned) != len(problems):
        raise _wrong(config, f"{len(returned)} fits for {len(problems)} problems")
    return [
        _fitted(z, problem, _checked(layers, z, problem, config, classes))
        for problem, layers in zip(problems, returned, strict=True)
    ]


def _fitted(z: Tensor, problem: Problem, layers: LinearLayers) -> Fitted:
    H = len(z)
    accuracy = torch.full((H,), float("nan"))
    if problem.select.any():
        scores, _, _ = score_path(z, problem, layers.weight[:, None], layers.bias[:, None])
        accuracy = scores[:, 0].float().cpu()
    choice = torch.zeros(H) if layers.choice is None else layers.choice.cpu().float()
    return Fitted(problem, {"weight": layers.weight, "bias": layers.bias}, choice, accuracy)


def _checked(
    layers: object, z: Tensor, problem: Problem, config: CustomProbeConfig, classes: int
) -> LinearLayers:
    """The layers of one problem, as banks store them."""
    H, _, D = z.shape
    if not isinstance(layers, LinearLayers):
        raise _wrong(config, f"an object of type {type(layers).__name__} for {problem.name}")
    columns = (1, 2) if classes == 2 else (classes,)
    weights = [(H, C, D) for C in columns]
    if not isinstance(layers.weight, Tensor) or tuple(layers.weight.shape) not in weights:
        raise _wrong(config, f"a weight {_described(layers.weight)}, not of shape {weights[-1]}")
    bias = tuple(layers.weight.shape[:2])
    if not isinstance(layers.bias, Tensor) or tuple(layers.bias.shape) != bias:
        raise _wrong(config, f"a bias {_described(layers.bias)}, not of shape {bias}")
    weight, offset, choice = layers.weight.detach(), layers.bias.detach(), layers.choice
    for name, tensor in (("weight", weight), ("bias", offset)):
        if tensor.is_complex() or not bool(torch.isfinite(tensor).all()):
            raise _wrong(config, f"a {name} for {problem.name} that is not finite")
    if choice is not None:
        if not isinstance(choice, Tensor) or tuple(choice.shape) != (H,):
            raise _wrong(config, f"a choice {_described(choice)}, not of shape {(H,)}")
        if not bool(torch.isfinite(choice).all()):
            raise _wrong(config, f"a choice for {problem.name} that is not finite")
    if classes == 2 and weight.shape[1] == 2:
        weight, offset = weight[:, 1:] - weight[:, :1], offset[:, 1:] - offset[:, :1]
    weight, offset = (t.to(z.device, torch.float32) for t in (weight, offset))
    return LinearLayers(weight, offset, None if choice is None else choice.detach())


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"of shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}"


def _wrong(config: CustomProbeConfig, what: str) -> UserError:
    return UserError(
        f"{KEY}={config._target_} returned {what}",
        allowed="a list with a probes.training.custom.LinearLayers for each problem: weight "
        "(heads, classes, d_head) and bias (heads, classes), which take raw head outputs",
    )
