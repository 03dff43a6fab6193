"""Operations on fixed memory as one function of TorchScript, which runs without Python.

Many steps are then one call that holds Python's lock at no time, so that several threads compute at once. Operations
that TorchScript cannot express are run one by one instead, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import isfinite
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import attribute, private, schema_of


@dataclass(frozen=True)
class Operation:
    """Operation with its arguments. Its results are copied to `into`, one each; None there leaves a result alone."""

    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    into: tuple[Tensor | None, ...] = ()

    def call(self) -> Callable[[], Any]:
        """Return the operation as a function without arguments."""
        run = partial(attribute(self.op, "_op"), *self.args, **self.kwargs)
        return partial(_copied, run, self.into) if self.into else run


def operation(op: Any, *args: Any, **kwargs: Any) -> Operation:
    return Operation(op, args, kwargs)


def copy(to: Tensor | Variable, what: Tensor | Variable) -> Operation:
    return Operation(torch.ops.aten.copy_.default, (to, what))


def _copied(run: Callable[[], Any], into: Sequence[Tensor | None]) -> None:
    results = run()
    for place, value in zip(into, results if isinstance(results, tuple | list) else (results,), strict=True):
        if place is not None:
            place.copy_(value)


@dataclass(frozen=True)
class Variable:
    """Argument of the function, by its source text, such as `losses[k]`."""

    text: str


class UnscriptableError(Exception):
    """TorchScript cannot express an operation or an argument of it."""


COMPILE_LOCK = Lock()


def _compiled(source: str) -> Callable[..., Any]:
    # lru_cache alone would let two threads compile one source at the same time
    with COMPILE_LOCK:
        return _once(source)


@lru_cache(32)
def _once(source: str) -> Callable[..., Any]:
    """Compile a function. MissingNameError. Threads, and the next rungs of a search, often need the same source."""
    run: Callable[..., Any] = private("torch.jit.CompilationUnit")(source).run
    return run


def _as_written(run: Callable[..., Any], *args: Any) -> Any:
    """Call a function of TorchScript without letting it profile and rewrite it.

    That takes its first two calls as long as twenty steps, and calls of kernels on fixed memory gain nothing by it.
    """
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # of this thread alone
        return run(*args)


class Script:
    """Source of one function, line by line, and the tensors that it uses."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.groups: list[list[Tensor]] = []
        """Lists of tensors. They are arguments: TorchScript removes calls that only write to the items of a list that
        the function itself makes, as if nobody saw the result."""
        self.generators: list[torch.Generator] = []
        """Random generators that operations draw from."""
        self.tensor_indices: dict[int, int] = {}
        self.lines: list[str] = []

    def add(self, one: Operation, indent: str = "") -> None:
        """Add the line of an operation. UnscriptableError."""
        if one.op.namespace != "aten":
            raise UnscriptableError(one.op.name())
        kinds = {a.name: str(a.type) for a in schema_of(one.op).arguments}
        args = [self.text(_converted(kind, value)) for kind, value in zip(kinds.values(), one.args, strict=False)]
        args += [f"{name}={self.text(_converted(kinds[name], value))}" for name, value in one.kwargs.items()]
        call = f"torch.ops.aten.{schema_of(one.op).name.removeprefix('aten::')}({', '.join(args)})"
        if not one.into:
            self.lines.append(indent + call)
            return
        names = [f"r{i}" for i in range(len(one.into))]
        self.lines.append(f"{indent}{', '.join(names)} = {call}")
        for name, place in zip(names, one.into, strict=True):
            if place is not None:
                self.lines.append(f"{indent}torch.ops.aten.copy_({self.text(place)}, {name})")

    def text(self, value: Any) -> str:
        """Return the source text of a value. UnscriptableError."""
        if isinstance(value, Tensor):
            if id(value) not in self.tensor_indices:
                self.tensor_indices[id(value)] = len(self.tensors)
                self.tensors.append(value)
            return f"t{self.tensor_indices[id(value)]}"
        if isinstance(value, list | tuple):
            return self._list(value)
        if isinstance(value, Variable):
            return value.text
        if isinstance(value, torch.Generator):
            return self._generator(value)
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value) if not isinstance(value, float) or isfinite(value) else f'float("{value}")'
        if not isinstance(value, torch.dtype) or value not in DTYPE_CODES:
            raise UnscriptableError(type(value).__name__)
        return str(DTYPE_CODES[value])

    def _list(self, values: Sequence[Any]) -> str:
        if values and isinstance(values[0], Tensor):
            self.groups.append(list(values))
            return f"g{len(self.groups) - 1}"
        return f"[{', '.join(map(self.text, values))}]"  # an empty one has the type List[Tensor]

    def _generator(self, generator: torch.Generator) -> str:
        known = [id(one) for one in self.generators]
        if id(generator) not in known:
            self.generators.append(generator)
            known.append(id(generator))
        return f"q{known.index(id(generator))}"

    def memory(self, only_read: Iterable[Tensor] = ()) -> list[Tensor]:
        """Return all memory that the function uses, each storage once, as tensors of integers; that of tensors that
        are `only_read` is left out. Schemas do not tell those: batch norm writes to what its own calls an input.
        """
        every = [*self.tensors, *(tensor for group in self.groups for tensor in group)]
        held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in every}
        for tensor in only_read:
            held.pop(tensor.untyped_storage().data_ptr(), None)
        # whole numbers are compared bit by bit, and those of eight bytes four times as fast as bytes
        types = [torch.int64 if one.nbytes() % 8 == 0 else torch.uint8 for one in held.values()]
        whole = zip(held.values(), types, strict=True)
        return [torch.empty(0, dtype=dtype, device=one.device).set_(one) for one, dtype in whole]

    def function(self, arguments: str) -> Callable[..., Any]:
        """Compile the lines to a function of `arguments`. RuntimeError where TorchScript does not accept them."""
        # tensors are arguments and not attributes: the source, and with it the cache, is then the same for equal
        # networks
        unpacked = "".join(f"    t{i} = tensors[{i}]\n" for i in range(len(self.tensors)))
        unpacked += "".join(f"    g{i} = groups[{i}]\n" for i in range(len(self.groups)))
        unpacked += "".join(f"    q{i} = generators[{i}]\n" for i in range(len(self.generators)))
        body = "".join(f"    {line}\n" for line in self.lines)
        parameter = "generators: List[Generator], " if self.generators else ""
        head = f"def run(tensors: List[Tensor], groups: List[List[Tensor]], {parameter}{arguments}) -> int:"
        source = f"{head}\n{unpacked}{body}    return 0\n"
        bound = [_detached(self.tensors), [_detached(group) for group in self.groups]]
        return partial(_as_written, _compiled(source), *bound, *([self.generators] if self.generators else []))


def _detached(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return the tensors without gradients, on the same memory."""
    return [tensor.detach() for tensor in tensors]


def _converted(kind: str, value: Any) -> Any:
    """Return a value in the type of its parameter: TorchScript does not convert an int to a float as torch does."""
    return float(value) if kind == "float" and isinstance(value, int) else value


DTYPE_CODES = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
}
"""Numbers of torch's types (c10::ScalarType), which TorchScript takes in their place."""
