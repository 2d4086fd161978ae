"""The configuration of models: which one is read, and small ones that are trained first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from probes.config.choices import choice


@dataclass
class SimplifiedConfig:
    """A small decoder that is trained on a generated task before it is probed."""

    task: str = "induction"
    """Name of a generated corpus; the model learns the ``targets`` of its prompts."""
    options: dict[str, Any] = field(default_factory=dict)
    """Options of that task, as under ``corpus.options``."""
    architecture: str = choice("llama", ("llama", "smollm3", "gpt2", "gpt_neox"))
    layers: int = 2
    heads: int = 4
    width: int = 64
    """Of the residual stream; a head is ``width / heads`` wide."""
    mlp: int = 0
    """Units of the feed-forward part of each layer; 0: attention only."""
    context: int = 256
    """Most tokens of a prompt, the start token included."""
    window: int = 0
    """Tokens that the first layer reads, the current one included; 0: all. Only smollm3 has one.
    A short window lets layer 0 learn the previous token early, which layer 1 builds on."""
    steps: int = 3000
    """Most training steps; fewer where ``target`` is reached."""
    target: float | None = 0.99
    """Accuracy on held-out prompts at which training ends; null: train for all steps."""
    batch_size: int = 64
    learning_rate: float = 3e-3
    warmup: int = 50
    """Steps over which the learning rate rises from 0; it then falls to a tenth of its peak."""
    seed: int = 0
    """Of the initial weights and of the prompts, which differ from those of every corpus."""
    spread: float = 0.02
    """Standard deviation of the initial weights; larger (e.g. 0.1) shortens the plateau before
    circuits form."""
    evaluate_every: int = 25
    """Steps between two points of the training curve."""
    checkpoints: list[int] = field(default_factory=lambda: [0, 50, 100, 200, 400, 800])
    """Steps after which the model is stored too, for ``model.checkpoint``."""


@dataclass
class ModelConfig:
    """Which Hugging Face model is read, and how it is loaded."""

    name: str = "minilm"
    """Hub id, local directory, GGUF file, or a packaged model: ``minilm`` (of the ``demo`` extra),
    ``smollm2``, ``gemma3_270m``."""
    gguf_file: str | None = None
    """Which GGUF file, in a directory with several."""
    revision: str | None = None
    dtype: str = choice("auto", ("auto", "float32", "bfloat16", "float16", "float64"))
    """``auto`` keeps the checkpoint's; on a processor without bfloat16 instructions it takes
    float32 in place of bfloat16. GGUF files are unpacked to float32."""
    device_map: str | None = None
    """``auto`` spreads a large model over devices (needs accelerate); null: one device."""
    device: str = "auto"
    attention: str | None = None
    """Attention kernel: eager, sdpa, flash_attention_2; null: the model's default."""
    random_init: bool = False
    """Fresh weights in the same architecture: the baseline for what training has added."""
    random_seed: int = 0
    trust_remote_code: bool = False
    head_projection: str | None = None
    """Name of the attention output projection, where it is not found automatically."""
    bos: str = choice("auto", ("auto", "always", "never"))
    """``auto``: as the tokenizer does; ``always``: prepend BOS if it is missing."""
    chat: str = choice("none", ("none", "user"))
    """``user``: each text is a user's turn in the model's chat template. Texts that are answered (a
    prompt, a question with its answer) end with the generation prompt, where END is read, or with
    the answer as the model's reply."""
    max_length: int | None = None
    """Longest input in tokens; null: the model's context."""
    simplified: SimplifiedConfig | None = None
    """Train a small model on a generated task (or reuse it from ``cache_dir``) and read that."""
    checkpoint: int | None = None
    """Of a simplified model: the step of its training at which it is read; null: the last."""
