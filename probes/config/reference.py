"""The reference of all keys, in Markdown: made from the dataclasses, for the documentation."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap

from probes.config.choices import fields_with_choices
from probes.config.corpus_kinds import CORPUS_KINDS
from probes.config.model import SimplifiedConfig
from probes.config.run import AtlasConfig, LinearConfig, MLPConfig, RunConfig

MANDATORY = "???"


def markdown() -> str:
    """A section for each group: its keys, with type, default, choices and what they do."""
    run = RunConfig()
    groups = [
        (field.name, type(getattr(run, field.name)))
        for field in dataclasses.fields(run)
        if dataclasses.is_dataclass(getattr(run, field.name))
        and field.name not in ("corpus", "probe")
    ]
    sections = [
        _section("Keys of a run", "", RunConfig),
        *(_section(f"`{name}`", f"{name}.", config) for name, config in groups),
        _section("`model.simplified`", "model.simplified.", SimplifiedConfig),
        _section("`probe=linear`", "probe.", LinearConfig),
        _section("`probe=mlp`", "probe.", MLPConfig),
        _section("`atlas` (`experiment=atlas`)", "atlas.", AtlasConfig),
        *(
            _section(f"Corpora of kind `{kind}`", "corpus.", row.config)
            for kind, row in CORPUS_KINDS.items()
        ),
    ]
    return "\n\n".join(sections) + "\n"


def field_docstrings(config: type) -> dict[str, str]:
    """The docstring under each field of a dataclass, those of its bases included.

    >>> field_docstrings(LinearConfig)["tolerance"]
    'Relative gap of the objective to its optimum at which a column counts as converged.'
    """
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
            ):
                found[statement.target.id] = inspect.cleandoc(str(after.value.value))
    return found


def _section(title: str, prefix: str, config: type) -> str:
    lines = [f"### {title}", "", inspect.cleandoc(config.__doc__ or ""), ""]
    lines += ["| key | type | default | what it is |", "| --- | --- | --- | --- |"]
    docstrings, choices = field_docstrings(config), dict(fields_with_choices(config))
    for field in dataclasses.fields(config):
        default = _default(field)
        if dataclasses.is_dataclass(default):
            continue  # a group, with a section of its own
        words = ", ".join(f"`{word}`" for word in choices.get(field.name, ()))
        meaning = " ".join(docstrings.get(field.name, "").replace("``", "`").split())
        meaning = ". ".join(filter(None, [words, meaning]))
        shown = "must be given" if default == MANDATORY else f"`{_yaml(default)}`"
        cells = [f"`{prefix}{field.name}`", f"`{field.type}`", shown, meaning]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(field: dataclasses.Field[object]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _yaml(value: object) -> str:
    """A default as one writes it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(_yaml, value)) + "]"
    return repr(value) if isinstance(value, str) and (not value or "\n" in value) else str(value)
