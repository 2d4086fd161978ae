"""Every kind of corpus: its configuration, and the module that reads or generates it.

A new kind is its module, and in this file a class and a row of ``CORPUS_KINDS``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from probes.config.choices import choice
from probes.config.corpus import CorpusConfig, GeneratedConfig, RecordsConfig, RowsConfig


@dataclass
class GrammarConfig(CorpusConfig):
    """The built-in corpus: sentences generated from a seeded grammar."""

    sentences: int = 800
    seed: int = 0


@dataclass
class UDConfig(CorpusConfig):
    """A directory of CoNLL-U files named ``*-ud-{train,dev,test}.conllu``; a part may have several
    (``*-ud-train-a.conllu``, ``*-ud-train-b.conllu``)."""

    name: str = "ud"
    path: str = "???"
    splits: dict[str, str | None] = field(
        default_factory=lambda: {"train": "train", "validation": "dev", "test": "test"}
    )
    """Which file (or pattern, such as ``*-train-*``) is read as which split; a part without a file
    is drawn from train. A file named twice goes to train before test before validation."""
    max_sentences: int | None = None
    """Read only the first sentences of each file."""


@dataclass
class BioConfig(CorpusConfig):
    """Token and BIO-tag columns, blank lines between sentences."""

    name: str = "bio"
    path: str | None = None
    """Directory of the files below; null: they are paths of their own."""
    train: str = "???"
    validation: str | None = None
    test: str | None = None
    token_column: int = 0
    tag_column: int = -1
    encoding: str = "utf-8"
    join: str | None = None
    """What stands between two words; null: a space, or nothing in scripts without spaces."""
    feature: str = "entity_type"
    outside: str = "O"
    """Class name of tokens outside any entity; they are kept as a class of their own."""


@dataclass
class TableConfig(RowsConfig):
    """Rows of a CSV, TSV, JSON Lines or ``label text`` file, one example each."""

    name: str = "table"
    path: str | None = None
    """A file, or the directory of the files named below."""
    files: list[str] = field(default_factory=list)
    """Files (or patterns like ``*.jsonl``) read one after the other; or one for each split:"""
    train: str | None = None
    validation: str | None = None
    test: str | None = None
    feature_per_file: bool = False
    """Each file's feature is named after the file; texts that recur in them are read once."""
    format: str = choice("auto", ("auto", "csv", "tsv", "jsonl", "json", "label_text"))
    """``auto``: by the file's ending; ``json`` is one list of objects."""
    delimiter: str | None = None
    """Between columns; null: comma in csv, tab in tsv, or what the file's first line has."""
    quotes: bool | None = None
    """Whether fields may stand in double quotes; null: in csv yes, in tsv where all do."""
    escape: str | None = None
    """What stands before a quote that is a character; null: a second quote, or a backslash where
    the file does so."""
    header: bool = True
    """Whether the first line names the columns; without it they are called 0, 1, 2, ..."""
    encoding: str = "utf-8"
    """Of files without a byte order mark, which names it."""
    split: str | None = None
    """Column of the split: train, dev, test and their usual short forms are understood."""
    split_values: dict[str, str] = field(default_factory=dict)
    """Other values of that column -> train, validation or test."""


@dataclass
class TruthfulQAConfig(CorpusConfig):
    """TruthfulQA's questions, each with its true and false answers."""

    name: str = "truthfulqa"
    path: str = "???"
    """TruthfulQA.csv, mc_task.json, a directory that holds one, or a Hub id."""
    prompt: str = "Q: {question} A: {answer}"


@dataclass
class RelationsConfig(CorpusConfig):
    """LRE's relations: subjects in prompt templates, and the object that each recalls."""

    name: str = "relations_lre"
    path: str = "???"
    """Directory with a JSON file for each relation, or one such file."""
    relations: list[str] = field(default_factory=list)
    """File names without ``.json``; empty: all."""
    max_subjects: int | None = None
    """Read only the first subjects of each relation."""
    min_shared: int = 20
    """An object is a class of its relation when this many subjects share it."""
    read: str = choice("end", ("end", "subject"))
    """Where the features are read: end of the prompt, or the subject."""


@dataclass
class FunctionVectorsConfig(CorpusConfig):
    """Few-shot prompts of input-output pairs: the demonstrations say which task it is."""

    name: str = "function_vectors"
    path: str = "???"
    """Directory with a JSON list of pairs for each task."""
    tasks: list[str] = field(default_factory=list)
    """File names without ``.json``; empty: all whose inputs are short enough."""
    outputs: list[str] = field(default_factory=list)
    """Tasks whose output is a feature of its own, named like the task."""
    examples: int = 40
    """Prompts of each task for the feature ``task``."""
    output_examples: int = 400
    """Prompts of each task in ``outputs``, at most."""
    shots: int = 5
    """Demonstrations before the question."""
    max_characters: int = 100
    """Pairs with a longer input are left out."""
    demonstration: str = "Q: {input}\nA: {output}\n\n"
    question: str = "Q: {input}\nA:"
    seed: int = 0


