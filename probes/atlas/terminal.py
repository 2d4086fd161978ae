"""The atlas in the terminal: a line for each stage, its depth, and what is at chance."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from probes.atlas.figures import depth_lines
from probes.atlas.plan import by_reason
from probes.atlas.result import Atlas
from probes.atlas.stages import stage_maps
from probes.reporting.terminal import encodable
from probes.results.record import model_title


def print_atlas(atlas: Atlas, console: Console) -> None:
    """Print the number of heads and the strongest features by stage, and what is at chance."""

    def say(text: str) -> Text:
        return Text(encodable(text, console))

    console.print()
    console.print(
        Text(
            encodable(f"Atlas of {model_title(atlas.model)} ({atlas.kind})", console), style="bold"
        )
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage")
    table.add_column("features", justify="right")
    table.add_column("heads", justify="right")
    table.add_column("strongest in most heads")
    for stage_map in stage_maps(atlas.table, atlas.lines):
        lines = [line for line in atlas.lines if stage_map.stage in line.stages]
        carried = sum(line.significant > 0 for line in lines)
        names = ", ".join(f"{f.label} ({f.heads})" for f in stage_map.features[:3]) or "none"
        table.add_row(
            say(f"{stage_map.stage} {stage_map.name}"),
            say(f"{carried} of {len(lines)}"),
            say(f"{stage_map.carrying} of {len(stage_map.cells)}"),
            say(names),
        )
    console.print(table)
    for line in depth_lines(atlas.depths):
        console.print(say(f"depth  {line}"))
    chance = [line.label for line in atlas.lines if not line.significant]
    if chance:
        console.print(say(f"at chance in every head: {', '.join(chance)}"))
    for reason, labels in by_reason(atlas.left_out).items():
        console.print(say(f"left out  {', '.join(labels)}: {reason}"))
