"""Steps of several networks of one shape as one step on stacked tensors.

The tape of each network is the same list of operations on memory of its own. Here the memory of all lies side by
side, one row a network, and each operation runs once on all rows where it is known how, and row by row where it is
not. What all networks share, the examples, is not copied. A row is a plain view: the networks' weights become rows,
so that each can be evaluated, saved and moved by its own optimizer as if it were alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import schema_of
from ..fallback import UntraceableError
from ..replay.script import Do, copy, do
from ..replay.tape import Call, Sieve, Values, geometry, out_form, plainer, storage
from . import aligned_memory, convolution, cross_entropy

LARGE = 32_768
"""Values of one network's result from which on it stays in the cache only where its row is finished first."""


class Stack:
    """`runs` is the step: operations from and to memory that stays where it is.

    `held` are the weights and buffers of the first network.
    UntraceableError where the networks do not do the same, or where chance cannot be drawn row by row.
    """

    def __init__(
        self, tapes: list[list[Call]], inputs: list[Values], chance: list[torch.Generator], held: list[Tensor]
    ) -> None:
        self.tapes, self.rows, self.chance = tapes, len(tapes), chance
        if len({tuple(call.op for call in tape) for tape in tapes}) > 1:
            raise UntraceableError("the networks do not take the same steps")
        self.sieves = [Sieve(tape, given) for tape, given in zip(tapes, inputs, strict=True)]
        self.memory: dict[int, Tensor] = {}
        """Rows by the memory of the first network."""
        self.shared: set[int] = set()
        self.own = {storage(t) for t in (*held, *inputs[0].values())} | self.sieves[0].made
        """Memory that is never shared: what the first network holds, takes and makes."""
        self.runs: list[Do] = []
        self.apart: list[list[Do]] = []
        self.columns: dict[Any, convolution.Columns] = {}
        """Convolutions that are products of matrices, by what they were given."""
        with torch.no_grad():
            for index, calls in enumerate(zip(*tapes, strict=True)):
                self._add(index, [plainer(call) for call in calls], list(calls))
            self._settle()

    # --- memory -----------------------------------------------------------------------------------------------------

    def join(self, tensors: list[Tensor]) -> None:
        """Memory of each network that has one part in all of them becomes rows, with what is in it."""
        key = storage(tensors[0])
        if key in self.memory or key in self.shared:
            return
        if key not in self.own and len({storage(t) for t in tensors}) == 1:
            self.shared.add(key)
            return
        whole = [_whole(t) for t in tensors]
        if len({(len(t), t.dtype) for t in whole}) > 1:
            raise UntraceableError("the networks are not of one shape")
        self.memory[key] = aligned_memory.rows(len(whole), whole[0].shape, whole[0]).copy_(torch.stack(whole))

    def wide(self, tensor: Tensor) -> Tensor:
        """A tensor of the first network with those of the others before its first axis."""
        rows = self.memory[storage(tensor)]
        if rows.dtype != tensor.dtype:
            raise UntraceableError("it reads the bits of one type as another")
        return rows.as_strided(
            (self.rows, *tensor.size()), (rows.stride(0), *tensor.stride()), tensor.storage_offset()
        )

    def row(self, tensor: Tensor, index: int) -> Tensor:
        """The tensor of another network that stands where one of the first does."""
        return tensor.detach() if storage(tensor) in self.shared else self.wide(tensor)[index]

    def row_if(self, tensor: Tensor, index: int) -> Tensor | None:
        """The same for memory that is in rows; None for what no operation touched."""
        return self.row(tensor, index) if storage(tensor) in self.memory else None

    def row_of(self, tensor: Tensor | None, index: int) -> Tensor | None:
        """The same for a result, which may lie in what it was copied from."""
        return None if tensor is None else self.row(self.sieves[0].place(tensor), index)

    def wide_of(self, tensor: Tensor) -> Tensor:
        return self.wide(self.sieves[0].place(tensor))

    def is_shared(self, tensor: Tensor) -> bool:
        return storage(tensor) in self.shared

    # --- operations -------------------------------------------------------------------------------------------------

    def _add(self, index: int, calls: list[Call], originals: list[Call]) -> None:
        kept = [s.keeps(index, call) for s, call in zip(self.sieves, originals, strict=True)]
        if len(set(kept)) > 1:
            raise UntraceableError("the networks do not use their memory in the same way")
        placed = [self._placed(call, sieve) for call, sieve in zip(calls, self.sieves, strict=True)]
        for tensors in zip(*([*call.given, *call.results] for call in placed), strict=True):
            if len({geometry(t) for t in tensors}) > 1:
                raise UntraceableError("the networks are not of one shape")
            self.join(list(tensors))
        if kept[0]:
            together = self._together(placed)
            if together:
                self._settle()
                self.runs += together
            else:
                self.apart.append(self._one_by_one(placed))

    def _settle(self) -> None:
        """What is done row by row since the last operation on all rows: all of it on one row, then on the next."""
        self.runs += [runs[row] for row in range(self.rows) for runs in self.apart]
        self.apart.clear()

    @staticmethod
    def _placed(call: Call, sieve: Sieve) -> Call:
        args = tuple(_mapped(value, sieve.place) for value in call.args)
        kwargs = {name: _mapped(value, sieve.place) for name, value in call.kwargs.items()}
        return Call(call.op, args, kwargs, _mapped(call.result, sieve.place))

    def _together(self, calls: list[Call]) -> list[Do]:
        """One operation for all rows; nothing where it is not known how."""
        first = calls[0]
        if any(_plain(call) != _plain(first) for call in calls) or not first.results:
            return []
        if first.name in CONVOLUTIONS:
            return CONVOLUTIONS[first.name](self, first) or []
        if all(map(self.is_shared, first.results)) or max(t.numel() for t in first.results) > LARGE:
            return []
        several = SEVERAL[first.name](self, first) if first.name in SEVERAL else None
        if several is not None:
            return several
        rule = RULES.get(first.name)
        if rule is None and torch.Tag.pointwise in first.op.tags:
            rule = _pointwise
        made = rule(self, first) if rule is not None else None
        return [] if made is None else [self._into(made, first)]

    def _into(self, made: Call, first: Call) -> Do:
        """A call on all rows, into the memory for what it gives."""
        if schema_of(made.op).is_mutable:
            return Do(made.op, made.args, made.kwargs)
        return _written(made.op, made.args, made.kwargs, list(made.result), first)

    def _one_by_one(self, calls: list[Call]) -> list[Do]:
        return [self._alone(call, calls[0], i) for i, call in enumerate(calls)]

    def _alone(self, call: Call, first: Call, index: int) -> Do:
        """The call of one network, on its row."""
        # an argument that is its default may be left out, so the networks may be given different numbers of them
        known = dict(enumerate(first.args))
        args = [_row_value(self, known[i], index) if _has_tensor(v) else v for i, v in enumerate(call.args)]
        named = first.kwargs
        kwargs = {n: _row_value(self, named[n], index) if _has_tensor(v) else v for n, v in call.kwargs.items()}
        if torch.Tag.nondeterministic_seeded in call.op.tags:
            if not any(a.name == "generator" for a in schema_of(call.op).arguments):
                raise UntraceableError(f"chance of {call.name} cannot be drawn for one network")
            kwargs["generator"] = self.chance[index]
        places = [self.row(t, index) for t in first.results]
        given = {storage(t) for t in first.given}
        if schema_of(call.op).is_mutable and all(storage(t) in given for t in first.results):
            return Do(call.op, tuple(args), kwargs)
        return _written(call.op, args, kwargs, places, first)


