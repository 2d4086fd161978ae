"""Commands as the documentation writes them: in code, and in comments of ``conf/``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "benchmarks/README.md",
    "docs/*.md",
    "docs/*/*.md",
    "examples/*.py",
)
PROGRAMS = ("python train.py", "headprobes", "python -m probes", "python -m benchmarks.")
PLACEHOLDERS = {
    "NAME": "markov",
    "STEP": "100",
    "OVERRIDES": "",
    "...": "",
    "A": "runs/a",
    "B": "runs/b",
}
"""Words that stand for something else; others (``corpus.path=DIR``) compose as they are."""
OVERRIDE = r"[+~]{0,2}[a-z_][\w./@]*=(?:\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"|[^\s;,()\"'`]+)"


@dataclass(frozen=True)
class Command:
    """One command line of the documentation."""

    where: str
    """File and line."""
    program: str
    """One of ``PROGRAMS``."""
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {self.program} {' '.join(self.arguments)}"


def page_commands(project: Path) -> list[Command]:
    """All commands of the pages: lines of code blocks, and inline code."""
    commands = []
    for pattern in PAGES:
        for page in sorted(project.glob(pattern)):
            if "generated" in page.parts or "api" in page.parts or "_build" in page.parts:
                continue
            name = page.relative_to(project)
            for number, line in _code(page.read_text(encoding="utf-8")):
                commands += _command(f"{name}:{number}", line)
    return commands


def config_commands(conf: Path) -> list[Command]:
    """All commands in the config files, and the overrides that their comments name."""
    commands = []
    for file in sorted(conf.rglob("*.yaml")):
        group, choice = file.parent.name, file.stem
        for number, text in _comments(file.read_text(encoding="utf-8")):
            where = f"{file.relative_to(conf.parent)}:{number}"
            command = _command(where, text)
            if command:
                commands += command
                continue
            for match in re.finditer(rf"(?:{OVERRIDE}\s?)+", text):
                tokens = re.findall(OVERRIDE, match[0])
                if group != conf.name and not any(t.startswith(f"{group}=") for t in tokens):
                    tokens.insert(0, f"{group}={choice}")
                sweep = ("-m",) if text[: match.start()].endswith("-m ") else ()
                commands.append(Command(where, PROGRAMS[0], (*sweep, *map(_filled, tokens))))
    return commands


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Comments, numbered: lines that are commands alone, other neighbouring lines joined."""
    joined, first = "", 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        comment = line.partition("#")[2].strip() if "#" in line else ""
        alone = _command("", comment or line.strip())
        if joined and (alone or not line.startswith("#")):
            yield first, joined
            joined = ""
        if alone or (comment and not line.startswith("#")):
            yield number, comment or line.strip()
        elif comment:
            first = first if joined else number
            joined = f"{joined} {comment}".strip()


def _code(text: str) -> Iterator[tuple[int, str]]:
    """Lines in code blocks (continued lines joined) and pieces of inline code, numbered."""
    inside, joined, first = False, "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("```"):
            inside = not inside
        elif inside or line.startswith("    "):
            first = first if joined else number
            joined += line.strip()
            if joined.endswith("\\"):
                joined = joined[:-1]
                continue
            yield first, joined
            joined = ""
        else:
            for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", line):
                yield number, code


def _command(where: str, line: str) -> list[Command]:
    line = line.removeprefix(".venv/bin/").removeprefix("$ ")
    for program in PROGRAMS:
        rest = line.removeprefix(program)
        if rest == line or (rest[:1].strip() and not program.endswith(".")):
            continue
        tokens = shlex.split(re.split(r" {2,}[^\s-]|\s#", rest)[0])
        tokens = [_filled(token) for token in tokens if not token.startswith("[-")]
        return [Command(where, program, tuple(token for token in tokens if token))]
    return []


def _filled(token: str) -> str:
    """The token with placeholders replaced, and without the punctuation of a sentence."""
    key, equals, value = token.rstrip(".:").partition("=")
    if not equals:
        return PLACEHOLDERS.get(token, token)
    return f"{key}={PLACEHOLDERS.get(value, value)}"


def distinct(commands: list[Command]) -> list[Command]:
    """The commands without those that stand on another page already."""
    return list({(c.program, c.arguments): c for c in reversed(commands)}.values())[::-1]
