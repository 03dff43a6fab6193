"""Operations on memory that stays where it is, as one function that runs without Python.

TorchScript runs it: many steps are one call, between two of which nobody waits for Python's lock, so that threads
beside each other compute at once. What it cannot say is done one by one, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import isfinite
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from ...utils.torch_private import attribute, private, schema_of


@dataclass(frozen=True)
class Do:
    """One operation with all it is given. `into` is where its results are copied to; None leaves one where it is."""

    op: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    into: tuple[Tensor | None, ...] = ()

    def call(self) -> Callable[[], Any]:
        """The same as a function."""
        run = partial(attribute(self.op, "_op"), *self.args, **self.kwargs)
        return partial(_copied, run, self.into) if self.into else run


def do(op: Any, *args: Any, **kwargs: Any) -> Do:
    return Do(op, args, kwargs)


def copy(to: Tensor | Word, what: Tensor | Word) -> Do:
    return Do(torch.ops.aten.copy_.default, (to, what))


def _copied(run: Callable[[], Any], into: Sequence[Tensor | None]) -> None:
    given = run()
    for place, value in zip(into, given if isinstance(given, tuple | list) else (given,), strict=True):
        if place is not None:
            place.copy_(value)


@dataclass(frozen=True)
class Word:
    """A value that the function is given when it runs, by its name there."""

    text: str


class NoWordsError(Exception):
    """TorchScript has no words for what an operation is given."""


COMPILING = Lock()


def _compiled(source: str) -> Callable[..., Any]:
    with COMPILING:
        return _once(source)


@lru_cache(32)
def _once(source: str) -> Callable[..., Any]:
    """A function of TorchScript (MissingNameError); lanes, and the next rungs of a search, often want the same."""
    run: Callable[..., Any] = private("torch.jit.CompilationUnit")(source).run
    return run


class Script:
    """Lines of one function, and the tensors that they speak of."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.groups: list[list[Tensor]] = []
        """Lists of tensors. What only changes the items of a list that the function makes, TorchScript leaves out."""
        self.places: dict[int, int] = {}
        self.lines: list[str] = []

    def add(self, one: Do, indent: str = "") -> None:
        """One operation. NoWordsError."""
        if one.op.namespace != "aten":
            raise NoWordsError(one.op.name())
        kinds = {a.name: str(a.type) for a in schema_of(one.op).arguments}
        args = [self.text(_as(kind, value)) for kind, value in zip(kinds.values(), one.args, strict=False)]
        args += [f"{name}={self.text(_as(kinds[name], value))}" for name, value in one.kwargs.items()]
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
        """A value as TorchScript says it. NoWordsError."""
        if isinstance(value, Tensor):
            if id(value) not in self.places:
                self.places[id(value)] = len(self.tensors)
                self.tensors.append(value)
            return f"t{self.places[id(value)]}"
        if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            self.groups.append(list(value))
            return f"g{len(self.groups) - 1}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self.text, value))}]"  # an empty one is taken for one of tensors
        if isinstance(value, Word):
            return value.text
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value) if not isinstance(value, float) or isfinite(value) else f'float("{value}")'
        if not isinstance(value, torch.dtype) or value not in DTYPES:
            raise NoWordsError(type(value).__name__)
        return str(DTYPES[value])

    def memory(self) -> list[Tensor]:
        """All memory that the lines speak of, each once, as bytes."""
        every = [*self.tensors, *(tensor for group in self.groups for tensor in group)]
        held = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage() for tensor in every}
        return [torch.empty(0, dtype=torch.uint8, device=one.device).set_(one) for one in held.values()]

    def function(self, arguments: str) -> Callable[..., Any]:
        """The lines as a function of all tensors and `arguments`. RuntimeError where TorchScript does not take it."""
        unpacked = "".join(f"    t{i} = tensors[{i}]\n" for i in range(len(self.tensors)))
        unpacked += "".join(f"    g{i} = groups[{i}]\n" for i in range(len(self.groups)))
        body = "".join(f"    {line}\n" for line in self.lines)
        head = f"def run(tensors: List[Tensor], groups: List[List[Tensor]], {arguments}) -> int:"
        source = f"{head}\n{unpacked}{body}    return 0\n"
        return partial(_compiled(source), _plain(self.tensors), [_plain(group) for group in self.groups])


def _plain(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same memory, of which no gradient is wanted."""
    return [tensor.detach() for tensor in tensors]


def _as(kind: str, value: Any) -> Any:
    """torch takes a whole number for a float, TorchScript does not."""
    return float(value) if kind == "float" and isinstance(value, int) else value


DTYPES = {
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
"""torch's numbers for the types, which TorchScript takes in their place."""
