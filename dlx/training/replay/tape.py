"""Record the tensor operations of one step, and find those that have to run again.

Below the autograd engine a step is a list of operations on tensors: forward, backward, clipping. `record` runs a
function once and records that list; `CallFilter` leaves out whatever only describes or copies memory: views,
transposes of weights, copies of gradients, constants. `flat_step` makes a function of the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import private, schema_of, storage
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


CONSTANT_OPS = {"ones_like", "zeros_like", "full_like", "ones", "zeros", "full", "arange", "scalar_tensor"}
CONSTANT_OPS |= {"new_zeros", "new_ones", "new_full", "lift_fresh_copy"}
"""Operations with the same result each time: it is computed once, unless something writes to it later."""
EMPTY_OPS = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
"""Operations that only allocate: their memory is that of the recording."""


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
        if call.name == "copy_" and not is_opaque(call) and self._is_redundant_copy(index, call):
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


def simplified(call: RecordedCall) -> RecordedCall:
    """Return an equal call whose operation can write into existing memory, or is faster."""
    if is_opaque(call):
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


def is_opaque(call: RecordedCall) -> bool:
    """Whether a call takes or gives tensors in oneDNN's layout."""
    return any(t.is_mkldnn for t in (*call.inputs, *call.results))


def geometry(tensor: Tensor) -> tuple[Any, ...]:
    if tensor.is_mkldnn:
        return tuple(tensor.size()), tensor.layout, tensor.dtype
    return tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset(), tensor.dtype


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
