"""Words that a key takes are said beside the field, and read from there by everything else."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from probes.config import LoggerConfig, RunConfig, SplitConfig
from probes.config.choices import check_choices, choice, choices_of, fields_with_choices
from probes.config.reference import field_docstrings, markdown
from probes.config.schema import key_choices
from probes.core.errors import UserError


@dataclass
class Paint:
    colour: str = choice("red", ("red", "green", "blue"))
    """Of the wall."""
    coats: int = 1


def test_words_stand_beside_the_field() -> None:
    assert list(fields_with_choices(Paint)) == [("colour", ("red", "green", "blue"))]
    assert choices_of(Paint(colour="blue"), "colour") == ("red", "green", "blue")
    assert Paint().colour == "red"


def test_another_word_is_refused_with_the_nearest() -> None:
    check_choices(Paint(colour="green"), "paint.")
    with pytest.raises(UserError, match=r"paint\.colour=gren; allowed: red, .*=green"):
        check_choices(Paint(colour="gren"), "paint.")


def test_help_lists_them_by_key() -> None:
    lines = key_choices().splitlines()
    assert "site: heads, residual, attention_output, mlp_output" in lines
    assert "split.source: auto, shipped, group" in lines
    assert "baseline.residual: auto, all, none" in lines
    assert "model.chat: none, user" in lines
    keys = [line.partition(":")[0] for line in lines]
    assert len(set(keys)) == len(keys)


def test_the_reference_has_every_key() -> None:
    text = markdown()
    for prefix, config in (("", RunConfig), ("split.", SplitConfig), ("logger.", LoggerConfig)):
        for name, words in fields_with_choices(config):
            (row,) = (line for line in text.splitlines() if line.startswith(f"| `{prefix}{name}` "))
            assert all(f"`{word}`" in row for word in words)
    assert "| `corpus.path` | `str` | must be given |" in text
    assert "`atlas.corpora`" in text and "`model.simplified.steps`" in text


def test_docstrings_of_bases_are_found() -> None:
    assert field_docstrings(Paint) == {"colour": "Of the wall."}
