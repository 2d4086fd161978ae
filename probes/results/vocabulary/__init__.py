"""The axes of the results as tables: kinds of sites, methods, comparators and quantities.

Whatever lists, labels, colours or orders any of these derives it from a row here. Adding one is
adding its row, beside the code that computes its numbers.
"""

from probes.results.vocabulary.comparators import COMPARATORS, Comparator, Compared
from probes.results.vocabulary.methods import METHODS, Method, Variant, probe_label
from probes.results.vocabulary.quantities import QUANTITIES, QuantityKind, quantity_kind
from probes.results.vocabulary.sites import SITES, SiteKind

__all__ = [
    "COMPARATORS",
    "METHODS",
    "QUANTITIES",
    "SITES",
    "Comparator",
    "Compared",
    "Method",
    "QuantityKind",
    "SiteKind",
    "Variant",
    "probe_label",
    "quantity_kind",
]
