"""Mixtures of experts, whose grouped products know no float64."""

from __future__ import annotations

import transformers

# transformers 4 takes one expert after another, and has no such option.
ONE_BY_ONE: dict[str, str] = (
    {} if transformers.__version__.startswith("4.") else {"experts_implementation": "eager"}
)
"""Options with which transformers opens a model so that its experts compute in any dtype."""
