"""The tensor operations of one step, taken down as they run, and the same operations again without autograd.

Below the autograd engine a step is a list of operations on tensors: forward, backward, clipping, all of them.
`record` runs a function once and takes that list down; `flatten` makes of it one flat Python function. What an
operation gives goes into the very memory that it was given when recorded (`out=`), where torch has code for that; so
views are views of what does not move, and vanish, and so do transposes of weights, copies of gradients, constants.
Same kernels, same operands, same order: the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from inspect import unwrap
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import attribute, private, schema_of
from ..fallback import UntraceableError

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Call:
    """One operation as it ran."""

    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    @property
    def name(self) -> str:
        name: str = schema_of(self.op).name
        return name.removeprefix("aten::")

    @property
    def given(self) -> list[Tensor]:
        return _tensors((self.args, dict(self.kwargs)))

    @property
    def results(self) -> list[Tensor]:
        return _tensors(self.result)

    @property
    def written(self) -> list[Tensor]:
        """The arguments that it changes."""
        arguments = schema_of(self.op).arguments
        names = {a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write}
        places = {a.name: i for i, a in enumerate(arguments)}
        said = [self.kwargs.get(n, self.args[places[n]] if places[n] < len(self.args) else None) for n in names]
        return _tensors(said)


class _Tape:
    """All that came by. Tensors are kept, so that no memory is used twice while it runs."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.drawn: dict[int, tuple[torch.Generator, Tensor]] = {}
        """The random generators that operations name, as they were before the first of those."""

    def run(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Generator) and id(value) not in self.drawn:
                self.drawn[id(value)] = value, value.get_state()
        result = op(*args, **kwargs)
        self.calls.append(Call(op, args, kwargs, result))
        return result


def _mode(tape: _Tape) -> Any:
    """What hands each operation to a tape. MissingNameError."""
    base: Any = private("torch.utils._python_dispatch.TorchDispatchMode")

    class Mode(base):  # type: ignore[misc]
        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return tape.run(op, args, kwargs or {})

    # torch wraps the method in something that imports torch._dynamo, which takes longer than many a training here
    Mode.__torch_dispatch__ = unwrap(Mode.__torch_dispatch__)  # type: ignore[method-assign]
    return Mode()


def record(function: Callable[[], Any]) -> tuple[list[Call], Any]:
    """The operations of a function, which runs as it always does, and its result.

    Where it fails, the random generators that its operations name are as they were.
    """
    tape = _Tape()
    try:
        with _mode(tape):
            result = function()
    except BaseException:
        for generator, was in tape.drawn.values():
            generator.set_state(was)
        raise
    return tape.calls, result


