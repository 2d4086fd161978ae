"""Sizes as users write them."""

import pytest

from probes.core.errors import UserError
from probes.core.memory import parse_size, peak_memory_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1GB", 10**9),
        ("512 MB", 512 * 10**6),
        ("1GiB", 2**30),
        ("2k", 2000),
        (4096, 4096),
        ("1.5G", 15 * 10**8),
    ],
)
def test_sizes(text: str | int, size: int) -> None:
    assert parse_size(text, key="memory_budget") == size


@pytest.mark.parametrize("text", ["", "lots", "-1GB", "1GBB", "0", "1e9"])
def test_what_is_not_a_size(text: str) -> None:
    with pytest.raises(UserError, match="memory_budget"):
        parse_size(text, key="memory_budget")


def test_the_peak_is_in_bytes() -> None:
    assert 10**7 < peak_memory_bytes() < 10**12
