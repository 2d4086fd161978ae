"""Few-shot prompts made from input-output pairs: which task do the demonstrations define?

Pairs of Todd et al. 2024, "Function Vectors in Large Language Models" (arXiv 2310.15213): each
file is a task, abstractive (antonym, country-capital) or extractive (choose_first_of_3). The
features are read at END, where the model is about to answer.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from probes.config import FunctionVectorsConfig
from probes.core.errors import UserError, closest
from probes.corpora.answers import derange
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import TEST, TRAIN, VALIDATION, Corpus
from probes.corpora.files import existing, json_files, read_json
from probes.corpora.readers.columns import render

Pair = dict[str, str]


def load(config: FunctionVectorsConfig) -> Corpus:
    """The corpus of ``corpus=function_vectors``.

    An input is a group, and on the same side of the shipped split in every task. A prompt takes its
    demonstrations from the side of its question: no input of a test prompt was seen in training, as
    question or demonstration, under whatever task. A split drawn anew (``split.source=group``,
    ``split.folds``) keeps this for questions only.

    Raises:
        UserError: unknown tasks, files of another format, or too few pairs.
    """
    _check(config)
    builder = CorpusBuilder(config.name, group_name="input")
    notes: list[str] = []
    space = _space(config)
    descriptions = {"task": "which task the demonstrations define"}
    for name, file in _tasks(config).items():
        pairs = [p for p in _pairs(file) if len(p["input"]) <= config.max_characters]
        wanted = config.output_examples if name in config.outputs else config.examples
        prompts = list(_prompts(name, pairs, wanted, config)) if pairs else []
        if not prompts:
            _refuse_asked(config, name, file, len(pairs))
            notes.append(
                f"task '{name}' left out: too few inputs of {config.max_characters} characters"
            )
        for number, (split, shown, pair) in enumerate(prompts):
            text = _text(config, shown, pair)
            example = builder.add_text(text, group=pair["input"].casefold(), split=split)
            values = {"task": name if number < config.examples else None}
            if name in config.outputs:
                values[name] = pair["output"]
            builder.add_unit(example, 0, len(text), "answer", values)
            outputs = [each["output"] for each in shown]
            builder.add_answer(
                example,
                len(text),
                space + pair["output"],
                alternatives=[space + output for output in outputs if output != pair["output"]],
                feature=name if name in config.outputs else "",
            )
            shuffled = derange(random.Random(f"twin of {text}"), outputs)
            if shuffled is not None:
                mixed = [
                    {"input": each["input"], "output": output}
                    for each, output in zip(shown, shuffled, strict=True)
                ]
                twin = _text(config, mixed, pair)
                builder.add_contrast(example, twin, kind="shuffled_outputs")
    descriptions.update({name: f"what '{name}' answers" for name in config.outputs})
    return builder.build(
        default_features=["task", *config.outputs], descriptions=descriptions, notes=notes
    )


def side_of(text: str) -> int:
    """The split of an input, the same in every task and every run; 70% are in train."""
    digest = hashlib.sha256(text.casefold().encode("utf-8", "surrogatepass")).digest()
    share = int.from_bytes(digest[:4], "little") / 2**32
    return TRAIN if share < 0.7 else VALIDATION if share < 0.85 else TEST


def _prompts(
    name: str, pairs: list[Pair], count: int, config: FunctionVectorsConfig
) -> Iterator[tuple[int, list[Pair], Pair]]:
    """Split, demonstrations and question of at most ``count`` prompts; every pair asks once at
    most."""
    chance = random.Random(f"{config.seed} {name}")
    sides: dict[int, list[Pair]] = {}
    for pair in pairs:
        sides.setdefault(side_of(pair["input"]), []).append(pair)
    questions = [
        (side, number)
        for side, members in sorted(sides.items())
        if len(members) > config.shots
        for number in range(len(members))
    ]
    for side, number in chance.sample(questions, min(count, len(questions))):
        members = sides[side]
        others = members[:number] + members[number + 1 :]
        yield side, chance.sample(others, config.shots), members[number]


def _text(config: FunctionVectorsConfig, shown: list[Pair], question: Pair) -> str:
    """The demonstrations and the question."""
    demonstrations = "".join(render(config.demonstration, pair) for pair in shown)
    return demonstrations + render(config.question, question)


def _space(config: FunctionVectorsConfig) -> str:
    """What stands between question and answer: what a demonstration has there."""
    asked = config.demonstration.split("{output}")[0]
    if asked.startswith(config.question):
        return asked.removeprefix(config.question)
    return "" if config.question[-1:].isspace() else " "


def _tasks(config: FunctionVectorsConfig) -> dict[str, Path]:
    path = existing(config.path, "corpus.path")
    files = json_files(path)
    if not files:
        raise UserError(f"corpus.path={path} holds no tasks", allowed="a JSON file for each task")
    for key in ("tasks", "outputs"):
        for name in getattr(config, key):
            if name not in files:
                raise UserError(
                    f"corpus.{key}=[{name}]: {path} has no such task",
                    allowed=", ".join(files),
                    fix=closest(name, list(files), f"corpus.{key}=[{{}}]"),
                )
    names = dict.fromkeys([*config.tasks, *config.outputs]) if config.tasks else files
    return {name: files[name] for name in names}


def _pairs(file: Path) -> list[Pair]:
    content: Any = read_json(file)
    try:
        pairs = [
            {"input": str(pair["input"]).strip(), "output": str(pair["output"]).strip()}
            for pair in content
        ]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} is not a task of function vectors ({type(error).__name__}: {error})",
            allowed="a list of objects with 'input' and 'output'",
        ) from error
    distinct = {pair["input"]: pair for pair in reversed(pairs) if all(pair.values())}
    return list(reversed(distinct.values()))


def _check(config: FunctionVectorsConfig) -> None:
    for key, least in (("examples", 1), ("output_examples", 1), ("shots", 0)):
        if getattr(config, key) < least:
            raise UserError(f"corpus.{key}={getattr(config, key)}", allowed=f"{least} or more")
    for key, fields in (("demonstration", ("{input}", "{output}")), ("question", ("{input}",))):
        for field in fields:
            if field not in getattr(config, key):
                raise UserError(f"corpus.{key}={getattr(config, key)!r} lacks {field}")


def _refuse_asked(config: FunctionVectorsConfig, name: str, file: Path, pairs: int) -> None:
    """A task that was asked for by name is never left out in silence."""
    if name in config.tasks or name in config.outputs:
        raise UserError(
            f"{file}: {pairs} pairs with inputs of at most {config.max_characters} characters: no "
            f"side of the split has more than corpus.shots={config.shots}",
            fix="corpus.shots=2 or corpus.max_characters=1000",
        )
