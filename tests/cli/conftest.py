"""Commands that run in the process of the tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def mode_of_the_arguments() -> Iterator[None]:
    """Hydra composes a configuration once more to see whether it sets ``hydra.mode``: none does."""
    with pytest.MonkeyPatch.context() as patch:  # the test's own goes before its other fixtures do
        patch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
        yield
