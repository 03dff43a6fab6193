"""torch's recurrent modules with initial states as inputs, and either the sequence or the end as output."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .carry import Carries, current
from .recurrent_steps import at_end, by_layer, by_step, gru_cell, is_real, lstm_cell
from .steps import Cache

STATES = ("h_0", "c_0")
"""Names of the states that a layer begins at."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "identity": lambda x: x}


class Recurrent(Carries, nn.RNNBase):
    """Mixin for torch's recurrent modules.

    Shapes: x of (N, T, C), then what else it `takes`, by name: states h_0 and c_0 of (N, K, H), or (N, H), lengths of
    (N,) or (N, 1), and document of (N, T) -> (N, T, D * H), or (N, D * H) at the end. `one_bias` replaces torch's
    second bias by zeros that are not learned.
    """

    def __init__(
        self,
        *sizes: int,
        one_bias: bool = False,
        return_sequences: bool = True,
        takes: Sequence[str] = STATES,
        **options: Any,
    ) -> None:
        super().__init__(*sizes, **options)  # type: ignore[arg-type]  # torch's RNN, GRU and LSTM know their mode
        self.return_sequences, self.takes = return_sequences, tuple(takes)
        self.packs = False
        """Whether states and cells that it ends in are packed behind the output: (N, values of all of them)."""
        for name in [name for name, _ in self.named_parameters() if one_bias and name.startswith("bias_hh")]:
            zeros = torch.zeros_like(getattr(self, name), requires_grad=False)
            delattr(self, name)
            self.register_buffer(name, None, persistent=False)
            setattr(self, name, zeros)  # torch's module notes it for its kernels

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        named = dict(zip(self.takes, others, strict=False))
        states = [named[name] for name in STATES if name in named]
        carry = None if states else current(self)
        begin = (
            [_by_layer(state) for state in states] if carry is None else carry.first(self, self.zeros(x, x.shape[0]))
        )
        if "lengths" in named or "document" in named:
            lengths, document = named.get("lengths"), named.get("document")
            y, ends = self._masked(x, begin, None if lengths is None else lengths.flatten(), document)
        else:
            y, ends = self._whole(x, begin)
        if carry is not None:
            carry.keep(self, ends)
        if not self.return_sequences:
            y = torch.cat((ends[0][-2], ends[0][-1]), -1) if self.bidirectional else ends[0][-1]  # where each ends
        return packed(y, *(end.transpose(0, 1) for end in ends)) if self.packs else y

    def _whole(self, x: Tensor, begin: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return outputs, (N, T, D * H), and the states at the end, (K, N, H) each, by torch's module."""
        y, last = super().forward(x.transpose(0, 1), self._begin(x, begin))
        return y.transpose(0, 1), last if isinstance(last, tuple) else (last,)  # torch's batch_first would do so

    def _masked(
        self, x: Tensor, begin: Sequence[Tensor], lengths: Tensor | None, document: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the same of texts of different lengths, or of several documents; cells only where they are used."""
        zeros = self.zeros(x, x.shape[0])
        states = (*begin, *zeros[len(begin) :])
        is_used = self.packs or current(self) is not None
        if lengths is None or document is not None or (len(zeros) > 1 and is_used):
            return by_step(self, x, states, lengths, document)
        if self.bidirectional or (self.num_layers > 1 and is_used):
            return by_layer(self, x, states, lengths)
        y, last = self._whole(x, begin)
        made = y.masked_fill(~is_real(lengths, x.shape[1]).unsqueeze(-1), 0.0)
        return made, (torch.stack([*last[0][:-1], at_end(y, lengths, states[0][-1])]),)

    def one_layer(self, x: Tensor, states: tuple[Tensor, ...], which: str) -> Tensor:
        begin: Any = tuple(state.unsqueeze(0).contiguous() for state in states)
        kernel: Any = getattr(torch, self.mode.lower())
        held = begin if self.mode == "LSTM" else begin[0]
        weights = self._weights_of(which)
        y: Tensor = kernel(x.transpose(0, 1), held, weights, self.bias, 1, 0.0, self.training, False, False)[0]
        return y.transpose(0, 1)

    def sums(self, x: Tensor, which: str) -> Tensor:
        return F.linear(x, getattr(self, f"weight_ih{which}"), self._bias("ih", which))

    def one_step(self, sums: Tensor, states: tuple[Tensor, ...], which: str) -> tuple[Tensor, ...]:
        of_state = F.linear(states[0], getattr(self, f"weight_hh{which}"), self._bias("hh", which))
        if self.mode == "LSTM":
            return lstm_cell(sums + of_state, states, getattr(self, f"weight_hr{which}") if self.proj_size else None)
        if self.mode == "GRU":
            return (gru_cell(sums, of_state, states[0]),)
        return (self.activated(sums + of_state),)

    def activated(self, sums: Tensor) -> Tensor:
        """Return the state of an RNN, of its sums."""
        return sums.relu() if self.mode == "RNN_RELU" else sums.tanh()

    def _bias(self, of: str, which: str) -> Tensor | None:
        return getattr(self, f"bias_{of}{which}") if self.bias else None

    def _weights_of(self, which: str) -> list[Tensor]:
        """Return the weights of one layer in one direction, in the order of torch's kernels."""
        names = ["weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if self.bias else ())]
        return [getattr(self, f"{name}{which}") for name in [*names, *(("weight_hr",) if self.proj_size else ())]]

    def zeros(self, like: Tensor, count: int) -> tuple[Tensor, ...]:
        """Return states of zeros for so many rows, and cells where it has some: (layers * directions, N, values)."""
        sizes = (self.proj_size or self.hidden_size, *((self.hidden_size,) if self.mode == "LSTM" else ()))
        rows = self.num_layers * (1 + self.bidirectional)
        return tuple(like.new_zeros(rows, count, size) for size in sizes)

    def step(self, x: Tensor, *others: Tensor, cache: Cache) -> Tensor:
        """Of the next steps, from the states that the steps before ended in; `others` hold those to begin at.

        The next steps are of the same text: lengths and documents say nothing about them.
        """
        if self.bidirectional:
            raise ValueError("a bidirectional layer begins at the last step: it cannot go step by step")
        named = dict(zip(self.takes, others, strict=False))
        was, takes = self.packs, self.takes
        self.packs, self.takes = True, STATES
        try:
            joined = self(x, *(cache.held.values() or (named[name] for name in STATES if name in named)))
        finally:
            self.packs, self.takes = was, takes
        made, *ends = self._parts(x, joined)
        cache.held = {f"state {i}": end for i, end in enumerate(ends)}
        return joined if self.packs else made

    def _parts(self, x: Tensor, joined: Tensor) -> Iterator[Tensor]:
        """Take apart what `packed` joined: output, state, and cells of an LSTM."""
        width = self.proj_size or self.hidden_size
        output = (x.shape[1], width) if self.return_sequences else (width,)
        shapes = [output, (self.num_layers, width)]
        shapes += [(self.num_layers, self.hidden_size)] if self.mode == "LSTM" else []
        parts = joined.split_with_sizes([prod(shape) for shape in shapes], 1)
        return (part.reshape(x.shape[0], *shape) for part, shape in zip(parts, shapes, strict=True))

    def _begin(self, x: Tensor, states: Sequence[Tensor]) -> Any:
        """Return the initial state for torch's module; missing cells are zero."""
        if self.mode != "LSTM" or not states:
            return states[0] if states else None
        hidden, *cells = states
        return hidden, cells[0] if cells else x.new_zeros(len(hidden), x.shape[0], self.hidden_size)


class RNN(Recurrent, nn.RNN):  # type: ignore[misc]
    """torch's RNN."""


class GRU(Recurrent, nn.GRU):  # type: ignore[misc]
    """torch's GRU."""


class LSTM(Recurrent, nn.LSTM):
    """torch's LSTM; a second state is that of the cells."""

    def forward(self, x: Tensor, *states: Tensor) -> Tensor:  # type: ignore[override]
        if not self.proj_size:
            return super().forward(x, *states)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
            return super().forward(x, *states)


class OtherRNN(RNN):
    """RNN with an activation that torch does not have, as a loop over the steps."""

    def __init__(self, *sizes: int, activation: str, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.activation = activation

    def _whole(self, x: Tensor, begin: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        suffixes = ("", "_reverse") if self.bidirectional else ("",)
        count, states_at_end = len(suffixes), list[Tensor]()
        states = begin[0] if begin else self.zeros(x, x.shape[0])[0]
        for layer in range(self.num_layers):
            dropped = F.dropout(x, self.dropout, self.training and layer > 0)
            states_of_layer = zip(states[count * layer :], suffixes, strict=False)
            directions = [self._direction(dropped, h, f"_l{layer}{end}") for h, end in states_of_layer]
            x = torch.cat(directions, -1) if count > 1 else directions[0]
            ends = [direction[:, 0 if end else -1] for direction, end in zip(directions, suffixes, strict=True)]
            states_at_end += ends
        return x, (torch.stack(states_at_end),)

    def one_layer(self, x: Tensor, states: tuple[Tensor, ...], which: str) -> Tensor:
        made, h = [], states[0]
        for step in self.sums(x, which).unbind(1):
            (h,) = self.one_step(step, (h,), which)
            made.append(h)
        return torch.stack(made, 1)

    def activated(self, sums: Tensor) -> Tensor:
        return ACTIVATIONS[self.activation](sums)

    def _direction(self, x: Tensor, h: Tensor, which: str) -> Tensor:
        """Return the states of one layer in one direction, in the order of the steps: (N, T, H)."""
        over, made, back = getattr(self, f"weight_hh{which}"), [], which.endswith("_reverse")
        first, second = (getattr(self, f"bias_{of}{which}") if self.bias else None for of in ("ih", "hh"))
        steps = F.linear(x, getattr(self, f"weight_ih{which}"), first).unbind(1)
        for step in reversed(steps) if back else steps:
            h = ACTIVATIONS[self.activation](step + F.linear(h, over, second))
            made.append(h)
        return torch.stack(made[::-1] if back else made, 1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, activation={self.activation}"


class Part(nn.Module):
    """One of the tensors that `packed` joins, integers as integers. Shapes: (N, values) -> (N, *shape)."""

    def __init__(self, start: int, shape: Sequence[int], integers: bool = False) -> None:
        super().__init__()
        self.start, self.shape, self.integers = start, tuple(shape), integers

    def forward(self, x: Tensor) -> Tensor:
        part = x[:, self.start : self.start + prod(self.shape)].reshape(len(x), *self.shape)
        return part.long() if self.integers else part

    def extra_repr(self) -> str:
        return f"start={self.start}, shape={self.shape}"


def packed(*parts: Tensor) -> Tensor:
    """Join tensors as one: (N, *) each -> (N, values of all)."""
    return torch.cat([part.flatten(1) for part in parts], 1)


def _by_layer(state: Tensor) -> Tensor:
    """Bring a state to torch's layout: (N, K, H), or (N, H) of one layer, to (K, N, H)."""
    return (state.unsqueeze(1) if state.dim() == 2 else state).transpose(0, 1).contiguous()
