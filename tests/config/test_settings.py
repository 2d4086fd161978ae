"""Copies of a configuration with another value."""

from __future__ import annotations

import pytest

from probes.config import RunConfig
from probes.config.settings import with_setting
from probes.core.errors import UserError


def test_the_copy_has_the_value_and_the_original_has_not() -> None:
    config = RunConfig()
    changed = with_setting(config, "position.word", "mean")
    assert (changed.position.word, config.position.word) == ("mean", "last_subword")
    assert changed.split is config.split
    assert with_setting(config, "seed", 3).seed == 3


@pytest.mark.parametrize("key", ["sed", "position.words", "seed.of", "position.word.x"])
def test_unknown_keys(key: str) -> None:
    with pytest.raises(UserError, match="no such key of a run"):
        with_setting(RunConfig(), key, 1)