@dataclass
class SemEvalConfig(CorpusConfig):
    """SemEval-2010 task 8: which relation holds between two marked nominals."""

    name: str = "semeval2010_task8"
    path: str = "???"
    """Directory of the two files."""
    train: str = "SemEval2010_task8_training/TRAIN_FILE.TXT"
    test: str | None = "SemEval2010_task8_testing_keys/TEST_FILE_FULL.TXT"
    read: str = choice("second", ("second", "pair"))
    """``second``: the later nominal; ``pair``: from the first through the second."""


@dataclass
class IOIConfig(CorpusConfig):
    """Prompts of indirect object identification: two names, one of which comes again."""

    name: str = "ioi_841"
    path: str = "???"
    """ioi.json, or the directory that holds it."""
    group: str = choice("template", ("template", "names"))
    """``template``: test prompts are worded in a new way (13 templates: wide intervals);
    ``names``: their two names were never together in training."""


@dataclass
class BenchmarkConfig(RowsConfig, RecordsConfig):
    """Records with a text and labels. Columns may lead inside: ``answer.type``, ``questions.0``."""

    name: str = "benchmark"


@dataclass
class AgendaConfig(RecordsConfig):
    """AGENDA: abstracts of papers and the entities in them."""

    name: str = "agenda"
    max_characters: int = 1500
    """Longer abstracts are left out."""


@dataclass
class MultipleChoiceConfig(RecordsConfig):
    """Questions with lettered options."""

    name: str = "multiple_choice"
    question: str = "{question}"
    """Template of columns."""
    options: list[str] = field(default_factory=lambda: ["choice*"])
    """Columns of the options (``*`` stands for any ending), or the one column that lists them."""
    answer: str = "answer"
    """Column of the right option: its number from 0, or its letter."""
    subject: str = "subject"
    """Column of the feature ``subject``; without it, what the file is called."""
    subjects: list[str] = field(default_factory=list)
    """Only these subjects; empty: all."""
    prompt: str = "{question}\n{options}\nAnswer:"
    max_characters: int = 1000
    """Longer prompts are left out."""


@dataclass
class DatasetsConfig(RowsConfig):
    """A Hugging Face dataset by name or local path (extra ``datasets``)."""

    name: str = "datasets"
    path: str = "???"
    """Hub id, directory of data files, or a directory written by ``save_to_disk``."""
    config: str | None = None
    """Which of the dataset's configurations."""
    revision: str | None = None
    splits: dict[str, str | None] = field(
        default_factory=lambda: {"train": "train", "validation": "validation", "test": "test"}
    )
    """Which of its splits is read as which; a part that it lacks is drawn from train."""
    tokens: str | None = None
    """Column with a list of words: the labels are then lists too, one value a word."""
    join: str | None = None
    """What stands between two words; null: a space, or nothing in scripts without spaces."""
    bio: bool = False
    """Strip B- and I- from the labels of words."""
    max_examples: int | None = None
    """Read only the first rows of each split; nothing is drawn."""


@dataclass
class CustomCorpusConfig(GeneratedConfig):
    """A corpus from outside: a function that reads or generates one, by its name."""

    name: str = "custom"
    _target_: str = "???"
    """``path/to/FILE.py:NAME`` or ``package.module:NAME``. It is called with this configuration, as
    a module of ``corpora/generated`` is, and returns a ``Corpus`` or a ``GeneratedCorpus``."""


class CorpusKind(NamedTuple):
    """One row of the table of kinds."""

    config: type[CorpusConfig]
    """What ``corpus=KIND`` and the presets made from it can set."""
    module: str
    """In ``probes.corpora``; its ``load(config)`` returns the corpus. Imported when it is used."""
    reads_first: bool = False
    """Whether ``max_examples`` is the reader's own: it stops after the first records of each part,
    for data sets that are too large to be read whole. Else ``subset.py`` draws."""


CORPUS_KINDS: dict[str, CorpusKind] = {
    "grammar": CorpusKind(GrammarConfig, "grammar.sentences"),
    "generated": CorpusKind(GeneratedConfig, "generated"),
    "custom": CorpusKind(CustomCorpusConfig, "custom"),
    "ud": CorpusKind(UDConfig, "readers.ud"),
    "bio": CorpusKind(BioConfig, "readers.bio"),
    "table": CorpusKind(TableConfig, "readers.table"),
    "truthfulqa": CorpusKind(TruthfulQAConfig, "readers.truthfulqa"),
    "relations_lre": CorpusKind(RelationsConfig, "readers.relations_lre"),
    "function_vectors": CorpusKind(FunctionVectorsConfig, "readers.function_vectors"),
    "semeval2010_task8": CorpusKind(SemEvalConfig, "readers.semeval2010_task8"),
    "ioi_841": CorpusKind(IOIConfig, "readers.ioi_841"),
    "multiple_choice": CorpusKind(
        MultipleChoiceConfig, "readers.multiple_choice", reads_first=True
    ),
    "benchmark": CorpusKind(BenchmarkConfig, "readers.benchmark", reads_first=True),
    "agenda": CorpusKind(AgendaConfig, "readers.agenda", reads_first=True),
    "datasets": CorpusKind(DatasetsConfig, "readers.datasets", reads_first=True),
}
"""Kind -> its configuration and its module. The choices of ``conf/corpus/`` extend these."""
