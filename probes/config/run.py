"""The configuration of a run: how activations are read, probed, judged and reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from probes.config.choices import choice
from probes.config.corpus_kinds import GrammarConfig
from probes.config.methods import (
    MEASURES,
    AblationConfig,
    AttributionConfig,
    PatchingConfig,
    SteeringConfig,
)
from probes.config.model import ModelConfig

# --- reading activations ----------------------------------------------------------------------


@dataclass
class PositionConfig:
    """Where in its tokens a unit is read."""

    word: str = choice("last_subword", ("last_subword", "first_subword", "mean", "every_subword"))
    """For words and spans; every_subword gives a row for each."""
    text: str = choice("last_token", ("last_token", "mean"))
    """For sentences and answers."""


@dataclass
class ExtractionConfig:
    """How the model is run and what is stored."""

    dtype: str = choice("auto", ("auto", "float16", "bfloat16", "float32"))
    """Of the stored activations. ``auto``: float16, or float32 for a site where float16 overflows
    or rounds more than a thousandth of a head's variance away. Other dtypes are kept as they are
    asked for, and what they lose is said."""
    tokens_per_batch: int = 4096
    """Upper bound of padded tokens in a batch; halved automatically when memory runs out."""


# --- probing ----------------------------------------------------------------------------------


@dataclass
class ProbeConfig:
    """What all probes share."""

    name: str = "linear"


PENALTIES = (10.0, 100.0, 1000.0)
"""On standardised features, ``1/C`` of scikit-learn: those that a linear probe chooses among."""
WEAKER, STRONGER = (1.0, 0.1), (1e4, 1e5)
"""Those that it goes on to, one after another, where the last one was clearly the best."""


@dataclass
class LinearConfig(ProbeConfig):
    """Multinomial logistic regression with L2, solved to its optimum."""

    l2: list[float] | None = None
    """Penalties on standardised features, ``1/C`` of scikit-learn; each head takes the one that is
    best on validation. null: 10, 100 and 1000, and where a head at the run's site takes the first
    or last of them, also 1 and 0.1, or 1e4 and 1e5, as long as each is better than the one before
    by more than a standard error. Penalties that are given are never extended."""
    tolerance: float = 1e-4
    """Relative gap of the objective to its optimum at which a column counts as converged."""
    max_iterations: int = 500


@dataclass
class MLPConfig(ProbeConfig):
    """One hidden layer of rectified units, AdamW, early stopping of each head by itself."""

    name: str = "mlp"
    hidden: int = 64
    """Units of the hidden layer."""
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    epochs: int = 30
    """At most; the weights of each head's best epoch on validation are kept."""
    patience: int = 3
    """A head stops after this many epochs in a row without a smaller validation loss."""
    batch_size: int = 512
    """Rows of a step, the same rows for all heads; reduced so that an epoch has at
    least 16 steps."""


@dataclass
class CustomProbeConfig(ProbeConfig):
    """A probe from outside: a function that fits the heads of a chunk, by its name."""

    name: str = "custom"
    _target_: str = "???"
    """``path/to/FILE.py:NAME`` or ``package.module:NAME``: called with the activations, problems,
    classes and options, it returns linear layers for each problem."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the function gets as ``options``."""


@dataclass
class SplitConfig:
    """Which examples are trained on, chosen on and reported on; always by group."""

    source: str = choice("auto", ("auto", "shipped", "group"))
    """auto: the split that the corpus ships, missing parts drawn from train; shipped: that split,
    which must be complete; group: draw a new one."""
    validation: float = 0.15
    test: float = 0.15
    """Share of the groups, where a part is drawn."""
    seed: int = 0
    folds: int = 0
    """K > 1: nested cross-validation by group instead of one split."""


WHOLE_LAYERS = ("auto", "all", "none")
"""Which layers get probes of the whole layer."""


@dataclass
class BaselineConfig:
    """What the heads are compared with."""

    all_heads: str = choice("auto", WHOLE_LAYERS)
    """A probe on all heads of a layer together. ``auto``: in every layer of models of up to 12
    layers; of deeper ones in an even sample of 12, the first and the last among them, and in the
    layers of the features' best heads."""
    residual: str = choice("auto", WHOLE_LAYERS)
    """A probe on the residual stream after a layer; ``auto`` as for ``all_heads``."""
    random_init: bool = False
    """The same heads of the randomly initialised model: extracts and trains them too."""
    lexical: bool = True
    """Majority class of the word type; bag of words plus length for texts."""

    def __post_init__(self) -> None:
        for name in ("all_heads", "residual"):  # which were true or false once
            value = str(getattr(self, name))
            setattr(self, name, {"true": "auto", "false": "none"}.get(value.lower(), value))


@dataclass
class EvaluationConfig:
    """Evidence in addition to the accuracy."""

    bootstrap: int = 1000
    """Draws of the cluster bootstrap; 0: no intervals."""
    confidence: float = 0.95
    control: bool = True
    """Control task and selectivity (Hewitt and Liang 2019)."""
    codelength: bool = False
    """Online codelength (Voita and Titov 2020): fitting takes two to three times as long."""
    erase: str | None = None
    """Probe the heads again after this feature was erased from them linearly (LEACE)."""
    metrics: list[str] = field(default_factory=list)
    """Further metrics of your own: ``[FILE.py:NAME]`` or ``[package.module:NAME]``."""


