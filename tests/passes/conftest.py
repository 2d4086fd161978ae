"""The models and tokenizers that extraction is tested with serve here too."""

from __future__ import annotations

from tests.activations.conftest import any_tokenizer, llama, llama_directory

__all__ = ["any_tokenizer", "llama", "llama_directory"]
