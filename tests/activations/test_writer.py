"""Where the writer puts rows, whatever it takes at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from probes.activations import writer as module
from probes.activations.layout import SCHEMA_VERSION, LayerInfo
from probes.activations.writer import CacheWriter
from probes.passes.progress import Progress

ROWS, UNITS, WIDTH = 50, 3, 4


def writer_in(directory: Path) -> CacheWriter:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "key": directory.name,
        "fields": {},
        "site": "heads",
        "dtype": "float16",
    }
    infos = [LayerInfo("decoder", n, UNITS, WIDTH, f"layer_00{n}.safetensors") for n in range(2)]
    numbers = np.arange(ROWS, dtype=np.int32)
    return CacheWriter(directory, manifest, infos, ROWS, lambda field: [numbers])


@pytest.mark.parametrize("resident", [1, module.RESIDENT])
@pytest.mark.parametrize("together", [1, 3, 5])
def test_rows_come_back_however_many_heads_and_pieces_are_written_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: int, together: int
) -> None:
    monkeypatch.setattr(module, "RESIDENT", resident)
    random = np.random.default_rng(0)
    wanted = random.standard_normal((2, ROWS, UNITS, WIDTH)).astype(np.float16)
    parts = np.array_split(random.permutation(ROWS), 5)
    writer = writer_in(tmp_path / "cache")
    for layer in range(2):
        pieces = [(rows, wanted[layer, rows].view(np.uint16)) for rows in parts]
        for start in range(0, len(pieces), together):
            writer.write(layer, pieces[start : start + together])
    cache = writer.finish(Progress(sequences=1, rows=ROWS))
    assert cache is not None
    for layer in range(2):
        found = cache.layer(layer).numpy()  # (H, n, D)
        np.testing.assert_array_equal(found, wanted[layer].transpose(1, 0, 2))


def test_pieces_without_rows_are_nothing(tmp_path: Path) -> None:
    writer = writer_in(tmp_path / "cache")
    nothing = np.zeros(0, dtype=np.int64), np.zeros((0, UNITS, WIDTH), dtype=np.uint16)
    one = np.array([7]), np.full((1, UNITS, WIDTH), 0x3C00, dtype=np.uint16)
    writer.write(0, [nothing])
    writer.write(0, [nothing, one])
    cache = writer.finish(Progress(sequences=1, rows=ROWS))
    assert cache is not None
    assert cache.layer(0).float().sum(dim=(0, 2)).nonzero().tolist() == [[7]]
