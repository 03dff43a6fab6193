"""Hydra's override grammar by Hydra's own parser: texts to `Override` objects, and their values to plain ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from itertools import islice
from typing import Any

from ..utils.passwords import mask_and_remember
from .syntax.nodes import Underflow, float_of

SWEEP_IS_WHOLE_VALUE = "and a sweep is the whole value of a key"
MOST_JOINED = 12
"""Values of a choice that a hint writes out."""


QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
NUMBER = re.compile(r"(?<![\w.])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![\w.])")
_PART = r"(?:[A-Za-z_]\w*|0|[1-9]\d*)"
SIMPLE = re.compile(
    rf"(?P<sign>\+{{0,2}})(?P<key>[A-Za-z_]\w*(?:\.{_PART})*)="
    r"(?:(?P<int>-?(?:0|[1-9]\d{0,15}))|(?P<float>-?(?:0|[1-9]\d{0,15})(?:\.\d{1,17})?(?:[eE][+-]?\d{1,2})?)"
    r"|(?P<word>[A-Za-z_]\w*))",
    re.ASCII,
)
"""Overrides that set a key to a number or a word: most of them, and read as Hydra reads them, without its parser."""
_WORDS = {"true": True, "false": False, "null": None}
_READ: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "word": lambda text: _WORDS.get(text, text)}


class SimpleOverride:
    """An override that sets a key to one value, with what is asked of Hydra's `Override`."""

    package = None

    def __init__(self, key: str, sign: str, value: bool | float | str | None) -> None:
        self.key_or_group, self.sign, self._value = key, sign, value

    def value(self) -> bool | float | str | None:
        return self._value

    def is_add(self) -> bool:
        return self.sign == "+"

    def is_force_add(self) -> bool:
        return self.sign == "++"

    def is_delete(self) -> bool:
        return False

    def is_sweep_override(self) -> bool:
        return False


def simple(text: str) -> SimpleOverride | None:
    """Read an override that sets a key to a number or a word; None for any other, which Hydra's parser reads.

    Hydra and what it brings take as long to import as all of `dlx inspect`.
    """
    found = SIMPLE.fullmatch(text)
    if found is None or found.lastgroup is None or (found["word"] and _is_other_constant(found["word"])):
        return None
    return SimpleOverride(found["key"], found["sign"], _READ[found.lastgroup](found[found.lastgroup]))


def _is_other_constant(word: str) -> bool:
    """Whether a word in other letters is a constant to Hydra."""
    return word not in _WORDS and word.lower() in {*_WORDS, "inf", "nan"}


class DuplicateKeyError(Exception):
    """A mapping that has a key twice."""


@cache
def _reader() -> Any:
    """Build Hydra's parser, changed to take keys of mappings as text, as files do: `true` and `1e3` too.

    Cached: ANTLR's lexer and parser take a tenth of a second to import.
    """
    from hydra.core.override_parser.overrides_parser import create_functions
    from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
    from hydra.grammar.gen.OverrideLexer import (  # type: ignore[attr-defined]
        CommonTokenStream,
        InputStream,
        OverrideLexer,
    )
    from hydra.grammar.gen.OverrideParser import OverrideParser

    class Visitor(HydraOverrideVisitor):
        def visitDictKey(self, ctx: Any) -> Any:  # noqa: N802 - the name that the parser calls
            key = super().visitDictKey(ctx)
            return key if isinstance(plain(key), str) else ctx.getText().strip()

        def visitDictContainer(self, ctx: Any) -> Any:  # noqa: N802
            pairs = [self.visitDictKeyValuePair(ctx.getChild(i)) for i in range(1, ctx.getChildCount() - 1, 2)]
            # Hydra's own visitor lets the last of two equal keys win in silence.
            keys = [plain(key) for key, _ in pairs]
            for number, key in enumerate(keys):
                if key in keys[:number]:
                    raise DuplicateKeyError(key)
            return dict(pairs)

    functions, errors = create_functions(), HydraErrorListener()

    def read(text: str) -> Any:
        lexer = OverrideLexer(InputStream(text))
        parser = OverrideParser(CommonTokenStream(lexer))
        for part in (lexer, parser):
            # ANTLR's default listener prints to stderr; Hydra's raises.
            part.removeErrorListeners()
            part.addErrorListener(errors)
        found = Visitor(functions).visit(parser.override())  # type: ignore[no-untyped-call]
        found.validate()
        return found

    return read


