"""Whether the code still gives the results it gave: jobs are recorded twice and compared.

    python -m benchmarks.same_results record DIR [--shared ../shared] [--only NAME ...]
    python -m benchmarks.same_results compare DIR_A DIR_B [--only NAME ...]
    python -m benchmarks.same_results open DIR [--only NAME ...]

``record`` runs ``train.py`` of this checkout for each of ``JOBS``, the run in ``DIR/runs/NAME``,
its activations in ``DIR/cache/NAME``, what it printed in ``DIR/logs/NAME.txt``. ``compare`` takes
``DIR_A`` as the reference and prints one line for each file that differs, one for each column, key
or file that ``DIR_B`` adds, and a summary as JSON; its exit status is 1 where anything differs:

- ``*.safetensors`` (activations, rows, probes) by their bytes, under the same names of directories,
  so that the keys of caches must agree as well; those of ``UNORDERED`` by tensors and metadata
- ``*.csv`` cell by cell as text, in the columns of ``DIR_A``; columns may be added between them
- ``*.json`` by value, without the keys of ``IGNORED``; keys may be added
- other files (maps, pages, logs) need only be there

``open`` reads all that was recorded with the loaders of this checkout, so that old directories are
shown to stay readable. Record on one machine: another processor or number of threads rounds sums
differently. Give both records the same ``--shared``, for it is part of what runs write down.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import safe_open

from benchmarks.lines import report

STORIES = "model=hf model.name={shared}/models/stories260K"
JOBS = {
    "default": "",
    "treebank": "corpus=ud corpus.path={shared}/data/ud_english_ewt corpus.max_sentences=80 "
    "features=[upos,deprel] layers=[1,4] significance.permutations=20 evaluation.codelength=true "
    "split.folds=3",
    "mlp": "probe=mlp features=[upos] layers=[0,1]",
    "induction": f"{STORIES} corpus=induction corpus.examples=400",
    "ioi": f"{STORIES} corpus=ioi corpus.examples=600",
    "atlas": f"experiment=atlas {STORIES} atlas.corpora=[key_value,binary] atlas.examples=300",
    "sweep": "-m experiment=smoke probe=linear,mlp seed=0,1",
    "erased": "corpus.sentences=300 features=[deprel] layers=[1,4] baseline.random_init=true "
    "evaluation.erase=upos",
}
"""Arguments of ``train.py``; {shared} is the directory of the real corpora and models."""

IGNORED = {
    "created",
    "timings",
    "rows_per_second",
    "tokens_per_second",
    "peak_memory_bytes",
    "version",
    "environment",
    "cache_dir",
}
"""Keys of JSON files, at any depth, that hold times, memory, versions and the path of DIR."""

ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"}
"""Of every job: no network, one number of threads, and threads that sleep while they wait: those
that spin make a job ten times slower where another process has one of the two cores."""

UNORDERED = {"evidence.safetensors"}
"""Files whose bytes differ from run to run, as safetensors writes their metadata in random order.
Their tensors and metadata must be equal instead; such files are reported as rewritten."""

CHECKOUT = Path(__file__).resolve().parents[1]
SHOWN = 3
"""Differences of one file that its line names."""


def record(directory: Path, names: list[str], shared: str) -> None:
    """Run the jobs one after the other; a job that fails ends the recording."""
    for name in names:
        run_dir, log = directory / "runs" / name, directory / "logs" / f"{name}.txt"
        if run_dir.exists():
            raise SystemExit(f"{run_dir}: already recorded; remove it, its cache and its log first")
        log.parent.mkdir(parents=True, exist_ok=True)
        overrides = [part.format(shared=shared) for part in shlex.split(JOBS[name])]
        place = "hydra.sweep.dir" if "-m" in overrides else "hydra.run.dir"
        overrides += [f"{place}={run_dir}", f"cache_dir={directory / 'cache' / name}"]
        command = [sys.executable, "train.py", *overrides, "trainer.progress=false"]
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": str(CHECKOUT)}
        start = time.perf_counter()
        with log.open("w", encoding="utf-8") as output:
            output.write(shlex.join(command) + "\n")
            output.flush()
            done = subprocess.run(
                command, cwd=CHECKOUT, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
        seconds = round(time.perf_counter() - start, 1)
        report("same_results", name, "headprobes", seconds=seconds, status=done.returncode)
        if done.returncode:
            raise SystemExit(f"{name} failed, see {log}")


@dataclass
class Comparison:
    """What was found in the files of two records."""

    files: int = 0
    """Compared."""
    differences: dict[str, list[str]] = field(default_factory=dict)
    """By file; none where all is the same."""
    additions: dict[str, list[str]] = field(default_factory=dict)
    """By file: columns and keys that only the second record has, or that the file is new."""
    rewritten: list[str] = field(default_factory=list)
    """Files of ``UNORDERED`` with other bytes, and the same names, values and metadata."""


def compare(first: Path, second: Path, names: list[str]) -> Comparison:
    """All files of the jobs of ``first`` with those of ``second``."""
    comparison = Comparison()
    for name in names:
        expected, present = _files(first, name), _files(second, name)
        if not expected:
            comparison.differences[f"runs/{name}"] = [f"not recorded in {first}"]
        for file in expected:
            comparison.files += 1
            if file not in present:
                comparison.differences[file] = ["missing"]
                continue
            differences, additions = _compare_files(first / file, second / file)
            if differences == [REWRITTEN] and Path(file).name in UNORDERED:
                comparison.rewritten.append(file)
            elif differences:
                comparison.differences[file] = differences
            if additions:
                comparison.additions[file] = additions
        for file in present:
            if file not in expected:
                comparison.additions[file] = ["new file"]
    return comparison


def _files(directory: Path, name: str) -> list[str]:
    """Relative paths of a job's files, without what Hydra notes about its command line."""
    files = [
        path.relative_to(directory)
        for part in ("runs", "cache")
        for path in sorted((directory / part / name).rglob("*"))
        if path.is_file() and ".hydra" not in path.parts and path.name != "multirun.yaml"
    ]
    return [str(path) for path in files]


