"""The option ``--png FILE`` of commands that draw."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from probes.core.errors import UserError


def png_path(png: Path) -> Path:
    """The file to draw into, its name ending as such files do."""
    if png.is_dir():
        raise UserError(f"--png {png}: it is a directory", fix=f"--png {png / 'map.png'}")
    return png.with_name(png.name.removesuffix(".png") + ".png")


@contextlib.contextmanager
def writing_pictures(png: Path) -> Iterator[None]:
    """Turn a file that cannot be written into a ``UserError`` that names the option."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"--png {png}: {error.filename}: {error.strerror}",
            fix="--png FILE in a folder you may write to",
        ) from None
