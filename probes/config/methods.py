"""The configuration of the methods beside probes: what is edited in a pass, and what it changes."""

from __future__ import annotations

from dataclasses import dataclass, field

from probes.config.choices import choice

METHODS = ("probe", "ablation", "patching", "attribution", "direct_logit", "steering")
"""What ``methods`` takes."""
EXACT = ("ablation", "patching")
"""Methods that edit every head alone, whose effects processes share."""
MEASURES = (
    *("auto", "logit_difference", "log_probability", "accuracy", "choice_accuracy"),
    *("sentence_difference", "loss", "downstream"),
)


@dataclass
class AblationConfig:
    """What takes the place of a head's output."""

    kind: str = choice("mean", ("mean", "zero", "mean_position", "resample"))
    """mean: over real tokens of training texts; zero; mean_position: over other texts of the same
    template at the same position from the end; resample: that of a random other training text."""
    positions: str = choice("all", ("all", "read"))
    """Where it is edited: at all tokens, or at those whose next token is scored."""
    first_token: bool = False
    """Edit the first token too, where heads park their attention."""
    heads: str = "all"
    """``all``, or ``top:N``: the N best by attribution and the N best by probe, chosen on
    validation, and a sample of the others."""
    draws: int = 1
    """resample: texts that an effect is the mean over."""
    matched: bool = True
    """Compare with the output in another training text of the same answer: the second test."""


@dataclass
class PatchingConfig:
    """What is exchanged between a text and its corrupted twin."""

    direction: str = choice("denoise", ("denoise", "noise"))
    """denoise: the clean output is put into the corrupted run; noise: the other way round."""
    contrast: str | None = None
    """Kind of the corrupted texts, such as ``third_name``; null: the first that the corpus has."""
    positions: str = choice("all", ("all", "read"))


@dataclass
class AttributionConfig:
    """The linear estimate of patching and of ablation, for all heads at once."""

    steps: int = 0
    """Points between both runs at which gradients are averaged; 0: the gradient of one run."""


@dataclass
class SteeringConfig:
    """What is added to a head's output along a direction."""

    direction: str = choice("mean_difference", ("mean_difference", "probe"))
    towards: str | None = None
    """Class that the direction points to; null: the second of the feature."""
    strengths: list[float] = field(default_factory=lambda: [-20, -10, -5, 0, 5, 10, 20])
    """In standard deviations of the head's output along its direction."""
    heads: list[int] = field(default_factory=lambda: [1, 8, 48])
    """How many of the best heads are steered together."""
    draws: int = 1
    """Random directions, and random heads, that each control is the mean of."""
    positions: str = choice("last", ("last", "generated", "all"))
    """last: where the model is read; generated: tokens of answers that it is given back; all: every
    token but the first."""
    neutral: str | None = None
    """Text file, one text a line, whose perplexity is shown beside; null: the corpus' own training
    texts, up to their answers."""
