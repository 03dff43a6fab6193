"""Record the tensor operations of one step, and replay them as a flat function without autograd.

Below the autograd engine a step is a list of operations on tensors: forward, backward, clipping. `record` runs a
function once and records that list; `flatten` writes one flat Python function from it. Each operation writes its
result into the memory that its result had when recorded (`out=`), where torch has such a kernel. So memory stays
where it is, and whatever only describes or copies it falls away: views, transposes of weights, copies of gradients,
constants. Same kernels, same operands, same order: the same bits.

Images in oneDNN's own layout have no strides, and their operations no such kernels: they are new in each run, and are
freed behind their last use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import unwrap
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import attribute, private, schema_of, storage
from ..fallback import UntraceableError

Values = dict[str, Tensor]


@dataclass(frozen=True)
class RecordedCall:
    """One recorded operation: an overload of aten, with its arguments and its result.

    What follows from them is found once: a stack of many networks asks for it many times.
    """

    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any

    @cached_property
    def name(self) -> str:
        name: str = schema_of(self.op).name
        return name.removeprefix("aten::")

    @cached_property
    def inputs(self) -> list[Tensor]:
        return _tensors((self.args, dict(self.kwargs)))

    @cached_property
    def results(self) -> list[Tensor]:
        return _tensors(self.result)

    @cached_property
    def mutated(self) -> list[Tensor]:
        """The arguments that it changes in place, by the schema of the operation."""
        arguments = schema_of(self.op).arguments
        names = {a.name for a in arguments if a.alias_info is not None and a.alias_info.is_write}
        places = {a.name: i for i, a in enumerate(arguments)}
        values = [self.kwargs.get(n, self.args[places[n]] if places[n] < len(self.args) else None) for n in names]
        return _tensors(values)


class _Tape:
    """Recorded calls.

    They hold every tensor of the step, so that torch does not give the memory of a freed one to a later one: each
    storage stands for one value.
    """

    def __init__(self) -> None:
        self.calls: list[RecordedCall] = []
        self.generators: dict[int, tuple[torch.Generator, Tensor]] = {}
        """Random generators in arguments of operations, with their states before the first of those."""

    def run(self, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, torch.Generator) and id(value) not in self.generators:
                self.generators[id(value)] = value, value.get_state()
        result = op(*args, **kwargs)
        self.calls.append(RecordedCall(op, args, kwargs, result))
        return result


def _mode(tape: _Tape) -> Any:
    """Return the context in which torch passes each operation to the tape. MissingNameError."""
    base: Any = private("torch.utils._python_dispatch.TorchDispatchMode")

    class Mode(base):  # type: ignore[misc]
        def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return tape.run(op, args, kwargs or {})

    # torch 2.13 wraps the method in `_disable_dynamo`, whose first call imports torch._dynamo: longer than many a
    # training here takes
    Mode.__torch_dispatch__ = unwrap(Mode.__torch_dispatch__)  # type: ignore[method-assign]
    return Mode()


def record(function: Callable[[], Any]) -> tuple[list[RecordedCall], Any]:
    """Run a function as usual; return its operations and its result.

    If it fails, the random generators in arguments of its operations are restored.
    """
    tape = _Tape()
    try:
        with _mode(tape):
            result = function()
    except BaseException:
        for generator, was in tape.generators.values():
            generator.set_state(was)
        raise
    return tape.calls, result


def _check(call: RecordedCall, opaque: bool) -> None:
    """Raise UntraceableError where the next step may run another operation here, or the same on other shapes."""
    tensors = [*call.inputs, *call.results]
    if call.op.namespace != "aten":
        raise UntraceableError(f"it calls {call.op.name()}, which is not torch's own")
    layouts = [t.layout is torch.strided or (opaque and t.is_mkldnn) for t in tensors]
    if not all(layouts) or any(t.is_complex() or t.is_neg() or t.is_conj() for t in tensors):
        raise UntraceableError(f"it has tensors that are not plain ({call.name})")
    if call.name == "index":
        if any(t.dtype in (torch.bool, torch.uint8) for t in _tensors(call.args[1])):
            raise UntraceableError("it picks by a mask, and shapes depend on values")
    elif {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(call.op.tags):
        raise UntraceableError(f"what it does depends on the values of tensors ({call.name})")


class BelowAutograd:
    """Context in which operations run below autograd, as they did when recorded. MissingNameError.

    `torch.no_grad` does not do: the recorded forward pass of an LSTM computes what its backward pass needs only while
    gradients are enabled. `_AutoDispatchBelowAutograd` skips the autograd kernels and leaves that flag alone.
    """

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


def memory(calls: list[RecordedCall]) -> int:
    """Return the bytes of all storages that the calls made, which a flat function keeps between steps."""
    seen: set[int] = set()
    made = 0
    for call in calls:
        seen |= {storage(t) for t in call.inputs}
        for tensor in call.results:
            made += 0 if tensor.is_mkldnn or storage(tensor) in seen else tensor.untyped_storage().nbytes()
            seen.add(storage(tensor))
    return made


def flatten(
    calls: list[RecordedCall], inputs: Values, outputs: list[Tensor | None]
) -> Callable[..., tuple[Any, ...]]:
    """Return a function of `inputs` that repeats the calls and returns `outputs`. UntraceableError.

    All other tensors are those of the recording. An output may lie in memory that the next call of the function
    writes to again: copy what has to last.
    """
    writer = _FunctionWriter(calls, inputs)
    for index, call in enumerate(calls):
        writer.write(index, call)
    return writer.function(inputs, outputs)


CONSTANT_OPS = {"ones_like", "zeros_like", "full_like", "ones", "zeros", "full", "arange", "scalar_tensor"}
CONSTANT_OPS |= {"new_zeros", "new_ones", "new_full", "lift_fresh_copy"}
"""Operations with the same result each time: it is computed once, unless something writes to it later."""
EMPTY_OPS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
"""Operations that only allocate: their memory is that of the recording."""
OPAQUE_POOL = "mkldnn_max_pool2d"
"""Maximum over windows of an image in oneDNN's layout."""
DIRECT_OPS = {
    "mm",
    "addmm",
    "bmm",
    "baddbmm",
    "sigmoid",
    "tanh",
    "exp",
    "add",
    "sub",
    "mul",
    "div",
    "sum",
    "clamp_min",
}
"""Operations whose binding in `torch` is called faster than the overload in `torch.ops`."""