def _written(op: Any, args: Sequence[Any], kwargs: Mapping[str, Any], places: list[Tensor], first: Call) -> Do:
    """An operation into memory for what it gives: directly where torch can, else it is copied there."""
    form = None if schema_of(op).is_mutable else out_form(op, first.results[0].device.type.upper())
    if form is not None and len(form[1]) == len(places):
        return Do(form[0], tuple(args), {**kwargs, **dict(zip(form[1], places, strict=True))})
    given = first.result if isinstance(first.result, tuple | list) else (first.result,)
    left = iter(places)
    return Do(op, tuple(args), kwargs, tuple(next(left) if isinstance(one, Tensor) else None for one in given))


# --- what one operation is for all rows -----------------------------------------------------------------------------


def _pointwise(stack: Stack, call: Call) -> Call:
    """The same operation: axes are lined up at their ends, and the rows come before all of them."""
    rank = max(t.dim() for t in [*call.given, *call.results])

    def lined(tensor: Tensor) -> Tensor:
        if stack.is_shared(tensor):
            return tensor.detach()
        wide = stack.wide(tensor)
        return wide[(slice(None), *(None,) * (rank - tensor.dim()))]

    return _changed(call, lined, [lined(t) for t in call.results])


def _clone(stack: Stack, call: Call) -> Call | None:
    if stack.is_shared(call.args[0]):
        return None
    return Call(torch.ops.aten.copy_.default, (stack.wide(call.results[0]), stack.wide(call.args[0])), {}, ())


