"""The vocabulary of specs, read from the classes: pages for `dlx layers`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ..errors import DlxError, did_you_mean
from ..layers import LAYERS, Layer
from ..plugins import place_of
from ..registry import FAMILIES, Choice, Declared, KindFactory, Registry, Strict


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
      index: i                        # another name for the counter
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
      tie: encoder                    # a linear layer on the weight of another (transposed) or an embedding""",
    "expressions": """Arithmetic, anywhere a value stands: `${4 * width}`, `${max(1, x.channels // 16)}`.

    Names: `vars`, arguments of the block, counters; `x.channels`, `x.size[0]`, `x.rank` of the shape that comes in;
    the same of any node above by its name: `${stem.size[0]}`.
    Operators: + - * / // % **, comparisons, and, or, not, `a if c else b`. Functions: min, max, round, ceil, floor,
    abs, len, sqrt, exp, log, log2, log10. Constants: pi, true, false.
    Inside {...} and [...] YAML wants them in quotes: {width: "${w}"}.""",
    "expect": """What must come out: claims with their sources, which `dlx verify`, `inspect` and `train` check.

    expect:
      params: 2050                                       # a figure, of the whole network
      shape: {conv_1: [15, 19], conv_2: [15, 9]}         # by node or scope
      macs: {about: 4.1e9, within: 0.05e9, source: table 1}
      depth: {at_least: 20}                              # or at_most
      units: {flatten_1: {book: 43_264, is: 9_216, because: the last pool is left out}}   # where a book is wrong
      receptive_field: [15, {conv_1: 3, source: 10.2}]   # several claims of one quantity
      output: {at: [0.5], is: [0.265], within: 1e-6}     # for weights given with `values`; `of: node` looks inside
      loss: {at: [1, 2], target: [5], is: 1}             # what training makes small; `mode: train` for batch norms
      gradient: {at: [1, 2], target: [5], by: linear_1/weight, is: [[6, 0]]}    # or `of: node`; `by` an input, a node
      weights_after: {steps: 1, at: [[1, 2]], target: [[5]], of: linear_1/bias, is: -0.02}      # by its own `train`
      figures:
        parameters per output: {of: "${params / linear_1.units}", is: 205}
        epochs: {of: "${train.steps * train.batch_size / data.train}", is: 2500}
      arithmetic:                                        # of numbers and `vars` alone; no receipt, counted apart
        digits of 2^4096: {of: "${4096 * log10(2)}", about: 1233, within: 0.5}
      test/error: {about: 0.17, within: 0.05}            # after a training
      analysis/scale/growth_per_layer: {about: 1, within: 0.1}    # a figure of `analyses: {scale: activation_scale}`
    recorded:                                            # of one's own trainings: `dlx verify --recorded`
      test/error: {about: 0.063, within: 0.002, source: results/ladder.md}
    Quantities: params, trainable, remaining, buffers, weights, biases, macs, activation_bytes; shape, arriving,
    units; receptive_field, receptive_field_stride, receptive_field_start; depth (weight layers on the longest way),
    paths, count: {KIND: N}, linear_regions_bound (the most of one hidden ReLU layer).
    A figure names these quantities, and those of any node or scope, `${stage_1.conv_1.params}`; `${count.conv}`;
    fields of layers, `${dropout_1.p}`; settings of `train`, `data` and `objective`, `${train.optimizer.sgd.lr}`;
    and `vars` beside those.
    What another spec claims does not come along through `defaults`.""",
}
"""Pages of what lists of layers can have besides layers."""

LISTED: dict[str, Registry[Any]] = {one.at: one for one in FAMILIES.values() if one is not LAYERS}
"""All families but layers, by the key of a spec that names one."""
FIRST = ("linear", "conv", "pool", "resample", "pad", "norm", "activation", "dropout", "merge", "reshape", "slice")
"""Families that are listed first; the others follow by name."""


def families(*, shipped: bool = False) -> dict[str, list[tuple[str, str, str]]]:
    """Return all kinds by family: kind, fields with `?` where optional, first sentence.

    With `shipped`, kinds of other packages are left out.
    """
    found: dict[str, list[tuple[str, str, str]]] = {}
    for kind in _kinds(LAYERS, shipped):
        cls = LAYERS[kind]
        own = kind in LAYERS.from_plugins
        family = Path(place_of(cls).file).name if own else cls.__module__.rsplit(".", 1)[-1].split("_")[0]
        found.setdefault(f"layers: {family}", []).append(_line(cls))
    order = {f"layers: {name}": place for place, name in enumerate(FIRST)}
    found = dict(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))
    found["structure"] = [(name, "", text.split("\n", maxsplit=1)[0]) for name, text in STRUCTURES.items()]
    return found | {
        name: [_line(registry[kind]) for kind in _kinds(registry, shipped)] for name, registry in LISTED.items()
    }