class CallFilter:
    """Decides which calls need not run again: views, constants, and copies that nothing tells from their source."""

    def __init__(self, calls: list[RecordedCall], inputs: Values, *, opaque: bool = False) -> None:
        """`opaque` is whether tensors may be in oneDNN's layout: a stack of networks is of strided ones."""
        self.opaque = opaque
        self.copied_from: dict[int, Tensor] = {}
        """Source of each removed copy, by the storage of the copy."""
        self.input_storages = {storage(t) for t in inputs.values()}
        self.created = {storage(t) for call in calls for t in call.results} - self.input_storages
        self.changed = {storage(t) for call in calls for t in call.mutated}
        self.last = {storage(t): i for i, call in enumerate(calls) for t in [*call.inputs, *call.results]}
        """Index of the last call that uses each storage."""
        self.empty: set[int] = set()
        """Storages that are allocated and not yet written to."""

    def must_run(self, index: int, call: RecordedCall) -> bool:
        """Whether a call has to run in each step; calls have to come in their order. UntraceableError."""
        _check(call, self.opaque)
        storages = {storage(t) for t in call.results}
        if _is_alias(call) or _gives_nothing(call):
            return False
        if call.name in EMPTY_OPS:
            self.empty |= storages
            return False
        if call.name in CONSTANT_OPS and not storages & self.changed:
            return False
        if call.name == "copy_" and not _is_opaque(call) and self._is_redundant_copy(index, call):
            self.copied_from[storage(call.args[0])] = self.resolve(call.args[1])
            return False
        self.empty -= {storage(t) for t in call.mutated}
        return True

    def _is_redundant_copy(self, index: int, call: RecordedCall) -> bool:
        """Whether a copy may be replaced by its source: nothing reads the source after the copy."""
        to, what = call.args[:2]
        # the source has to be made by this step (not a weight, not an input), must not be used again, or a later
        # write to one would show in the other, and both have to lie alike in a storage of one size, so that every
        # view of the copy is the same view of the source
        return (
            storage(to) in self.empty
            and storage(what) in self.created
            and self.last[storage(what)] <= index
            and geometry(to) == geometry(what)
            and to.storage_offset() == 0
            and to.untyped_storage().nbytes() == what.untyped_storage().nbytes()
        )

    def resolve(self, tensor: Tensor) -> Tensor:
        """Return the tensor, or the same view of the source where the copy was removed."""
        what = self.copied_from.get(storage(tensor))
        if what is None:
            return tensor
        with torch.no_grad():
            return what.detach().as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


