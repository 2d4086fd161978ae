"""The console that maps and tables are printed on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from probes.core.shown import shown


class ShownConsole(Console):
    """Spells out what would steer the terminal in what is printed; its own colours stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments of text and style."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))


def new_console(**options: Any) -> Console:
    """On standard output, without colours of numbers and paths."""
    return ShownConsole(highlight=False, **options)
