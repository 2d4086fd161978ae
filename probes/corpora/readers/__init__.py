"""Corpora read from files: one module for each kind, with ``load(config)``."""
