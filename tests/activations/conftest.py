from __future__ import annotations

from tests.tiny_handles import llama, llama_directory

__all__ = ["llama", "llama_directory"]
