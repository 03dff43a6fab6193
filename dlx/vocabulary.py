"""What a spec can say, told from the classes themselves: `dlx layers`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .data import DATASETS
from .errors import DlxError, did_you_mean
from .init import INITIALIZERS
from .layers import LAYERS, Layer
from .losses import LOSSES
from .objectives import OBJECTIVES
from .optim import OPTIMIZERS
from .registry import Declared, Registry
from .schedules import SCHEDULES


@dataclass(frozen=True)
class Page:
    """One kind in full: its text, its fields with types and defaults, and its worked example."""

    kind: str
    text: str
    fields: tuple[tuple[str, str, str, str], ...] = ()
    """Name, type, default ("required" where there is none), description."""
    example: str = ""
    numbers: str = ""


STRUCTURES = {
    "residual": """Add what a list of layers makes to what came in.

    - residual:
        layers: [...]                 # the way through
        shortcut: [...]               # what is done to the other way; nothing, if left out
        merge: add                    # or concat, multiply, or any layer of several inputs; what came in stands first
        after: relu                   # run on the sum
    Where the layers change the channels or the size, the shortcut has to do so too.""",
    "parallel": """Run several lists of layers side by side on what came in, and join their ends.

    - parallel:
        branches: [[...], [...], []]  # an empty one hands its input on
        merge: concat                 # or add, multiply
        after: relu""",
    "repeat": """Run a list of layers several times; `${i}` counts from 0.

    - repeat:
        times: 3
        layers: [...]
        index: i                      # another name for the counter, where repeats are nested""",
    "for": """Walk lists in step; each name is a variable, and `${i}` counts from 0. `layers` stands beside it.

    - for: {width: [64, 128], depth: [2, 3]}
      layers:
        - conv: {out_channels: "${width}", kernel_size: 3}""",
    "share": """Run the weights of an earlier node, or of a named block, once more; they are counted once.

    - share: stem""",
    "layers": """A list of layers as one entry: to name it, or to have it `when` something is so.

    - layers: [...]
      name: stage_1""",
    "blocks": """Your own kinds of entries: a list of layers with arguments, defined at the top of the spec.

    blocks:
      bottleneck:
        args: {width: null, stride: 1}          # null: must be given
        layers:
          - conv: {out_channels: "${width}", kernel_size: 1, stride: "${stride}"}
    network:
      layers:
        - bottleneck: {width: 64}
    Blocks may use blocks, themselves too, as long as a `when` ends it.""",
    "beside": """What may stand beside the kind of an entry.

    - conv: {out_channels: 8, kernel_size: 3}
      name: stem                      # what other nodes call it; else conv_1, conv_2, ...
      from: input                     # the nodes it takes; else the one above. A list for add, concat, multiply
      when: ${x.channels != 8}        # leave it out where this is false
      values: {bias: 0}               # weights by hand
      tie: encoder                    # a linear layer on the transposed weight of another one""",
    "expressions": """Arithmetic, anywhere a value stands: `${4 * width}`, `${max(1, x.channels // 16)}`.

    Names: `vars`, arguments of the block, counters; `x.channels`, `x.size[0]`, `x.rank` of the shape that comes in.
    + - * / // % **, comparisons, and, or, not, `a if c else b`; min, max, round, ceil, floor, abs, len.
    Inside {...} and [...] YAML wants them in quotes: {width: "${w}"}.""",
}
"""What a list of layers can hold beside layers, in words."""

FAMILIES: dict[str, Registry[Any]] = {
    "data": DATASETS,
    "objective": OBJECTIVES,
    "loss": LOSSES,
    "init": INITIALIZERS,
    "train.optimizer": OPTIMIZERS,
    "train.schedule": SCHEDULES,
}
FIRST = ("linear", "conv", "pool", "pool_to_size", "norm", "activation")
"""Layers that a reader looks for first; the other files follow by name."""


def families() -> dict[str, list[tuple[str, str, str]]]:
    """Everything by where it belongs: kind, fields with `?` where optional, first sentence."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for kind in LAYERS:
        file = LAYERS[kind].__module__.rsplit(".", 1)[-1]
        found.setdefault(f"layers: {file}", []).append(_line(LAYERS[kind]))
    order = {f"layers: {name}": place for place, name in enumerate(FIRST)}
    found = dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    found["structure"] = [(name, "", text.split("\n", maxsplit=1)[0]) for name, text in STRUCTURES.items()]
    return found | {name: [_line(registry[kind]) for kind in registry] for name, registry in FAMILIES.items()}


def _line(cls: type[Declared]) -> tuple[str, str, str]:
    fields = ", ".join(name + ("" if info.is_required() else "?") for name, info in cls.model_fields.items())
    return cls.kind, fields, cls.summary()


def page(kind: str) -> Page:
    """All about one kind. DlxError where there is none."""
    if kind in STRUCTURES:
        return Page(kind, STRUCTURES[kind])
    for registry in (LAYERS, *FAMILIES.values()):
        if kind in registry:
            return _page(registry[kind])
    known = [name for registry in (LAYERS, *FAMILIES.values()) for name in registry]
    raise DlxError(f"there is no `{kind}`", hint=did_you_mean(kind, [*known, *STRUCTURES]))


def _page(cls: type[Declared]) -> Page:
    fields = tuple(
        (name, _type(info.annotation), _default(info), info.description or "")
        for name, info in cls.model_fields.items()
    )
    text = inspect.cleandoc(cls.__doc__ or "")
    return Page(cls.kind, text, fields, *((_example(cls), _numbers(cls)) if issubclass(cls, Layer) else ()))


def as_json(kind: str | None) -> dict[str, Any]:
    """The same for machines."""
    pages = [page(k) for k in ([kind] if kind else LAYERS)]
    return {
        "layers": [
            {
                "kind": p.kind,
                "doc": p.text,
                "fields": [dict(zip(("name", "type", "default", "description"), f, strict=True)) for f in p.fields],
                "example": p.example,
            }
            for p in pages
        ]
    }


def _type(annotation: Any) -> str:
    """How a type reads: `int | list`, `"same" | "valid"`, `null`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in inner)
    if origin in {Union, UnionType}:
        return " | ".join(dict.fromkeys(_type(part) for part in inner))
    if annotation in {None, type(None)}:
        return "null"
    return getattr(origin or annotation, "__name__", str(annotation))


def _default(info: FieldInfo) -> str:
    if info.is_required() or info.default is PydanticUndefined:
        return "required"
    return _plain(info.default)


def _example(cls: type[Layer]) -> str:
    """The worked example as a line of a spec."""
    options = dict(cls.example.options)
    if not options:
        return f"- {cls.kind}"
    if list(options) == [cls.first_field()] and not isinstance(next(iter(options.values())), dict):
        return f"- {cls.kind}: {_plain(next(iter(options.values())))}"
    return f"- {cls.kind}: {{{', '.join(f'{k}: {_plain(v)}' for k, v in options.items())}}}"


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _numbers(cls: type[Layer]) -> str:
    e = cls.example
    inputs = " and ".join(str(tuple(x)) for x in e.inputs)
    return f"{inputs} -> {e.shape}: {e.params:,} parameters, {e.macs:,} MACs"
