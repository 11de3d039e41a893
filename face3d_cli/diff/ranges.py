"""How to give every item its own number of entries, without a loop."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def expand_counts(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each item by its count.

    Args:
        counts: (T,) non-negative.

    Returns:
        (N,) which item each entry belongs to, and (N,) its place 0, 1, 2... within the item.
    """
    ends = counts.cumsum(0)
    total = int(ends[-1]) if len(counts) else 0
    owner = torch.repeat_interleave(counts, output_size=total)
    within = torch.arange(total, device=counts.device) - (ends - counts).index_select(0, owner)
    return owner, within


def chunks(cost: Tensor, limit: int) -> Iterator[slice]:
    """Cut (T,) items into runs of about `limit` total cost; a single item may exceed it."""
    if len(cost) == 0:
        return
    total = cost.cumsum(0)
    cuts = torch.arange(1, int(total[-1]) // limit + 1, device=cost.device) * limit
    start = 0
    for stop in [*torch.searchsorted(total, cuts, right=True).tolist(), len(cost)]:
        if stop > start:
            yield slice(start, stop)
            start = stop
