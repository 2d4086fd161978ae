"""Exact multinomial logistic regression for many heads, problems and penalties at once.

One door: ``fit_logistic`` takes activations (a tensor, or ``SelectedRows``, which are no copy),
labels and penalties and returns a ``LogisticFit``; ``class_logits`` turns the one column of a
two-class probe into the logits of both; ``path_nanoseconds`` and ``machine_factor`` estimate what a
fit takes. Nothing outside imports the modules inside. The package knows torch only: no head, cache
or Lightning.

Read it in this order: ``solver`` (what is asked, and how it is grouped), ``penalty_path`` (the
penalties of one group, in float32 and float64), ``quasi_newton`` (objective and algorithm).
"""

from probes.solver.cost import machine_factor, path_nanoseconds
from probes.solver.likelihood import class_logits
from probes.solver.selected_rows import SelectedRows
from probes.solver.solver import LogisticFit, fit_logistic

__all__ = [
    "LogisticFit",
    "SelectedRows",
    "class_logits",
    "fit_logistic",
    "machine_factor",
    "path_nanoseconds",
]
