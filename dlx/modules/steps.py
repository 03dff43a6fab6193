"""What a layer keeps between the steps of a network that is run token by token.

A module that sees other tokens than its own has a method `step(*xs, cache=cache)` beside `forward`: it takes the next
tokens of (N, n, *) alone, finds what it needs of those before in its `Cache`, and gives what `forward` gives of all
tokens at these places, up to rounding. All others treat each token by itself, and are called as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Tensors that one layer keeps of the tokens so far.

    Attributes:
        length: number of tokens so far.
        held: tensors that each step replaces, such as the state of a recurrent layer, by name; batch first.
    """

    def __init__(self) -> None:
        self.length = 0
        self.held: dict[str, Tensor] = {}
        self._grown: dict[str, tuple[Tensor, int]] = {}

    def append(self, name: str, x: Tensor) -> Tensor:
        """Add tokens on the axis before the last; return all so far, (N, *, length, D).

        Room doubles where it is full, so that a token costs as much after a thousand as after ten.
        """
        room, length = self._grown.get(name, (x, 0))
        new = length + x.shape[-2]
        if not length or new > room.shape[-2]:
            larger = x.new_empty(*x.shape[:-2], max(16, 2 * new), x.shape[-1])
            larger[..., :length, :] = room[..., :length, :]
            room = larger
        room[..., length:new, :] = x
        self._grown[name] = (room, new)
        return room[..., :new, :]

    def reorder(self, rows: Tensor) -> None:
        """Keep what belongs to these rows of the batch, as beam search does; a row may come several times."""
        self.held = {name: x.index_select(0, rows) for name, x in self.held.items()}
        self._grown = {name: (x.index_select(0, rows), n) for name, (x, n) in self._grown.items()}


def lower_right(queries: int, keys: int, device: torch.device, window: int | None = None) -> Tensor | None:
    """Return the causal mask of the last `queries` of `keys` tokens, true where a key takes part; None for all.

    torch's `is_causal` counts from the first key, which is another mask where there are more keys than queries.
    """
    if queries == 1 and (window is None or keys <= window):
        return None
    later = torch.arange(keys - queries, keys, device=device).unsqueeze(1) - torch.arange(keys, device=device)
    return later >= 0 if window is None else (later >= 0) & (later < window)
