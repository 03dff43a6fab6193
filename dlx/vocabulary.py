"""What a spec can say, told from the classes themselves: `dlx layers`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .errors import DlxError, did_you_mean
from .layers import LAYERS, Layer


@dataclass(frozen=True)
class Page:
    """One layer in full: its text, its fields with types and defaults, and its worked example."""

    kind: str
    text: str
    fields: tuple[tuple[str, str, str, str], ...]
    """Name, type, default ("required" where there is none), description."""
    example: str
    numbers: str


def families() -> dict[str, list[tuple[str, str, str]]]:
    """Layers by the file that defines them: kind, fields with `?` where optional, first sentence."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for kind in LAYERS:
        cls = LAYERS[kind]
        fields = ", ".join(name + ("" if info.is_required() else "?") for name, info in cls.model_fields.items())
        found.setdefault(cls.__module__.rsplit(".", 1)[-1], []).append((kind, fields, cls.summary()))
    return found


def page(kind: str) -> Page:
    """All about one kind. DlxError where there is no such layer."""
    if kind not in LAYERS:
        raise DlxError(f"there is no layer `{kind}`", hint=did_you_mean(kind, LAYERS))
    cls = LAYERS[kind]
    fields = tuple(
        (name, _type(info.annotation), _default(info), info.description or "")
        for name, info in cls.model_fields.items()
    )
    return Page(kind, inspect.cleandoc(cls.__doc__ or ""), fields, _example(cls), _numbers(cls))


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
    return (
        "null"
        if info.default is None
        else str(info.default).lower()
        if isinstance(info.default, bool)
        else str(info.default)
    )


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
