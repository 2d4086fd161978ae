"""Opened tiny models."""

from tests.tiny_handles import talking

__all__ = ["talking"]
