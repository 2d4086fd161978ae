"""The checks of ``benchmarks.truth`` on small data: every value lies within its bounds."""

from __future__ import annotations

import pytest

from benchmarks.truth import CHECKS, QUICK


@pytest.mark.parametrize("name", CHECKS)
def test_statistics_do_what_they_say(name: str) -> None:
    outside = [check for check in CHECKS[name](QUICK) if not check[2] <= check[1] <= check[3]]
    assert not outside
