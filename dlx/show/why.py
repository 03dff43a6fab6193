"""The output of `dlx why`: a value and its origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import Mark, plural
from ..spec.syntax.read import BROKEN
from ..spec.validation import shown
from ..spec.why import ValueOrigin, WrittenValue
from .console import TextTable, document, out


def origin(found: ValueOrigin, as_json: bool = False) -> None:
    """Print the origin of a value; of a section, those of all its values."""
    if as_json:
        document(found.as_json())
        return
    if found.parts and not found.kind:
        out(f"{found.key or 'the spec'} holds {plural(len(found.parts), 'value')}", "bold cyan")
    else:
        out(f"{found.key} = {found.kind or _value(found)}", "bold cyan")
    facts = list(_facts(found))
    if facts:
        grid = TextTable(columns=2, styles=["bold"])
        for name, text in facts:
            grid.add(f"  {name}", text)
        grid.print()
    if found.parts:
        grid = TextTable("key", "value", "from", styles=["cyan"])
        for part in found.parts:
            grid.add(part.key.removeprefix(f"{found.key}."), _value(part) + _written(part), _from(part))
        grid.print()


def _facts(found: ValueOrigin) -> list[tuple[str, str]]:
    """Return the history of a value as pairs of a label and a text."""
    facts = [("from", _from(found))] if found.kind or not found.parts else []
    if found.expression and not found.parts:
        facts.append(("written", found.expression))
    facts += [("where", f"{one.key} = {shown(one.value)}, from {_place(one.mark)}") for one in found.uses]
    facts += [("replaced", _earlier(one, found.key)) for one in found.replaced]
    if found.dropped:
        facts.append(
            ("dropped", f"{shown(found.dropped.value)} from {_place(found.dropped.mark)}, by `{found.dropped.key}`")
        )
    if found.type:
        facts.append(("type", found.type))
    if found.about:
        facts.append(("is", found.about))
    return facts


def _earlier(one: WrittenValue, key: str) -> str:
    text = f"{shown(one.value)} from {_place(one.mark)}"
    return text if one.key == key else f"`{one.key}` as a whole, which had no such key: {text}"


def _from(found: ValueOrigin) -> str:
    if found.default_of:
        default = f"the default of {_named(found.default_of)}"
        return f"{default}, {_place(found.mark)}" if found.mark else default
    return _place(found.mark) if found.mark else ""


def _place(mark: Mark) -> str:
    """Write a mark, its file relative to the working directory where it is below."""
    here = f"{Path.cwd()}/"
    return str(Mark(mark.file.removeprefix(here), mark.line, mark.column))


def _named(owner: str) -> str:
    return f"`{owner}`" if " " not in owner else owner


def _written(found: ValueOrigin) -> str:
    return f" = {found.expression}" if found.expression and found.value is not BROKEN else ""


def _value(found: ValueOrigin) -> str:
    value: Any = found.value
    if value is BROKEN:
        return f"{found.expression or 'an expression'}, which depends on where it runs"
    return "null" if value is None else shown(value)
