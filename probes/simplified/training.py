"""Train a small decoder to predict the targets of a generated corpus.

The state that a resumed training needs is one safetensors file; everything else (batches, learning
rate) follows from the number of steps done, so that an interrupted training ends in the same
weights as an undisturbed one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lightning
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, IterableDataset

from probes.config import SimplifiedConfig, TrainerConfig
from probes.core.files import write_atomically
from probes.core.shown_progress import ShownProgress
from probes.simplified.examples import NO_TARGET, Examples, TrainingBatches
from probes.training.trainer import SingleProcess, accelerator_of, undisturbed

log = logging.getLogger(__name__)

SAVE_SECONDS = 5.0
"""Between two saved states: the work that a kill costs at most."""
LOWEST_RATE = 0.1
"""Learning rate of the last step, as a share of its peak."""
LARGEST_GRADIENT = 1.0
"""Norm at which gradients are clipped."""


@dataclass(frozen=True)
class Point:
    """One row of the training curve."""

    step: int
    loss: float
    """Mean cross-entropy of the steps since the point before, in nats; of held-out at step 0."""
    accuracy: float
    """On held-out prompts: share of the targets that are predicted."""
    seconds: float
    """Of training so far."""


def _checksum(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 of a training's state."""
    whole = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        whole.update(name.encode())
        whole.update(tensors[name].detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


class SimplifiedModule(lightning.LightningModule):
    """A causal language model, its optimiser and the curve so far."""

    def __init__(self, model: Any, config: SimplifiedConfig, held_out: Examples) -> None:
        super().__init__()
        self.model, self.config, self.held_out = model, config, held_out
        self.step = 0
        """Steps done, those before an interruption included."""
        self.curve: list[Point] = []
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
        self._losses: list[Tensor] = []
        self._seconds, self._since = 0.0, time.perf_counter()

    def answers(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (n, vocabulary) at the positions with a target, and these targets (n,)."""
        wanted = targets != NO_TARGET  # (B, T)
        # Padding stands on the right, where no earlier position of a decoder sees it.
        hidden = self.model.base_model(input_ids=ids).last_hidden_state  # (B, T, width)
        return self.model.get_output_embeddings()(hidden[wanted]), targets[wanted]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer that this module steps."""
        return self.optimizer

    def learning_rate(self) -> float:
        """Of the next step: a linear rise, then half a cosine down to a tenth."""
        config = self.config
        if self.step < config.warmup:
            return config.learning_rate * (self.step + 1) / config.warmup
        share = (self.step - config.warmup) / max(1, config.steps - config.warmup)
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        return config.learning_rate * (LOWEST_RATE + (1 - LOWEST_RATE) * fall)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate()

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Cross-entropy of the targets of a batch."""
        scores, targets = self.answers(*batch)
        loss = cross_entropy(scores, targets)
        self._losses.append(loss.detach())
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the step, and evaluate where it is due."""
        self.step += 1
        if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
            self.evaluate()
            target = self.config.target
            if target is not None and self.curve[-1].accuracy >= target:
                self.trainer.should_stop = True

    @torch.no_grad()
    def evaluate(self) -> None:
        """Add a point to the curve."""
        right, total, lost = 0, 0, 0.0
        for ids, targets in self.held_out.batches(256):
            scores, wanted = self.answers(ids.to(self.device), targets.to(self.device))
            right += int((scores.argmax(-1) == wanted).sum())
            lost += float(cross_entropy(scores, wanted, reduction="sum"))
            total += len(wanted)
        loss = float(torch.stack(self._losses).mean()) if self._losses else lost / total
        self._losses.clear()
        self.curve.append(Point(self.step, loss, right / total, round(self.seconds(), 2)))

    def seconds(self) -> float:
        """Of training so far, interruptions left out."""
        return self._seconds + time.perf_counter() - self._since

    def save_state(self, path: Path) -> None:
        """Write everything that going on from here needs, at once."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
        if self._losses:
            tensors["losses"] = torch.stack(self._losses)
        known = {
            "step": self.step,
            "seconds": self.seconds(),
            "curve": [vars(point) for point in self.curve],
        }
        tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
        text = json.dumps(known)
        metadata = {"state": text, "sha256": _checksum(tensors, text)}
        write_atomically(path, save(tensors, metadata))

    def load_state(self, path: Path) -> None:
        """Go on where ``save_state`` was called.

        Raises:
            ValueError: the file is damaged; the module is then as it was.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if metadata["sha256"] != _checksum(tensors, metadata["state"]):
                raise ValueError("its checksum differs from its content")
            known = json.loads(metadata["state"])
        except Exception as error:  # safetensors raises its own type for every kind of damage
            raise ValueError(str(error)) from None
        prefix = "model."
        self.model.load_state_dict(
            {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        )
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, entry = name.split(".")
                state.setdefault(int(index), {})[entry] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self._losses = list(tensors["losses"]) if "losses" in tensors else []
        self.step, self._seconds = known["step"], known["seconds"]
        self.curve = [Point(**point) for point in known["curve"]]


def train(
    module: SimplifiedModule,
    batches: TrainingBatches,
    trainer: TrainerConfig,
    *,
    state: Path,
    keep: Callable[[int], None],
) -> None:
    """Train to the accuracy or the number of steps that was asked for.

    state: file of an interrupted training, which is resumed where it exists; kept up to date.
    keep: called after each of ``config.checkpoints`` with the number of steps done. A step may
        come twice, with the same weights, when training was interrupted after it.
    """
    if state.exists():
        try:
            module.load_state(state)
        except ValueError as error:
            log.warning("training begins anew: its saved state %s is damaged (%s)", state, error)
    module._since = time.perf_counter()
    if module.step == 0:
        module.evaluate()
        if 0 in module.config.checkpoints:
            keep(0)
    target = module.config.target
    done = target is not None and bool(module.curve) and module.curve[-1].accuracy >= target
    left = 0 if done else module.config.steps - module.step
    if left > 0:
        with undisturbed():
            lightning.Trainer(
                accelerator=accelerator_of(trainer),
                devices=1,
                plugins=[SingleProcess()],
                max_epochs=1,
                gradient_clip_val=LARGEST_GRADIENT,
                logger=False,
                callbacks=[
                    _Keeper(state, keep),
                    *([_Shown(left)] if trainer.progress else []),
                ],
                enable_progress_bar=False,
                enable_checkpointing=False,
                enable_model_summary=False,
            ).fit(module, DataLoader(_Remaining(batches, module.step, left), batch_size=None))
    module.to("cpu")


class _Remaining(IterableDataset[tuple[Tensor, Tensor]]):
    """The batches of the steps that are left."""

    def __init__(self, batches: TrainingBatches, first: int, count: int) -> None:
        self.batches, self.first, self.count = batches, first, count

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return islice(self.batches.from_step(self.first), self.count)


class _Keeper(lightning.Callback):
    """Keeps the state for a resumption, and the models that were asked for."""

    def __init__(self, state: Path, keep: Callable[[int], None]) -> None:
        self.state, self.keep = state, keep
        self.saved = time.perf_counter()

    def on_train_batch_start(self, trainer: Any, module: Any, *args: Any) -> None:
        # The step before is counted by now, which it is not when callbacks hear of its end.
        self._note(module)

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self._note(module, always=True)

    def _note(self, module: Any, *, always: bool = False) -> None:
        if module.step in module.config.checkpoints and module.step > 0:
            self.keep(module.step)
        if always or time.perf_counter() - self.saved >= SAVE_SECONDS:
            module.save_state(self.state)
            self.saved = time.perf_counter()


class _Shown(lightning.Callback):
    """Steps done, time left and accuracy."""

    def __init__(self, steps: int) -> None:
        self.shown, self.steps = ShownProgress("training", steps), steps

    def on_train_start(self, trainer: Any, module: Any) -> None:
        self.shown.__enter__()

    def on_train_batch_end(
        self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accuracy = f"accuracy {module.curve[-1].accuracy:.3f}" if module.curve else ""
        self.shown.advance(
            1, note=accuracy, line=f"{batch_idx + 1} of {self.steps} steps, {accuracy}"
        )

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.shown.__exit__(None, None, None)

    def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
        self.shown.__exit__(None, None, None)