@dataclass
class SignificanceConfig:
    """Tests over the whole map."""

    permutations: int = 0
    """N > 0: refit every head on N permuted label vectors."""
    level: float = 0.05


@dataclass
class TrainerConfig:
    """Device, and whether bars are shown."""

    accelerator: str = choice("auto", ("auto", "cpu", "gpu"))
    """auto: a CUDA device where there is one."""
    progress: bool = True
    """Show how far extraction and fits have come: a bar on a terminal, elsewhere a line in the log
    every half minute."""


@dataclass
class LoggerConfig:
    """Where metrics go in addition to the run directory."""

    name: str = choice("none", ("none", "csv", "tensorboard", "wandb"))
    project: str = "headprobes"
    entity: str | None = None
    group: str | None = None
    mode: str = choice("auto", ("auto", "online", "offline", "disabled"))
    """Of wandb; auto: online when logged in and the server can be reached, else offline."""
    tags: list[str] = field(default_factory=list)


@dataclass
class EngineConfig:
    """Where the parts of a run are carried out."""

    name: str = choice("local", ("local", "ray"))
    """local: in this process; ray: as tasks of Ray, on this machine or a cluster."""
    address: str | None = None
    """Of a Ray cluster: ``auto``, or HOST:PORT; null: Ray is started on this machine."""
    cpus: int = 1
    """Cores of a task, and threads of its computations."""
    gpus: float = 0.0
    """GPUs of a task."""
    memory: str | None = None
    """Memory that a task needs, such as 8GB, which Ray then keeps free for it."""


@dataclass
class AtlasConfig:
    """All features of the catalogue that suit the model, each read on its own corpus."""

    corpora: list[str] | None = None
    """Only these choices of the group ``corpus``; null: all of the catalogue."""
    stages: list[str] | None = None
    """Only these: KR, ICI, LR, EP; null: all."""
    examples: int | None = None
    """Of every generated corpus, for a quick look; null: as its config says, which is enough for
    all its classes. With 120, half of the corpora have classes below ``min_count``."""
    folds: int = 5
    """Folds in which corpora with few groups are cross-validated, so that all their groups are
    reported: nothing can be significant with two test groups. 0: never."""
    few_groups: int = 20
    """Corpora with fewer test groups than this are cross-validated."""


@dataclass
class RunConfig:
    """One run: from texts to maps."""

    model: ModelConfig = field(default_factory=ModelConfig)
    corpus: Any = field(default_factory=GrammarConfig)
    probe: Any = field(default_factory=LinearConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    position: PositionConfig = field(default_factory=PositionConfig)
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)
    baseline: BaselineConfig = field(default_factory=BaselineConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    significance: SignificanceConfig = field(default_factory=SignificanceConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    ablation: AblationConfig = field(default_factory=AblationConfig)
    patching: PatchingConfig = field(default_factory=PatchingConfig)
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    steering: SteeringConfig = field(default_factory=SteeringConfig)
    methods: list[str] = field(default_factory=lambda: ["probe"])
    """What gives each head a number: probe, and of the model's behaviour ablation, patching,
    attribution, direct_logit, steering."""
    measure: str = choice("auto", MEASURES)
    """What an edit changes; auto: the logit difference where the corpus has answers, the difference
    of sentences where it has pairs, else what the last layer's probe says (downstream)."""
    features: list[str] | None = None
    """What to decode; null: the corpus' default features."""
    site: str = choice("heads", ("heads", "residual", "attention_output", "mlp_output"))
    """Where activations are read; all but heads have one per layer."""
    layers: Any = None
    """Only these layers are computed, stored and probed: numbers (``[0,6,11]``), a range
    (``0-11``), every third layer of one (``0-11:3``), or every fourth layer of the model
    (``every:4``); null: all."""
    min_count: int = 10
    """Classes with fewer training units are dropped and reported."""
    truncate: bool = False
    """Cut answers that are longer than the context instead of refusing them."""
    seed: int = 0
    """Of controls, permutations and bootstrap draws, and of MLPs without ``seeds``."""
    seeds: list[int] = field(default_factory=list)
    """MLP: train one replica for each seed and report how much they differ."""
    cache_dir: str = "outputs/cache"
    """Where activations and simplified models are stored, for this run and later ones."""
    memory_budget: str = "1GB"
    """Upper bound for one chunk of activations in memory."""
    disk_budget: str | None = None
    """Upper bound for the run's activations on disk, such as 20GB. What is above it is extracted
    some layers at a time, fitted and dropped: the same results, but the model runs several times
    and no other run can use the activations. null: no bound."""
    until: str = choice("report", ("extraction", "report"))
    """``extraction`` stores the activations and ends; a later run with the same settings goes on
    from there, on another machine too. A sweep begins with such runs."""
    keep_parts: bool = False
    """Keep the parts of the fits (``parts/``) of a finished run, so that ``headprobes merge``
    can join it with runs of other layers or features. They take about as much as its probes and
    its evidence. Jobs of a sweep that can be joined keep theirs."""
    objective: str = "accuracy"
    """What a search (``hydra/sweeper=search``) maximises: a metric of the heads that are best on
    validation, the mean over features; ``FEATURE.METRIC`` for one of them."""
    shard: str | None = None
    """Do only this part of the run: ``0/4`` is the first of four; ``env`` takes the numbers of
    torchrun, srun or a Slurm array. ``headprobes merge`` joins the parts. null: all of it."""
