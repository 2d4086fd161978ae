"""Benchmarks of texts and labels, from a local copy or from the Hugging Face Hub."""

from __future__ import annotations

from probes.config import BenchmarkConfig
from probes.corpora.corpus import Corpus
from probes.corpora.readers.records import records
from probes.corpora.readers.rows import RowReader


def load(config: BenchmarkConfig) -> Corpus:
    """The corpus of ``corpus=sst2``, ``ag_news``, ``trivia_qa``, ``mquake`` and their like."""
    reader = RowReader(config)
    for record in records(config):
        reader.add(record.row, record.place, record.split)
    return reader.build([])