class _FunctionWriter:
    """Writes the source of the flat function, one line a call."""

    def __init__(self, calls: list[RecordedCall], inputs: Values) -> None:
        self.filter = CallFilter(calls, inputs, opaque=True)
        self.lines: list[str] = []
        self.inputs = set(inputs)
        """Names of the inputs, which may be views of something larger, at another offset each time."""
        self.names: dict[str, Any] = {"as_strided": torch.as_strided, "below": BelowAutograd()}
        """Global names of the function: tensors, operations and constants."""
        self.known: dict[Any, str] = {}
        self.variables = 0
        self.fresh = {storage(t): (name, t) for name, t in inputs.items()}
        """Storages that are new in each call, with the variable that holds them and its recorded tensor."""

    def write(self, index: int, call: RecordedCall) -> None:
        """Write a call, if it has to run again."""
        if self.filter.must_run(index, call):
            self._emit(simplified(call))

    def _emit(self, call: RecordedCall) -> None:
        if call.name == "clone" and not _is_opaque(call):
            call = RecordedCall(torch.ops.aten.copy_.default, (call.result, call.args[0]), {}, call.result)
        args = [self._text(value) for value in call.args]
        args += [f"{name}={self._text(value)}" for name, value in call.kwargs.items()]
        if call.name == OPAQUE_POOL and call.args[0].requires_grad:
            args[0] += ".requires_grad_()"  # else the kernel leaves out what its backward pass needs
        changes = schema_of(call.op).is_mutable
        inputs = {storage(t) for t in call.inputs}
        into = None if changes or _is_opaque(call) else _out_variant_of(call)
        if changes and all(storage(t) in inputs for t in call.results):
            self.lines.append(f"{self._function(call.op)}({', '.join(args)})")
        elif into is not None:
            op, names = into
            args += [f"{name}={self._text(t)}" for name, t in zip(names, call.results, strict=True)]
            self.lines.append(f"{self._function(op)}({', '.join(args)})")
        else:
            self.lines.append(f"{self._variables(call)} = {self._function(call.op)}({', '.join(args)})")

    def _variables(self, call: RecordedCall) -> str:
        """Return the names of the variables for results in new memory."""
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
        direct = name in DIRECT_OPS and overload in {"out", "IntList_out", "dim_IntList"}
        return self._constant(
            getattr(torch, name) if direct else attribute(op, "_op"), f"{name}_{overload}".rstrip("_")
        )

    def _text(self, value: Any) -> str:
        """Return the source of an argument."""
        if isinstance(value, Tensor):
            return self._tensor(self.filter.resolve(value))
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
        if tensor.is_mkldnn:
            raise UntraceableError("it reads an image in oneDNN's layout as one of another shape")
        if tensor.dtype != whole.dtype:
            raise UntraceableError("it reads the bits of one type as another")
        offset = tensor.storage_offset() - whole.storage_offset()
        begin = f"{name}.storage_offset() + {offset}" if name in self.inputs else tensor.storage_offset()
        return f"as_strided({name}, {tuple(tensor.size())}, {tuple(tensor.stride())}, {begin})"

    def _constant(self, value: Any, name: str, key: Any = None) -> str:
        key = id(value) if key is None else key
        if key not in self.known:
            self.known[key] = f"{name}_{len(self.known)}"
            self.names[self.known[key]] = value
        return self.known[key]

    def function(self, inputs: Values, outputs: list[Tensor | None]) -> Callable[..., tuple[Any, ...]]:
        """Compile the lines to a function of `inputs` that returns `outputs` as a tuple."""
        returned = "".join(f"{self._text(t)}, " for t in outputs)
        body = "".join(f"        {line}\n" for line in freeing([*self.lines, f"return ({returned})"]))
        text = f"def flat({', '.join(inputs)}):\n    with below:\n{body}"
        # source and exec, not a loop over partials: a step of a small network has a hundred calls, and the loop
        # around them would cost as much as some of their kernels
        exec(compile(text, "<flat step>", "exec"), self.names)  # noqa: S102
        flat: Callable[..., tuple[Any, ...]] = self.names["flat"]
        return flat


