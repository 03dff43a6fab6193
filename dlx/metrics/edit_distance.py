"""The edit distance of sequences, many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def edit_distance(first: Tensor, second: Tensor) -> Tensor:
    """Return the fewest insertions, deletions and changes (N,) that make each of the first sequences the second.

    Arguments:
        first, second: numbers (N, S) and (N, L), those that count in front, and below 0 behind their end.

    Source: Wagner & Fischer 1974, The string-to-string correction problem, section 3; a row of its table at once.
    """
    steps = torch.arange(second.shape[1] + 1, device=second.device)
    row = steps.expand(len(second), -1)
    for i in range(first.shape[1]):
        symbol = first[:, i : i + 1]
        best = torch.cat((row[:, :1] + 1, torch.minimum(row[:, 1:] + 1, row[:, :-1] + (symbol != second))), 1)
        best = (best - steps).cummin(1).values + steps  # insertions: from any place before, one each
        row = torch.where(symbol >= 0, best, row)
    ends = (second >= 0).sum(1, keepdim=True)
    return row.gather(1, ends).squeeze(1)