def _matrices(stack: Stack, call: Call) -> Call | None:
    """A product of matrices is a batched one; where one is a vector, MKL adds in another order for several."""
    *bias, one, other = call.args
    if 1 in call.results[0].shape:
        return None

    def wide(tensor: Tensor) -> Tensor:
        return tensor.detach().expand(stack.rows, *tensor.size()) if stack.is_shared(tensor) else stack.wide(tensor)

    given = [wide(one), wide(other)]
    if bias:
        shift = wide(bias[0])
        given = [shift if bias[0].dim() == 2 else shift[(slice(None), *(None,) * (2 - bias[0].dim()))], *given]
    op = torch.ops.aten.baddbmm.default if bias else torch.ops.aten.bmm.default
    return Call(op, tuple(given), dict(call.kwargs), (stack.wide(call.results[0]),))


def _along(stack: Stack, call: Call) -> Call | None:
    """Axes that are named move by one."""
    if any(map(stack.is_shared, call.given)):
        return None
    dims = {i for i, a in enumerate(schema_of(call.op).arguments) if a.name == "dim"}
    rank = call.given[0].dim()

    def moved(dim: Any) -> Any:
        if isinstance(dim, list | tuple):
            return [d % rank + 1 for d in dim]
        return dim % rank + 1

    if not dims or rank == 0 or any(i >= len(call.args) or call.args[i] in (None, []) for i in dims):
        return None
    args = [moved(v) if i in dims else _mapped(v, stack.wide) for i, v in enumerate(call.args)]
    kwargs = {name: _mapped(value, stack.wide) for name, value in call.kwargs.items()}
    return Call(call.op, tuple(args), kwargs, tuple(map(stack.wide, call.results)))


def _over_all(stack: Stack, call: Call) -> Call | None:
    """A sum or mean of everything is one over all axes but the rows."""
    x = call.args[0]
    if stack.is_shared(x) or len(call.args) > 1 or x.dim() == 0:
        return None
    op = torch.ops.aten.sum.dim_IntList if call.name == "sum" else torch.ops.aten.mean.dim
    dims = list(range(1, x.dim() + 1))
    return Call(op, (stack.wide(x), dims), dict(call.kwargs), (stack.wide(call.results[0]),))


def _reduced(stack: Stack, call: Call) -> Call | None:
    return _over_all(stack, call) if schema_of(call.op).overload_name == "" else _along(stack, call)


def _picked(stack: Stack, call: Call) -> list[Do] | None:
    """Examples that all networks share, picked for all of them at once."""
    table, dim, index = call.args
    rows, result = (stack.memory.get(storage(t)) for t in (index, call.results[0]))
    if not stack.is_shared(table) or dim != 0 or rows is None or result is None:
        return None
    wide, into = stack.wide(index), stack.wide(call.results[0])
    if not wide.is_contiguous():
        return None
    found = into if into.is_contiguous() else into.new_empty(into.shape)
    op = torch.ops.aten.index_select.out
    picks = do(op, table.detach(), 0, wide.view(-1), out=found.view(-1, *table.shape[1:]))
    return [picks] if found is into else [picks, copy(into, found)]


CONVOLUTIONS = {"convolution": convolution.forward, "convolution_backward": convolution.backward}
AXES = ["_log_softmax", "_log_softmax_backward_data", "_softmax", "_softmax_backward_data", "amax", "amin", "cumsum"]
RULES: dict[str, Callable[[Stack, Call], Call | None]] = {
    "clone": _clone,
    "mm": _matrices,
    "addmm": _matrices,
    "sum": _reduced,
    "mean": _reduced,
    **dict.fromkeys(AXES, _along),
}
SEVERAL: dict[str, Callable[[Stack, Call], list[Do] | None]] = {**cross_entropy.RULES, "index_select": _picked}
"""Rules for calls that become several operations for all rows."""


# --- small things ---------------------------------------------------------------------------------------------------


def _whole(tensor: Tensor) -> Tensor:
    """All of the memory that a tensor lies in."""
    items = tensor.untyped_storage().nbytes() // tensor.element_size()
    return tensor.detach().as_strided((items,), (1,), 0)


def _changed(call: Call, change: Callable[[Tensor], Tensor], result: list[Tensor]) -> Call:
    args = tuple(_mapped(value, change) for value in call.args)
    return Call(call.op, args, {n: _mapped(v, change) for n, v in call.kwargs.items()}, tuple(result))


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)(_mapped(v, change) for v in value)
    return value


def _row_value(stack: Stack, value: Any, index: int) -> Any:
    return _mapped(value, lambda tensor: stack.row(tensor, index))


def _has_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, list | tuple) and any(map(_has_tensor, value)))


def _plain(call: Call) -> Any:
    """What a call is given beside tensors."""

    def bare(value: Any) -> Any:
        if isinstance(value, Tensor):
            return Tensor
        return tuple(map(bare, value)) if isinstance(value, list | tuple) else value

    return [bare(v) for v in call.args], {n: bare(v) for n, v in call.kwargs.items()}
