"""What it takes to add a corpus: the files that one edits, tried on a copy of the package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

READER = '''"""Sentences in capitals or not, one a line."""

from __future__ import annotations

from probes.config.corpus_kinds import LinesConfig
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import UNASSIGNED, Corpus
from probes.corpora.files import existing, read_text


def load(config: LinesConfig) -> Corpus:
    """The corpus of ``corpus=lines``."""
    builder = CorpusBuilder(config.name)
    for line in read_text(existing(config.path, "corpus.path")).splitlines():
        example = builder.add_text(line, group=line, split=UNASSIGNED)
        case = "upper" if line.isupper() else "lower"
        builder.add_unit(example, 0, len(line), "sentence", {"case": case})
    return builder.build(default_features=["case"], descriptions={"case": "case of the letters"})
'''
CLASS = '''@dataclass
class LinesConfig(CorpusConfig):
    """A file of one sentence a line."""

    name: str = "lines"
    path: str = "???"


class CorpusKind(NamedTuple):'''
ROW = """CORPUS_KINDS: dict[str, CorpusKind] = {
    "lines": CorpusKind(LinesConfig, "readers.lines"),"""
GENERATED = '''"""Two words, the second of which comes again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

from probes.config import GeneratedConfig
from probes.corpora.generated.kit.options import options
from probes.corpora.generated.kit.prompt import GeneratedCorpus, Prompt


def generate(config: GeneratedConfig) -> GeneratedCorpus:
    """Pairs of words."""
    options(config.name, config.options, {})
    return GeneratedCorpus(config.name, _prompts(), "pair", ("answer",), {"answer": "comes next"})


def _prompts() -> Iterator[Prompt]:
    for first, second in permutations(["red", "blue", "green", "white"], 2):
        text = f"{first} {second}, again {first}"
        yield Prompt(text, text, values={"answer": second}, targets=((len(text), second),))
'''


@pytest.fixture
def package(project: Path, tmp_path: Path) -> Path:
    """A copy of what a corpus is loaded with."""
    for name in ("config", "core", "corpora", "catalogue"):
        shutil.copytree(
            project / "probes" / name,
            tmp_path / "probes" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(project / "probes" / "__init__.py", tmp_path / "probes")
    shutil.copytree(project / "conf", tmp_path / "conf")
    return tmp_path


def edit(package: Path, files: dict[str, str]) -> list[str]:
    """Write files, those that are there already too; the names of the latter."""
    edited = [name for name in files if (package / name).exists()]
    for name, content in files.items():
        (package / name).write_text(content)
    return edited


def printed(package: Path, code: str) -> str:
    """What code prints that imports the copy."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=package,
        env={"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_reader_is_its_module_and_a_class_with_a_row(package: Path) -> None:
    kinds = "probes/config/corpus_kinds.py"
    before = (package / kinds).read_text()
    after = before.replace("class CorpusKind(NamedTuple):", CLASS).replace(
        "CORPUS_KINDS: dict[str, CorpusKind] = {", ROW
    )
    choice = "defaults:\n  - /schema/corpus@_here_: lines\n  - _self_\npath: sentences.txt\n"
    edited = edit(
        package,
        {
            "probes/corpora/readers/lines.py": READER,
            kinds: after,
            "conf/corpus/lines.yaml": choice,
            "sentences.txt": "one\nTWO\nthree\n",
        },
    )
    assert edited == [kinds], "one file that was there is edited"
    code = (
        "from probes.config import SCHEMAS, LinesConfig\n"
        "from probes.catalogue.corpora import corpus_config\n"
        "from probes.corpora import load_corpus\n"
        "assert SCHEMAS['corpus']['lines'] is LinesConfig\n"
        "corpus = load_corpus(corpus_config('lines'))\n"
        "print(len(corpus.texts), corpus.features['case'].classes)"
    )
    assert printed(package, code) == "3 ('lower', 'upper')"


def test_a_generated_corpus_is_its_module(package: Path) -> None:
    choice = (
        "defaults:\n  - /schema/corpus@_here_: generated\n  - _self_\nname: echo\nexamples: 12\n"
    )
    edited = edit(
        package,
        {"probes/corpora/generated/echo.py": GENERATED, "conf/corpus/echo.yaml": choice},
    )
    assert edited == [], "no file that was there is edited"
    code = (
        "from probes.catalogue.corpora import corpus_config\n"
        "from probes.corpora import load_corpus\n"
        "corpus = load_corpus(corpus_config('echo'))\n"
        "print(len(corpus.texts), corpus.answers[0].text.strip())"
    )
    assert printed(package, code) == "12 blue"