def _compare_files(first: Path, second: Path) -> tuple[list[str], list[str]]:
    """Differences and additions of one file."""
    if first.suffix == ".csv":
        return _compare_tables(_read_table(first), _read_table(second))
    if first.suffix == ".json":
        additions: list[str] = []
        value, other = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
        return list(_compare_values(value, other, "", additions)), additions
    if first.suffix == ".safetensors" and first.read_bytes() != second.read_bytes():
        return _compare_tensors(first, second), []
    return [], []


def _read_table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def _compare_tables(first: list[list[str]], second: list[list[str]]) -> tuple[list[str], list[str]]:
    """Rows of text cells, the first of them the names of the columns."""
    columns, others = first[0], second[0]
    added = [f"column {column}" for column in others if column not in columns]
    kept = [place for place, column in enumerate(others) if column in columns]
    if [others[place] for place in kept] != columns:
        return [f"columns {', '.join(columns)} became {', '.join(others)}"], added
    if len(first) != len(second):
        return [f"{len(first) - 1} rows became {len(second) - 1}"], added
    differences = [
        f"row {number} {column}: {cell!r} became {row[place]!r}"
        for number, (cells, row) in enumerate(zip(first[1:], second[1:], strict=True), start=1)
        for column, cell, place in zip(columns, cells, kept, strict=True)
        if cell != row[place]
    ]
    return differences, added


def _compare_values(first: Any, second: Any, where: str, additions: list[str]) -> Iterator[str]:
    """Differences of two JSON values, each with the path of keys that leads to it."""
    if isinstance(first, dict) and isinstance(second, dict):
        additions += [f"key {where}.{key}" for key in second if key not in first]
        for key in first:
            if key in IGNORED:
                continue
            if key in second:
                yield from _compare_values(first[key], second[key], f"{where}.{key}", additions)
            else:
                yield f"{where}.{key} is missing"
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for number, (value, other) in enumerate(zip(first, second, strict=True)):
            yield from _compare_values(value, other, f"{where}[{number}]", additions)
    elif type(first) is not type(second) or first != second:
        yield f"{where}: {first!r:.60} became {second!r:.60}"


REWRITTEN = "other bytes, equal tensors and metadata"


