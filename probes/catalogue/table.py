"""The catalogue for people: a table for each stage in the terminal, one table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from probes.catalogue.entry import STAGES, Entry


def print_catalogue(entries: Sequence[Entry], console: Console) -> None:
    """Print entries; consecutive entries of one stage share a table."""
    for stage, members in groupby(entries, key=lambda entry: entry.stage):
        table = Table(
            title=f"{stage}: {STAGES[stage]}",
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 2, 1, 0),
            expand=True,
        )
        table.add_column("head", ratio=5)
        table.add_column("what it does", ratio=9)
        table.add_column("corpus", no_wrap=True)  # a truncated name cannot be used
        table.add_column("features", no_wrap=True)
        table.add_column("read at", ratio=4)
        for entry in members:
            table.add_row(
                f"{entry.kind}\n[dim]{entry.substage}[/]",
                f"{escape(entry.definition)}\n[dim]{escape(_source(entry))}[/]",
                "\n".join([entry.corpus, *(f"{k}={v}" for k, v in entry.options.items())]),
                "\n".join(entry.features),
                entry.read_at + ("\n[dim]decoders only[/]" if entry.decoders_only else ""),
            )
        console.print(table)
    console.print(
        f"{len(entries)} entries, {len({entry.kind for entry in entries})} kinds of heads. "
        "Overrides, papers and published benchmarks of each: --json",
        markup=False,
    )


def _source(entry: Entry) -> str:
    paper = entry.paper
    return f"{paper}, arXiv {paper.arxiv}" if paper.arxiv else f"{paper}"


def markdown_table(entries: Sequence[Entry]) -> str:
    """The entries as a Markdown table, one row each, for the documentation."""
    rows = [
        ("stage", "kind of head", "described by", "corpus", "features", "read at"),
        ("---",) * 6,
    ]
    for entry in entries:
        arxiv = f" ({entry.paper.arxiv})" if entry.paper.arxiv else ""
        options = "".join(f" {key}={value}" for key, value in entry.options.items())
        rows.append(
            (
                entry.stage,
                entry.kind,
                f"{entry.paper}{arxiv}",
                f"`{entry.corpus}`{options}",
                ", ".join(f"`{feature}`" for feature in entry.features),
                entry.read_at + ("; decoders" if entry.decoders_only else ""),
            )
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
