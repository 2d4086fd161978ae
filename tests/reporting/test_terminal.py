from __future__ import annotations

import io

import pytest
from rich.console import Console

from probes.reporting.terminal import print_map
from tests.reporting.synthetic import heads_of, make_record, make_results


def printed(streams: dict[str, list[int]], *, width: int = 80, **options: object) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, **options)  # type: ignore[arg-type]
    print_map(make_results(streams), "upos", console, record=make_record(streams))
    return file.getvalue()


@pytest.mark.parametrize("heads", [4, 12, 16, 32, 64, 128, 200])
def test_no_line_is_wider_than_the_terminal(heads: int) -> None:
    text = printed({"decoder": heads_of(5, heads)})
    assert max(map(len, text.splitlines())) <= 80
    assert [line.split()[0] for line in text.splitlines() if line[:3].strip().isdigit()] == list(
        "43210"
    )


def test_no_colour_codes_where_it_is_no_terminal() -> None:
    assert "\x1b" not in printed({"decoder": heads_of(3, 40)})
    assert "\x1b[" in printed({"decoder": heads_of(3, 40)}, force_terminal=True,
                              color_system="truecolor")  # fmt: skip


def test_six_by_twelve_shows_numbers_and_baselines() -> None:
    text = printed({"encoder": heads_of(6, 12)})
    row = next(line for line in text.splitlines() if line.startswith("  1 "))
    assert len(row.replace("(", " ").replace(")", " ").replace("*", " ").split()) == 1 + 12 + 3
    assert "best  all  res" in text
    assert text.count("*") == 5 + 1  # the heads, and the legend


def test_large_maps_are_shades() -> None:
    text = printed({"decoder": heads_of(32, 32)})
    assert "█" in text and "·" in text and "(" not in text.split("legend")[0].splitlines()[6]


def test_more_heads_than_columns_says_what_a_block_is() -> None:
    assert "a block: the best of 2 heads" in printed({"decoder": heads_of(2, 128)})


def test_ragged_rows_are_short() -> None:
    text = printed({"decoder": [4, 2, 4]})
    short = next(line for line in text.splitlines() if line.startswith("  1 "))
    assert short[4 + 2 * 5 : 4 + 4 * 5].strip() == ""


def test_terminals_that_are_not_utf_8() -> None:
    raw = io.BytesIO()
    console = Console(file=io.TextIOWrapper(raw, encoding="ascii", errors="strict"), width=80)
    streams = {"decoder": heads_of(8, 64)}
    print_map(make_results(streams), "upos", console)
    console.file.flush()
    assert b"#" in raw.getvalue()


def test_streams_are_named() -> None:
    text = printed({name: [3, 3] for name in ("encoder", "decoder", "cross")})
    lines = text.splitlines()
    assert [line for line in lines if line in ("encoder", "decoder", "cross")] == [
        "encoder", "decoder", "cross",
    ]  # fmt: skip


def test_markup_in_names_is_text() -> None:
    file = io.StringIO()
    table = make_results({"d": [2, 2]}, features=("[red]x[/red]",))
    print_map(table, "[red]x[/red]", Console(file=file, width=80))
    assert "[red]x[/red]" in file.getvalue()


@pytest.mark.parametrize("site", ["residual", "attention_output", "mlp_output"])
def test_the_column_of_whole_layers_has_its_whole_name(site: str) -> None:
    table = make_results({"decoder": [1] * 30}, baselines=False)
    own = table["site"] == "heads"
    table.loc[own, "site"] = site
    table.loc[own, "head"] = None
    file = io.StringIO()
    print_map(table, "upos", Console(file=file, width=80))
    lines = file.getvalue().splitlines()
    (foot,) = (number for number, line in enumerate(lines) if line.strip() == site)
    assert len(lines[foot - 1].rstrip()) <= 4 + 5, "numbers stand under the beginning of the name"