def freeing(lines: list[str]) -> list[str]:
    """Return lines of a function that free each variable behind its last use, as autograd does."""
    last = {name: i for i, line in enumerate(lines) for name in re.findall(r"\bv_\d+\b", line)}
    ended: dict[int, list[str]] = {}
    for name, i in last.items():
        ended.setdefault(i, []).append(name)
    return [line + (f"; del {', '.join(ended[i])}" if i in ended else "") for i, line in enumerate(lines)]


def simplified(call: RecordedCall) -> RecordedCall:
    """Return an equal call whose operation can write into existing memory, or is faster."""
    if _is_opaque(call):
        return call
    if call.name == "relu":
        # the same bits, NaN and -0.0 included, and unlike `relu.out` (torch 2.13) it has a kernel of its own on the
        # CPU
        return RecordedCall(torch.ops.aten.clamp_min.default, (*call.args, 0), {}, call.result)
    if call.name == "index" and len(call.args[1]) == 1 and call.args[1][0].dim() == 1:
        return RecordedCall(torch.ops.aten.index_select.default, (call.args[0], 0, call.args[1][0]), {}, call.result)
    if call.name == "embedding" and call.args[1].is_contiguous():
        table, index = call.args[:2]
        rows = call.result.view(-1, table.shape[1])
        return RecordedCall(torch.ops.aten.index_select.default, (table, 0, index.view(-1)), {}, rows)
    return call


def _gives_nothing(call: RecordedCall) -> bool:
    """Whether a call gives an empty list, as `unbind` of no steps does; a check gives nothing by its schema too."""
    return not call.results and not call.mutated and bool(schema_of(call.op).returns)


def _out_variant_of(call: RecordedCall) -> tuple[Any, list[str]] | None:
    """Return the overload that a call can write into existing memory by, and the names of its outputs; else None."""
    if not all(isinstance(value, Tensor) for value in _items(call.result)):
        return None
    return out_variant(call.op, call.results[0].device.type.upper())


@cache
def out_variant(op: Any, device: str) -> tuple[Any, list[str]] | None:
    """Return the overload that writes into existing memory, with the names of its outputs; None without one."""
    own = schema_of(op)
    if own.name.endswith(("_loss", "binary_cross_entropy")):
        # their `out` variants resize the output to hold the losses of all elements before they reduce into it, and
        # the memory of the recording is that of the mean
        return None
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
    """Whether an overload has a kernel for the device; others compute in new memory and copy into the output."""
    has: bool = private("torch._C._dispatch_has_kernel_for_dispatch_key")(op.name(), device)
    return has


def _is_alias(call: RecordedCall) -> bool:
    """Whether a call only returns views of its inputs."""
    if schema_of(call.op).is_mutable or not call.results:
        return False
    inputs = {storage(t) for t in call.inputs}
    shared = [storage(t) in inputs for t in call.results]
    if any(shared) and not all(shared):
        raise UntraceableError(f"it gives what it was given, and more ({call.name})")
    return all(shared)


def _is_opaque(call: RecordedCall) -> bool:
    """Whether a call takes or gives tensors in oneDNN's layout."""
    return any(t.is_mkldnn for t in (*call.inputs, *call.results))


def geometry(tensor: Tensor) -> tuple[Any, ...]:
    if tensor.is_mkldnn:
        return tuple(tensor.size()), tensor.layout, tensor.dtype
    return tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset(), tensor.dtype


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _tensors(value: Any) -> list[Tensor]:
    """Return all tensors in arguments or results, nested ones too."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        if isinstance(item, Tensor):  # without a call for each: a step has thousands of arguments
            found.append(item)
        elif isinstance(item, dict | list | tuple):
            found += _tensors(item)
    return found


def generators(calls: list[RecordedCall]) -> list[torch.Generator]:
    """Return the generators in arguments of the calls; torch's default generator is never an argument."""
    values = [value for call in calls for value in (*call.args, *call.kwargs.values())]
    return list({id(g): g for g in values if isinstance(g, torch.Generator)}.values())
