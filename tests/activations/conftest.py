from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.activations.interrupting import Forks, content
from tests.tiny_handles import llama, llama_directory

__all__ = ["forks", "llama", "llama_directory", "undisturbed"]


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """As in the forked processes: other threads may give other bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def forks(
    llama_directory: Path, tmp_path_factory: pytest.TempPathFactory, project: Path
) -> Iterator[Forks]:
    forks = Forks(llama_directory, tmp_path_factory.mktemp("outputs"), project)
    yield forks
    forks.server.communicate(timeout=60)


@pytest.fixture(scope="session")
def undisturbed(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    cache_dir = tmp_path_factory.mktemp("undisturbed")
    assert forks.finish(*forks.start(cache_dir)).count("pass") > 10
    return content(cache_dir)
