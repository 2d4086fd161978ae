"""Universal Dependencies: CoNLL-U files, every column and morphological feature a feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import conllu

from probes.config import UDConfig
from probes.core.errors import UserError
from probes.corpora.builder import CorpusBuilder
from probes.corpora.corpus import SPLITS, TRAIN, Corpus
from probes.corpora.files import existing, lines_of, parts, read_text
from probes.corpora.missing import is_blank, is_missing

COLUMNS = 10

DESCRIPTIONS = {
    "upos": "universal part of speech",
    "xpos": "part of speech of the language's own tag set",
    "lemma": "dictionary form",
    "deprel": "relation to the head in the dependency tree, with subtype",
    "deprel_universal": "relation to the head, without subtype",
    "head_upos": "universal part of speech of the head word, ROOT for the root",
    "head_side": "whether the head stands left or right of the word, root for the root",
    "deps": "relations in the enhanced dependency graph",
}

Block = tuple[int, list[str]]
"""Number of the first line of a sentence, and its lines."""


def load(config: UDConfig) -> Corpus:
    """The corpus of ``corpus=ud``, split as its files are, grouped by ``# newdoc id``.

    Units are syntactic words. Words of a multiword token get their own characters where they
    spell it out (do + n't), else each gets those of the whole token (German im = in + dem).
    Sentences outside any document are grouped by their text.
    """
    builder = CorpusBuilder(config.name, group_name="document")
    counts = dict.fromkeys(("empty", "shared", "rebuilt", "wordless", "blank"), 0)
    documents = False
    for split, path in _files(config):
        document = None
        wordless, read = counts["wordless"], 0
        for number, (line, lines) in enumerate(_blocks(path)):
            if number == config.max_sentences:
                break
            sentence = _parse(path, line, lines)
            if "newdoc id" in sentence.metadata or "newdoc" in sentence.metadata:
                document = sentence.metadata.get("newdoc id") or f"{path.name}:{line}"
                documents = True
            _add(builder, sentence, split, document, counts)
            read += 1
        wordless = counts["wordless"] - wordless
        if 2 * wordless > read:
            raise UserError(
                f"{path}: the words of {wordless} of {read} sentences are left out of this "
                "treebank (underscores stand for them: a matter of its texts' licence); its README "
                "says how to merge them",
                allowed="a treebank with its words",
            )
    notes = [
        f"{counts[key]} {what}"
        for key, what in (
            ("empty", "empty nodes left out"),
            ("shared", "words that share the characters of a multiword token"),
            ("wordless", "sentences left out: underscores stand for their words"),
            ("blank", "sentences without visible characters left out"),
            ("rebuilt", "texts rebuilt from their words, which '# text' does not match"),
        )
        if counts[key]
    ]
    if not documents:
        builder.group_name = "sentence"
    return builder.build(
        default_features=("upos", "deprel"), descriptions=DESCRIPTIONS, notes=notes
    )


def _files(config: UDConfig) -> Iterator[tuple[int, Path]]:
    """The files of each split; a path that is a file itself is all train.

    A treebank may ship a part in several files: ``de_hdt-ud-train-a-1.conllu`` and its like.
    """
    path = existing(config.path, "corpus.path")
    if path.is_file():
        yield TRAIN, path
        return
    files = sorted(path.glob("*.conllu"))
    if not files:
        raise UserError(f"corpus.path={path}: the directory holds no .conllu file")
    for split, part in parts(config.splits):
        matching = (
            [file for file in files if file.stem.endswith(f"-ud-{part}")]
            or [file for file in files if part in (file.name, file.stem)]
            or [file for file in files if f"-ud-{part}-" in file.stem]
            or [file for file in files if fnmatchcase(file.name, part)]
            or [file for file in files if part in file.stem]
        )
        if len({file.stem.split("-ud-")[0] for file in matching}) > 1 or (
            len(matching) > 1 and not all("-ud-" in file.stem for file in matching)
        ):
            raise UserError(
                f"corpus.splits.{SPLITS[split]}={part}: several files of {path} match",
                allowed="one of " + ", ".join(file.name for file in matching),
                fix=f"corpus.splits.{SPLITS[split]}={matching[0].name}",
            )
        if not matching and split == TRAIN:
            raise UserError(
                f"corpus.splits.train={part}: {path} has no file *-ud-{part}.conllu",
                allowed=", ".join(file.name for file in files),
                fix=f"corpus.splits.train={files[0].stem.rsplit('-', 1)[-1]}",
            )
        for file in matching:
            yield split, file


def _blocks(path: Path) -> Iterator[Block]:
    """Sentences as lines, with the number of their first line; checks the columns."""
    lines: list[str] = []
    start = 1
    for number, line in enumerate(lines_of(read_text(path)), start=1):
        if not line.strip():
            if any(not kept.startswith("#") for kept in lines):
                yield start, lines
            lines, start = [], number + 1
            continue
        if not line.startswith("#") and line.count("\t") != COLUMNS - 1:
            given = line.count("\t") + 1
            raise UserError(
                f"{path}, line {number}: {given} columns, and CoNLL-U has {COLUMNS}: {line[:60]!r}",
                allowed="ten columns with tabs between them; a blank line after each sentence",
            )
        lines.append(line if line.startswith("#") else _filled(line))
    if any(not kept.startswith("#") for kept in lines):
        yield start, lines


def _filled(line: str) -> str:
    """The line with ``_`` in blank last columns, which the parser would not see."""
    cells = line.split("\t")
    for column in reversed(range(2, COLUMNS)):
        if cells[column].strip():
            break
        cells[column] = "_"
    return "\t".join(cells)


def _parse(path: Path, start: int, lines: list[str]) -> conllu.TokenList:
    """One sentence; an error names the line that the parser cannot read."""
    try:
        sentence = conllu.parse("\n".join(lines))[0]
    except conllu.exceptions.ParseException as error:
        for number, line in enumerate(lines, start=start):
            try:
                conllu.parse(line)
            except conllu.exceptions.ParseException as reason:
                raise UserError(f"{path}, line {number}: {reason}") from reason
        raise UserError(f"{path}, sentence at line {start}: {error}") from error
    words = {token["id"] for token in sentence if isinstance(token["id"], int)}
    numbers = (n for n, line in enumerate(lines, start=start) if not line.startswith("#"))
    for number, token in zip(numbers, sentence, strict=True):
        # A text that is rebuilt from forms ends where its last word ends.
        token["form"] = token["form"].strip()
        if not token["form"]:
            raise UserError(f"{path}, line {number}: a word without characters")
        if isinstance(token["id"], int) and (token["head"] or 0) not in words | {0}:
            raise UserError(
                f"{path}, line {number}: head {token['head']} is no word of the sentence",
                allowed=f"0 to {max(words)}",
            )
    return sentence


def _add(
    builder: CorpusBuilder,
    sentence: conllu.TokenList,
    split: int,
    document: str | None,
    counts: dict[str, int],
) -> None:
    """Add one sentence and its words to the corpus."""
    words = [token for token in sentence if isinstance(token["id"], int)]
    forms = [word["form"] for word in words]
    if is_blank("".join(forms)) or (len(forms) > 1 and all(form == "_" for form in forms)):
        counts["wordless" if "_" in forms else "blank"] += 1
        return
    ranges = [token for token in sentence if _kind(token) == "-"]
    counts["empty"] += len(sentence) - len(words) - len(ranges)
    surfaces = _surfaces(words, ranges)
    text, starts, matched = _align(sentence.metadata.get("text"), surfaces)
    counts["rebuilt"] += not matched
    example = builder.add_text(text, group=document or text, split=split)
    upos = {word["id"]: word["upos"] for word in words}
    for (surface, members), start in zip(surfaces, starts, strict=True):
        form = surface["form"]
        spelled = "".join(word["form"] for word in members) == form
        counts["shared"] += 0 if spelled else len(members)
        position = start
        for word in members:
            end = position + len(word["form"]) if spelled else start + len(form)
            builder.add_unit(example, position, end, "word", _values(word, upos))
            position = end if spelled else start


def _values(word: Mapping[str, Any], upos: Mapping[int, str | None]) -> dict[str, str | None]:
    """Class of each feature of one word."""
    head, deprel, deps = word["head"], word["deprel"], word["deps"]
    values = {
        "upos": _given(word["upos"]),
        "xpos": _given(word["xpos"]),
        "lemma": _given(word["lemma"]),
        "deprel": _given(deprel),
        "deprel_universal": deprel.split(":")[0] if _given(deprel) else None,
        "deps": "|".join(relation for relation, _ in deps) if isinstance(deps, list) else None,
    }
    if head is not None:
        values["head_upos"] = _given(upos[head]) if head else "ROOT"
        values["head_side"] = "root" if not head else "left" if head < word["id"] else "right"
    for name, value in (word["feats"] or {}).items():
        values[name.lower().replace("[", "_").rstrip("]")] = value
    return values


def _given(value: str | None) -> str | None:
    return None if is_missing(value, mark="_") else value


def _kind(token: Mapping[str, Any]) -> str:
    """``-`` for a multiword token, ``.`` for an empty node, nothing for a word."""
    return token["id"][1] if isinstance(token["id"], tuple) else ""


Surface = tuple[Mapping[str, Any], list[Mapping[str, Any]]]
"""What is written (a word or a multiword token), and the syntactic words in it."""


def _surfaces(words: list[Any], ranges: list[Any]) -> list[Surface]:
    covered = {i: token for token in ranges for i in range(token["id"][0], token["id"][2] + 1)}
    surfaces: list[Surface] = []
    for word in words:
        token = covered.get(word["id"], word)
        if surfaces and surfaces[-1][0] is token:
            surfaces[-1][1].append(word)
        else:
            surfaces.append((token, [word]))
    return surfaces


def _align(text: str | None, surfaces: list[Surface]) -> tuple[str, list[int], bool]:
    """The text, where each surface starts in it, and whether it is the one of ``# text``."""
    starts: list[int] = []
    position = 0
    for surface, _ in surfaces:
        while text and position < len(text) and text[position].isspace():
            position += 1
        if not text or not text.startswith(surface["form"], position):
            break
        starts.append(position)
        position += len(surface["form"])
    else:
        return text or "", starts, True
    text, starts = "", []
    for surface, _ in surfaces:
        starts.append(len(text))
        spaced = (surface["misc"] or {}).get("SpaceAfter") != "No"
        text += surface["form"] + (" " if spaced else "")
    return text.rstrip(), starts, False