def override(text: str) -> Any:
    """Parse one override. HydraException where the text is not in the grammar."""
    return _reader()(text)


def plain(value: Any) -> Any:
    """Convert Hydra's values to plain ones, with passwords of addresses masked."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {str(plain(k)): plain(v) for k, v in value.items()}
    value = getattr(value, "text", value)  # of a QuotedString
    return mask_and_remember(value) if isinstance(value, str) and "${" not in value else value


def underflow_in(text: str) -> Underflow | None:
    """Return the number of an override, outside of quotes, that underflows to 0; None where there is none."""
    numbers = (float_of(found) for found in NUMBER.findall(QUOTED.sub("", text.partition("=")[2])))
    return next((number for number in numbers if isinstance(number, Underflow)), None)


def sweep_inside(key: str, value: Any) -> tuple[str, str] | None:
    """Return message and hint about a sweep nested in the value of `key`; None where there is none."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, Sweep

    if isinstance(value, ChoiceSweep):
        inner = next((v for v in value.list if isinstance(v, Sweep | Glob)), None)
        if inner is not None:
            hint = f"Write one sweep: `{key}={_joined(value.list) or _text(inner)}`."
            return (
                f"`{_text(inner)}` stands among the values of `{key}`, and a sweep is the whole value of a key",
                hint,
            )
        return next((found for v in value.list if (found := sweep_inside(key, v))), None)
    items = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    for name, item in items:
        below = f"{key}.{plain(name)}"
        if isinstance(item, Sweep | Glob):
            hint = f"Write `{below}={_text(item)}` beside it, and one value in its place here."
            return (
                f"`{_text(item)}` stands inside the value of `{key}`, and a sweep is the whole value of a key",
                hint,
            )
        if found := sweep_inside(below, item):
            return found
    return None


def _joined(values: list[Any]) -> str:
    """Write values and sweeps as one `choice(...)`; empty where they cannot be, or are more than MOST_JOINED."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, RangeSweep, Sweep

    single: list[Any] = []
    for value in values:
        if isinstance(value, ChoiceSweep):
            single += value.list
        elif isinstance(value, RangeSweep):
            single += list(islice(value.range(), MOST_JOINED + 1))
        else:
            single.append(value)
    if len(single) > MOST_JOINED or any(isinstance(value, Sweep | Glob) for value in single):
        return ""
    return f"choice({','.join(_written(value) for value in single)})"


def _text(sweep: Any) -> str:
    """Write a sweep in Hydra's grammar."""
    from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, RangeSweep

    if isinstance(sweep, ChoiceSweep):
        return f"choice({','.join(_written(v) for v in sweep.list)})"
    if isinstance(sweep, RangeSweep):
        return f"range({sweep.start},{sweep.stop}{'' if sweep.step == 1 else f',{sweep.step}'})"
    if isinstance(sweep, IntervalSweep):
        return f"interval({sweep.start:g},{sweep.end:g})"
    return f"glob({','.join(map(str, sweep.include))})" if isinstance(sweep, Glob) else "..."


def _written(value: Any) -> str:
    from hydra.core.override_parser.types import Glob, Override, Sweep

    if isinstance(value, Sweep | Glob):
        return _text(value)
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{plain(key)}:{_written(item)}' for key, item in value.items())}}}"
    return str(Override._get_value_element_as_str(value))