def _compare_tensors(first: Path, second: Path) -> list[str]:
    """Where two files of tensors differ, given that their bytes do."""
    with safe_open(first, framework="pt") as one, safe_open(second, framework="pt") as other:
        if list(one.keys()) != list(other.keys()):
            return ["other tensors"]
        unequal = []
        for key in one.keys():  # noqa: SIM118 (not a dictionary)
            values, others = one.get_tensor(key), other.get_tensor(key)
            if values.dtype != others.dtype or values.shape != others.shape:
                unequal.append(f"tensor {key} has another type or shape")
            elif values.numpy(force=True).tobytes() != others.numpy(force=True).tobytes():
                gap = (values.double() - others.double()).abs().max().item()
                unequal.append(f"tensor {key} differs by up to {gap:.2g}")
        if not unequal and one.metadata() != other.metadata():
            unequal.append("equal tensors, other metadata")
    return unequal or [REWRITTEN]


def open_all(directory: Path, names: list[str]) -> dict[str, int]:
    """Load every run, atlas, sweep and cache; counts of what was loaded."""
    counts = dict.fromkeys(("runs", "maps", "probes", "caches", "atlases", "sweeps"), 0)
    for name in names:
        runs, caches = directory / "runs" / name, directory / "cache" / name
        for file in sorted(runs.rglob("run.json")):
            _open_run(file.parent, counts)
        _open_collections(runs, counts)
        _open_caches((file.parent for file in caches.rglob("rows.safetensors")), counts)
    return counts


def _open_run(directory: Path, counts: dict[str, int]) -> None:
    """A run's maps, one probe of each, and what it compares to itself."""
    from probes import load_run

    run = load_run(directory)
    for stream in run.record.model.streams:
        layer = stream.layers[-1]
        for feature in run.features:
            accuracies = run.map(feature, stream=stream.name)
            assert accuracies.shape[0] == len(stream.layers), directory
            probe = run.probe(feature, layer, 0, stream=stream.name)
            z = run.cache().layer(layer, stream.name)[0].float()  # (N, D)
            assert set(probe.predict(z)) <= set(run.record.tasks[feature].classes), directory
            assert run.compare(run, feature, draws=10) is not None
            counts["maps"] += 1
            counts["probes"] += 1
    counts["runs"] += 1


def _open_collections(directory: Path, counts: dict[str, int]) -> None:
    """The atlas or the sweep that a job left."""
    from probes.results.atlas import is_atlas, load_atlas
    from probes.sweeps.jobs import read_sweep

    if is_atlas(directory):
        assert load_atlas(directory).features, directory
        counts["atlases"] += 1
    if (directory / "sweep.csv").is_file():
        assert {job.status for job in read_sweep(directory)} == {"finished"}, directory
        counts["sweeps"] += 1


def _open_caches(directories: Iterable[Path], counts: dict[str, int]) -> None:
    """Activations, with all their checksums."""
    from probes.activations.cache import Cache

    for directory in directories:
        Cache.open(directory).verify()
        counts["caches"] += 1


def _print_comparison(comparison: Comparison, first: Path, second: Path) -> None:
    for label, lines in (
        ("differs", comparison.differences),
        ("adds", comparison.additions),
        ("rewritten", {file: [REWRITTEN] for file in comparison.rewritten}),
    ):
        for file, found in lines.items():
            more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
            print(f"{label} {file}: {'; '.join(found[:SHOWN])}{more}")
    report(
        "same_results",
        "compare",
        "headprobes",
        first=str(first),
        second=str(second),
        files=comparison.files,
        differ=len(comparison.differences),
        add=len(comparison.additions),
        rewritten=len(comparison.rewritten),
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("record", "compare", "open"))
    parser.add_argument("directory", type=Path, nargs="+", help="two for compare, else one")
    parser.add_argument("--shared", default="../shared", help="as seen from the checkout")
    parser.add_argument("--only", nargs="+", choices=JOBS, default=list(JOBS), metavar="NAME")
    given = parser.parse_args(arguments)
    directories = [directory.resolve() for directory in given.directory]
    if len(directories) != (2 if given.action == "compare" else 1):
        parser.error("compare takes two directories, record and open take one")
    if given.action == "record":
        record(directories[0], given.only, given.shared)
    elif given.action == "open":
        report("same_results", "open", "headprobes", **open_all(directories[0], given.only))
    else:
        first, second = directories
        comparison = compare(first, second, given.only)
        _print_comparison(comparison, first, second)
        sys.exit(bool(comparison.differences))


if __name__ == "__main__":
    main()
