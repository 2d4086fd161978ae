"""``layers``: numbers, ranges and strides."""

from __future__ import annotations

import json
import random

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from probes.cli.job import parse
from probes.cli.overrides import checked
from probes.config import RunConfig, register
from probes.config.checks import check
from probes.config.files import config_dir
from probes.config.layers import LayerChoice
from probes.core.errors import UserError
from probes.pipeline.identity import result_keys

SPELLINGS = {
    "3": [3],
    "0-3": [0, 1, 2, 3],
    "0-11:3": [0, 3, 6, 9],
    "2-2": [2],
    "7, 0-2": [0, 1, 2, 7],
    "5,5,1": [1, 5],
}


@pytest.mark.parametrize("text", SPELLINGS)
def test_text_numbers_and_lists_mean_the_same(text: str) -> None:
    expected = SPELLINGS[text]
    for value in (text, text.split(","), expected, expected[::-1]):
        choice = LayerChoice.parse(value)
        assert choice is not None
        assert choice.of(range(4)) == expected  # layers that a model lacks are refused later
        assert result_keys(RunConfig(layers=value)) == result_keys(RunConfig(layers=expected))
        assert json.dumps(choice.plain) == json.dumps(expected)


def test_a_stride_is_over_the_layers_that_there_are() -> None:
    choice = LayerChoice.parse("every:3")
    assert choice is not None
    there = [2, 5, 8, 11, 14]  # a hybrid's
    shuffled = random.Random(0).sample(there * 2, 10)  # of two streams
    assert choice.of(there) == choice.of(shuffled) == [2, 11]
    assert LayerChoice.parse("every:1").of(there) == there  # type: ignore[union-attr]
    assert result_keys(RunConfig(layers="every:3")) == result_keys(RunConfig(layers=["every:3"]))
    assert result_keys(RunConfig(layers="every:3")) != result_keys(RunConfig(layers="every:2"))


@pytest.mark.parametrize(
    "value",
    ["every:0", "every:", "every:-2", "every:2,5", "3-1", "0-4:0", "0-4:", "-1", [-1], [], "", "a",
     "0-99999999", "1.5", [1.5], True, [True], {"a": 1}, "0:4", ["0-3", "every:2"], [None]],
)  # fmt: skip
def test_anything_else_is_one_message_with_an_override_that_works(value: object) -> None:
    message = r"(?s)layers=.* is no layer, range or stride; .*0-11:3"
    with pytest.raises(UserError, match=message) as e:
        check(RunConfig(layers=value))
    fix = str(e.value).rpartition("Try layers=")[2].strip(" .")
    assert LayerChoice.parse(fix) == LayerChoice(every=4)


@pytest.mark.parametrize("given", ["3", "0-3", "0-11:3", "every:4", "[0,2]", "[0-1,5]", "null"])
def test_every_spelling_passes_through_the_command_line(given: str) -> None:
    register()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = parse(compose("config", overrides=checked([f"layers={given}"])))
    items = given.strip("[]").split(",")
    expected = None if given == "null" else LayerChoice.parse(items)
    assert LayerChoice.parse(config.layers) == expected
