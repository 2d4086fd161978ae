"""Edits of activations at the sites."""
