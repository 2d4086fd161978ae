"""What the configurations of several kinds of corpora share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from probes.config.choices import choice


@dataclass
class CorpusConfig:
    """What all corpora share; each kind of corpus extends it."""

    name: str = "grammar"
    max_examples: int | None = field(default=None, kw_only=True)
    """At most so many texts, in whole groups: each part of a shipped split keeps its share. null:
    all."""
    sample_seed: int = field(default=0, kw_only=True)
    """Which groups ``max_examples`` draws."""


@dataclass
class GeneratedConfig(CorpusConfig):
    """A generated task of the catalogue: induction, ioi, facts, ...; any number of examples."""

    name: str = "induction"
    examples: int = 1000
    seed: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    """What the task can vary (length, depth, ...); an unknown name lists them."""


@dataclass
class RowsConfig(CorpusConfig):
    """How the columns of a table become texts and labels."""

    text: str = "text"
    """Column of the text, by name, or by number where there is no header; or a template of
    columns such as ``Q: {question} A: {answer}``."""
    labels: dict[str, str] = field(default_factory=dict)
    """Feature name -> column; empty: the column ``label`` as the feature ``label``."""
    classes: dict[str, Any] = field(default_factory=dict)
    """Value in the file -> class name; other values stay as they are. YAML's yes and no stay
    words. On the command line
    ``+corpus.classes.0=negative`` (Hydra takes no numbers as keys in braces)."""
    cut: dict[str, str] = field(default_factory=dict)
    """Feature -> mark at which its values are cut: ``:`` turns NUM:dist into NUM."""
    threshold: float | None = None
    """Turn numeric labels into ``yes`` (at or above) and ``no``."""
    group: str | None = None
    """Column of the group; null: the text itself, or the row of a pair."""
    span: list[str] | None = None
    """Columns of a character span [start, end) in the text: the label is read there."""
    level: str = choice("sentence", ("sentence", "answer"))
    """What a row is; ``corpus.span`` makes it a span."""
    pairs: dict[str, str] = field(default_factory=dict)
    """Class -> column of the text that is an example of it: rows of contrasting texts."""
    pair_feature: str = "acceptability"
    """Name of the feature whose classes ``pairs`` gives."""
    preferred: str | None = None
    """Of pairs: the class whose text a model should find more likely than the others."""
    answer: str | None = None
    """Column of what comes next after the text."""
    answer_prefix: str = " "
    """What stands between text and answer, where neither brings a space."""
    alternatives: str | None = None
    """Column of wrong answers: a list, or one string with ``|`` between them."""
    corrupted: str | None = None
    """Column of a text of as many words with another answer, or none."""
    peers: str | None = None
    """Column of what is asked: answers of other rows with the same value are alternatives."""
    swap: str | None = None
    """Column of the part of the text that it is asked about: exchanged for that of a peer with
    another answer it makes a corrupted text."""


@dataclass
class RecordsConfig(CorpusConfig):
    """Where a benchmark's records are stored: a local copy, or the Hugging Face Hub."""

    path: str = "???"
    """csv, tsv, json or jsonl file, directory of such files, directory written by ``save_to_disk``;
    what is none of these is a Hub id (extra ``datasets``)."""
    config: str | None = None
    """Which of the Hub dataset's configurations."""
    revision: str | None = None
    columns: list[str] = field(default_factory=list)
    """Names of the columns of csv files whose first line is a record already."""
    splits: dict[str, str | None] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    """Which of its parts is read as which split: a Hub split, or the local files named after it
    (``dev.csv``, ``dev-0001.jsonl``, ``anatomy_dev.csv``). A single file is all train."""
    max_examples: int | None = None
    """Read only the first records of each file or part; nothing is drawn."""
