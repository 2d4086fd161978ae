"""Which layers are extracted together, where the disk may not hold all of a run's activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from probes.core.errors import UserError
from probes.core.files import size


def next_pass(left: Sequence[int], n_bytes: Mapping[int, int], budget: int) -> list[int]:
    """The first layers of ``left`` that fit into the budget together.

    left: numbers of layers, ascending. n_bytes: of each layer, all that is stored of it.

    Raises:
        UserError: the first of them does not fit by itself.

    >>> next_pass([3, 4, 5], {3: 10, 4: 10, 5: 10}, 25)
    [3, 4]
    """
    if n_bytes[left[0]] > budget:
        needed = -(-max(n_bytes[layer] for layer in left) // 10**6)
        raise UserError(
            f"disk_budget={size(budget)} is too small for the activations of layer {left[0]}, "
            f"{size(n_bytes[left[0]])}",
            allowed=f"{needed}MB or more for a layer at a time, null for no limit",
            fix=f"disk_budget={needed}MB",
        )
    taken: list[int] = []
    for layer in left:
        if sum(n_bytes[of] for of in taken) + n_bytes[layer] > budget:
            break
        taken.append(layer)
    return taken