def _check(call: Call) -> None:
    """UntraceableError where an operation may be another one, or on other shapes, in the next step."""
    tensors = [*call.given, *call.results]
    if call.op.namespace != "aten":
        raise UntraceableError(f"it calls {call.op.name()}, which is not torch's own")
    if any(t.layout is not torch.strided or t.is_complex() or t.is_neg() or t.is_conj() for t in tensors):
        raise UntraceableError(f"it has tensors that are not plain ({call.name})")
    if call.name == "index":
        if any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(call.args[1])):
            raise UntraceableError("it picks by a mask, and shapes depend on values")
    elif {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(call.op.tags):
        raise UntraceableError(f"what it does depends on the values of tensors ({call.name})")


class Below:
    """Below autograd, as operations are when they are taken down: they do not go by way of it, and those that ask are
    told that gradients are wanted. torch's LSTM keeps what its gradients need only then. MissingNameError."""

    def __init__(self) -> None:
        self.set_grad = private("torch._C._set_grad_enabled")
        self.guarded = private("torch._C._AutoDispatchBelowAutograd")

    def __enter__(self) -> None:
        self.before = torch.is_grad_enabled()
        self.set_grad(True)
        self.guard = self.guarded()

    def __exit__(self, *error: object) -> None:
        self.guard.__exit__(*error)
        self.set_grad(self.before)


def memory(calls: list[Call]) -> int:
    """Bytes of all that the operations made, which a flat function keeps."""
    seen: set[int] = set()
    made = 0
    for call in calls:
        seen |= {storage(t) for t in call.given}
        for tensor in call.results:
            made += 0 if storage(tensor) in seen else tensor.untyped_storage().nbytes()
            seen.add(storage(tensor))
    return made


def flatten(calls: list[Call], inputs: Values, outputs: list[Tensor | None]) -> Callable[..., tuple[Any, ...]]:
    """A function of `inputs` that does what the calls did and gives `outputs`; all else stays where it was.

    An output may lie in memory that the next call of the function writes to again. UntraceableError.
    """
    writer = _Writer(calls, inputs)
    for index, call in enumerate(calls):
        writer.write(index, call)
    return writer.function(inputs, outputs)


FIXED = {"ones_like", "zeros_like", "full_like", "ones", "zeros", "full", "arange", "scalar_tensor"}
FIXED |= {"new_zeros", "new_ones", "new_full", "lift_fresh_copy"}
"""What gives the same each time."""
EMPTY = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
DIRECT = {"mm", "addmm", "bmm", "baddbmm", "sigmoid", "tanh", "exp", "add", "sub", "mul", "div", "sum", "clamp_min"}
"""What torch has a quicker way into than by its operators."""


class Sieve:
    """Which calls need not run again: views, constants, and copies into memory of their own."""

    def __init__(self, calls: list[Call], inputs: Values) -> None:
        self.instead: dict[int, Tensor] = {}
        """Memory that was copied to, and what it was copied from."""
        self.outside = {storage(t) for t in inputs.values()}
        self.made = {storage(t) for call in calls for t in call.results} - self.outside
        self.changed = {storage(t) for call in calls for t in call.written}
        self.last = {storage(t): i for i, call in enumerate(calls) for t in [*call.given, *call.results]}
        self.empty: set[int] = set()

    def keeps(self, index: int, call: Call) -> bool:
        """Whether a call, the next one, has to run. UntraceableError where it may be another one each time."""
        _check(call)
        stays = {storage(t) for t in call.results}
        if _is_alias(call):
            return False
        if call.name in EMPTY:
            self.empty |= stays
            return False
        if call.name in FIXED and not stays & self.changed:
            return False
        if call.name == "copy_" and self._spared(index, call):
            self.instead[storage(call.args[0])] = self.place(call.args[1])
            return False
        self.empty -= {storage(t) for t in call.written}
        return True

    def _spared(self, index: int, call: Call) -> bool:
        """Whether a copy may be what it was copied from: nobody looks at that one again."""
        to, what = call.args[:2]
        return (
            storage(to) in self.empty
            and storage(what) in self.made
            and self.last[storage(what)] <= index
            and geometry(to) == geometry(what)
            and to.storage_offset() == 0
            and to.untyped_storage().nbytes() == what.untyped_storage().nbytes()
        )

    def place(self, tensor: Tensor) -> Tensor:
        """The tensor, or the same part of what was not copied."""
        what = self.instead.get(storage(tensor))
        if what is None:
            return tensor
        with torch.no_grad():
            return what.detach().as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


class _Writer:
    """Writes the flat function, one line a call."""

    def __init__(self, calls: list[Call], inputs: Values) -> None:
        self.sieve = Sieve(calls, inputs)
        self.lines: list[str] = []
        self.inputs = set(inputs)
        """They may be parts of something larger."""
        self.names: dict[str, Any] = {"as_strided": torch.as_strided, "below": Below()}
        """What the lines speak of."""
        self.known: dict[Any, str] = {}
        self.variables = 0
        self.fresh = {storage(t): (name, t) for name, t in inputs.items()}
        """Memory that is another one each time, and the variable that has it."""

    def write(self, index: int, call: Call) -> None:
        """One call, if it has to run again."""
        if self.sieve.keeps(index, call):
            self._emit(plainer(call))

    def _emit(self, call: Call) -> None:
        if call.name == "clone":
            call = Call(torch.ops.aten.copy_.default, (call.result, call.args[0]), {}, call.result)
        args = [self._text(value) for value in call.args]
        args += [f"{name}={self._text(value)}" for name, value in call.kwargs.items()]
        changes = schema_of(call.op).is_mutable
        given = {storage(t) for t in call.given}
        into = None if changes else _into(call)
        if changes and all(storage(t) in given for t in call.results):
            self.lines.append(f"{self._function(call.op)}({', '.join(args)})")
        elif into is not None:
            op, names = into
            args += [f"{name}={self._text(t)}" for name, t in zip(names, call.results, strict=True)]
            self.lines.append(f"{self._function(op)}({', '.join(args)})")
        else:
            self.lines.append(f"{self._variables(call)} = {self._function(call.op)}({', '.join(args)})")

    def _variables(self, call: Call) -> str:
        """Names for what a call gives anew."""
        several = isinstance(call.result, tuple | list)
        names: list[str] = []
        for value in call.result if several else (call.result,):
            self.variables += 1
            names.append(f"v_{self.variables}")
            if isinstance(value, list):
                raise UntraceableError(f"it gives lists of tensors ({call.name})")
            if isinstance(value, Tensor):
                self.fresh[storage(value)] = (names[-1], value)
        return ", ".join(names) + ("," if several else "")

    def _function(self, op: Any) -> str:
        schema = schema_of(op)
        name, overload = schema.name.removeprefix("aten::"), schema.overload_name
        direct = name in DIRECT and overload in {"out", "IntList_out", "dim_IntList"}
        return self._constant(
            getattr(torch, name) if direct else attribute(op, "_op"), f"{name}_{overload}".rstrip("_")
        )

    def _text(self, value: Any) -> str:
        """An argument as it stands in a line."""
        if isinstance(value, Tensor):
            return self._tensor(self.sieve.place(value))
        if isinstance(value, list | tuple):
            return "[" + ", ".join(map(self._text, value)) + "]"
        if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and isfinite(value)):
            return repr(value)
        return self._constant(value, "k")

    def _tensor(self, tensor: Tensor) -> str:
        if storage(tensor) not in self.fresh:
            return self._constant(tensor.detach(), "t", (storage(tensor), geometry(tensor)))
        name, whole = self.fresh[storage(tensor)]
        if geometry(tensor) == geometry(whole):
            return name
        if tensor.dtype != whole.dtype:
            raise UntraceableError("it reads the bits of one type as another")
        away = tensor.storage_offset() - whole.storage_offset()
        begin = f"{name}.storage_offset() + {away}" if name in self.inputs else tensor.storage_offset()
        return f"as_strided({name}, {tuple(tensor.size())}, {tuple(tensor.stride())}, {begin})"

    def _constant(self, value: Any, name: str, key: Any = None) -> str:
        key = id(value) if key is None else key
        if key not in self.known:
            self.known[key] = f"{name}_{len(self.known)}"
            self.names[self.known[key]] = value
        return self.known[key]

    def function(self, inputs: Values, outputs: list[Tensor | None]) -> Callable[..., tuple[Any, ...]]:
        """What was written, as a function."""
        given = "".join(f"{self._text(t)}, " for t in outputs)
        body = "".join(f"        {line}\n" for line in [*self.lines, f"return ({given})"])
        text = f"def flat({', '.join(inputs)}):\n    with below:\n{body}"
        exec(compile(text, "<flat step>", "exec"), self.names)  # noqa: S102
        flat: Callable[..., tuple[Any, ...]] = self.names["flat"]
        return flat