def _kinds(registry: Registry[Any], shipped: bool) -> list[str]:
    return [kind for kind in registry if not shipped or registry[kind].__module__.startswith("dlx.")]


def _line(cls: type[Declared]) -> tuple[str, str, str]:
    fields = ", ".join(name + ("" if info.is_required() else "?") for name, info in _fields(cls))
    return cls.kind, fields, cls.summary()


def _fields(cls: type[Declared]) -> list[tuple[str, FieldInfo]]:
    """Return the fields of a kind, the one that a bare value sets first."""
    return sorted(cls.model_fields.items(), key=lambda item: item[0] != cls.first_field())


def page(kind: str, also: Iterable[str] = ()) -> Page:
    """Return the page of a kind, or of one of a family as `train.augment.crop`. DlxError where there is none.

    `also` are other names that may have been meant.
    """
    if kind in STRUCTURES:
        return Page(kind, STRUCTURES[kind])
    family, _, name = kind.rpartition(".")
    if name in LISTED.get(family, ()):
        return _page(LISTED[family][name])
    for registry in FAMILIES.values():
        if kind in registry:
            return _page(registry[kind])
    known = [name for registry in FAMILIES.values() for name in registry]
    raise DlxError(f"there is no `{kind}`", hint=did_you_mean(kind, [*also, *known, *STRUCTURES]))


def field_row(cls: type[Strict], name: str) -> tuple[str, str, str, str]:
    """Return the name, type, default and description of a field."""
    info = cls.model_fields[name]
    return name, _type_of(cls, name), _default(info), info.description or ""


def _page(cls: type[Declared]) -> Page:
    fields = tuple(field_row(cls, name) for name, _ in _fields(cls))
    text = inspect.cleandoc(cls.__doc__ or "")
    if issubclass(cls, Layer) and hasattr(cls, "example"):  # one from elsewhere may have none
        return Page(cls.kind, text, fields, _example(cls), _numbers(cls))
    source, command = getattr(cls, "source", ""), getattr(cls, "example", "")
    if source and "\nSource:" not in text:
        text += f"\n\nSource: {source}"
    return Page(cls.kind, f"{text}\nExample: `{command}`" if isinstance(command, str) and command else text, fields)


def as_json(one: Page | None = None) -> dict[str, Any]:
    """Return the JSON document of all layers, or of one page."""
    pages = [page(kind) for kind in LAYERS] if one is None else [one]
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


def _type_of(cls: type[Strict], name: str) -> str:
    """Describe the type of a field; of a choice by kind, its family."""
    info = cls.model_fields[name]
    nouns = [extra.registry.noun for extra in info.metadata if isinstance(extra, Choice)]
    if not nouns:
        return type_text(info.annotation)
    several: dict[Any, str] = {list: f"list of {nouns[0]}s", dict: f"{nouns[0]} by name"}
    return several.get(get_origin(info.annotation), nouns[0])


def type_text(annotation: Any) -> str:
    """Describe a type as specs have it: `int | list`, `"same" | "valid"`, `null`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(inner[0])
    if origin is Literal:
        return " | ".join(f'"{value}"' for value in inner)
    if origin in {Union, UnionType}:
        return " | ".join(dict.fromkeys(type_text(part) for part in inner))
    if annotation in {None, type(None)}:
        return "null"
    return getattr(origin or annotation, "__name__", str(annotation))


def _default(info: FieldInfo) -> str:
    if isinstance(info.default_factory, KindFactory):
        return info.default_factory.kind
    if info.is_required() or info.default is PydanticUndefined:
        return "required"
    return _plain(info.default)


def _example(cls: type[Layer]) -> str:
    """Write the worked example as a line of a spec."""
    options = dict(cls.example.options)
    if not options:
        return f"- {cls.kind}"
    if list(options) == [cls.first_field()] and not isinstance(next(iter(options.values())), dict):
        return f"- {cls.kind}: {_plain(next(iter(options.values())))}"
    return f"- {cls.kind}: {{{', '.join(f'{k}: {_plain(v)}' for k, v in options.items())}}}"


def _plain(value: Any) -> str:
    """Write a value in YAML's flow style."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_plain(v)}' for key, v in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, Declared):
        return value.kind
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _numbers(cls: type[Layer]) -> str:
    e = cls.example
    inputs = " and ".join(str(tuple(x)) for x in e.inputs)
    return f"{inputs} -> {e.shape}: {e.params:,} parameters, {e.macs:,} MACs"
