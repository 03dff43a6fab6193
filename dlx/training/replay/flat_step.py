"""A recorded step as one flat Python function, without autograd.

Each operation writes its result into the memory that its result had when recorded (`out=`), where torch has such a
kernel: memory stays where it is. Same kernels, same operands, same order: the same bits.

Images in oneDNN's own layout have no strides, and their operations no such kernels: they are new in each run, and are
freed behind their last use.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import attribute, schema_of, storage
from ..fallback import UntraceableError
from .tape import BelowAutograd, CallFilter, RecordedCall, Values, geometry, is_opaque, out_variant, simplified

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
        if call.name == "clone" and not is_opaque(call):
            call = RecordedCall(torch.ops.aten.copy_.default, (call.result, call.args[0]), {}, call.result)
        args = [self._text(value) for value in call.args]
        args += [f"{name}={self._text(value)}" for name, value in call.kwargs.items()]
        if call.name == OPAQUE_POOL and call.args[0].requires_grad:
            args[0] += ".requires_grad_()"  # else the kernel leaves out what its backward pass needs
        changes = schema_of(call.op).is_mutable
        inputs = {storage(t) for t in call.inputs}
        into = None if changes or is_opaque(call) else _out_variant_of(call)
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


def _out_variant_of(call: RecordedCall) -> tuple[Any, list[str]] | None:
    """Return the overload that a call can write into existing memory by, and the names of its outputs; else None."""
    if not all(isinstance(value, Tensor) for value in _items(call.result)):
        return None
    return out_variant(call.op, call.results[0].device.type.upper())


def _items(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)