def plainer(call: Call) -> Call:
    """The same by an operation that can write into given memory, or that is quicker."""
    if call.name == "relu":
        return Call(torch.ops.aten.clamp_min.default, (*call.args, 0), {}, call.result)
    if call.name == "index" and len(call.args[1]) == 1 and call.args[1][0].dim() == 1:
        return Call(torch.ops.aten.index_select.default, (call.args[0], 0, call.args[1][0]), {}, call.result)
    if call.name == "embedding" and call.args[1].is_contiguous():
        table, index = call.args[:2]
        rows = call.result.view(-1, table.shape[1])
        return Call(torch.ops.aten.index_select.default, (table, 0, index.view(-1)), {}, rows)
    return call


def _into(call: Call) -> tuple[Any, list[str]] | None:
    """The form of an operation that writes into given memory, and the names of its places for that; None without."""
    if not all(isinstance(value, Tensor) for value in _items(call.result)):
        return None
    return out_form(call.op, call.results[0].device.type.upper())


@cache
def out_form(op: Any, device: str) -> tuple[Any, list[str]] | None:
    """The form of an operation that writes into given memory, and the names of its places; None without one."""
    own = schema_of(op)
    if own.name.endswith(("_loss", "binary_cross_entropy")):
        return None  # they use the place of the mean for what it is the mean of
    wanted = [(a.name, str(a.type)) for a in own.arguments]
    packet = op.overloadpacket
    for one in (getattr(packet, name) for name in packet.overloads()):
        schema = schema_of(one)
        places = [a.name for a in schema.arguments if a.is_out]
        others = [(a.name, str(a.type)) for a in schema.arguments if not a.is_out]
        if len(places) == len(own.returns) > 0 and others == wanted and _has_kernel(one, device):
            return one, places
    return None


def _has_kernel(op: Any, device: str) -> bool:
    """Whether it has code of its own for a device; what has none would compute elsewhere and copy."""
    has: bool = private("torch._C._dispatch_has_kernel_for_dispatch_key")(op.name(), device)
    return has


def _is_alias(call: Call) -> bool:
    """Whether it shows what is there under another shape, and changes nothing."""
    if schema_of(call.op).is_mutable or not call.results:
        return False
    given = {storage(t) for t in call.given}
    shared = [storage(t) in given for t in call.results]
    if any(shared) and not all(shared):
        raise UntraceableError(f"it gives what it was given, and more ({call.name})")
    return all(shared)


def storage(tensor: Tensor) -> int:
    return int(attribute(tensor.untyped_storage(), "_cdata"))


def geometry(tensor: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset(), tensor.dtype


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _tensors(value: Any) -> list[Tensor]:
    """All that stand in arguments or results."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for item in value.values() for tensor in _tensors(item)]
    return [tensor for item in value for tensor in _tensors(item)] if isinstance(value, list | tuple) else []


def generators(calls: list[Call]) -> list[torch.Generator]:
    """The random generators that the calls name; torch's own are not named."""
    said = [value for call in calls for value in (*call.args, *call.kwargs.values())]
    return list({id(g): g for g in said if isinstance(g, torch.Generator)}.values())
