"""Arithmetic in a spec: `${4 * width}`, `${x.channels // 2}`. Parsed with Python's grammar, evaluated by dlx.

Allowed: numbers, words in quotes, true and false; + - * / // % **, comparisons, and, or, not, `a if c else b`;
min, max, round, ceil, floor, abs, len, sqrt, exp, log, log2, log10, pi; lists and their items, `range(n)`,
`[f'stage_{i}' for i in range(4) if i != 1]`; names in scope, `x.channels`, `x.size`, `x.rank`.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections import ChainMap
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from ..errors import did_you_mean, shortened
from .syntax.read import BROKEN, MAX_DEPTH, Node, located

Scope = Mapping[str, Any]

MAX_MAGNITUDE = 1e18
MAX_LENGTH = 500
MAX_ITEMS = 10_000
"""Characters or items in the value of one expression."""

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_VERBS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Pow: "raise",
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}


def _range(*ends: int) -> list[int]:
    """Python's range as a list. ExpressionError where it is longer than a value may be."""
    numbers = range(*ends)
    if numbers[MAX_ITEMS:]:
        raise ExpressionError(f"the result is longer than {MAX_ITEMS:,}")
    return list(numbers)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    # Digits are bounded: `round(5, -10**9)` would compute 10**(10**9).
    "round": lambda value, digits=0: round(value, max(-20, min(20, digits))) if digits else round(value),
    "ceil": math.ceil,
    "floor": math.floor,
    "abs": abs,
    "len": len,
    "range": _range,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
}
_ATTRIBUTES: dict[str, Callable[[Any], Any]] = {
    "channels": lambda shape: shape.channels,
    "size": lambda shape: shape.size,
    "rank": lambda shape: len(shape.size),
}
"""Attributes of a shape; `rank` counts the axes of positions, those after the channels."""
_CONSTANTS = {"true": True, "false": False, "null": None, "pi": math.pi}
PIECE = re.compile(r"\$\{((?:[^{}'\"]|'[^']*'|\"[^\"]*\")*)\}")
"""An expression in a text; its group is what stands inside `${...}`."""


class ExpressionError(Exception):
    """An expression that has no value, with the reason and a hint."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


class _Turns(ChainMap[str, Any]):  # the names inside a comprehension: its variables over those around it
    left: list[int]  # how many turns it may take yet; those inside take of the same


class UnknownValue(Exception):  # noqa: N818 - not an error: the value is not known because an earlier mistake hides it
    """An expression depends on a shape or variable whose own problem is already reported."""


class ItemBudget:
    """Bound on the items of all lists that expressions make: doubling one twenty times would fill the memory."""

    def __init__(self, items: int = 100_000) -> None:
        self.items = items

    def take(self, value: Any) -> Any:
        """Charge the items of `value` and return it. ExpressionError where the budget is spent."""
        self.items -= items_in(value)
        if self.items < 0:
            raise ExpressionError("the lists that expressions make here hold too many items in all")
        return value


def has_expression(value: object) -> bool:
    """Whether a value is a text that holds an expression."""
    return isinstance(value, str) and "${" in value


def evaluate(text: str, scope: Scope) -> Any:
    """Evaluate a text: the typed value where it is one expression, else the text with its expressions filled in.

    ExpressionError where an expression has no value; UnknownValue where it depends on an unknown one.
    """
    if len(text) > MAX_ITEMS:
        raise ExpressionError(f"a text with expressions has at most {MAX_ITEMS:,} characters, this one {len(text):,}")
    # One expression keeps its type: `"${2 * 3}"` is the number 6, `"w${2 * 3}"` the text w6.
    whole = _only(text)
    if whole is not None:
        return _value(whole, scope)
    filled = PIECE.sub(lambda found: str(_value(found[1], scope)), text)
    if "${" in PIECE.sub("", text):
        hint = "One brace is enough: ${a}." if "${{" in text else "Write ${...} on one line, closed by }."
        raise ExpressionError(f"`{text}` has a `${{` that is not closed", hint)
    return _bounded(filled)


@lru_cache(maxsize=4096)
def _only(text: str) -> str | None:
    """Return the expression that makes up all of a text; None where there is other text around it."""
    found = PIECE.fullmatch(text)
    return found[1] if found else None


def names_in(text: str) -> set[str]:
    """Return the names that the expressions of a text look up, without those of their own loops and of constants.

    ExpressionError where one cannot be parsed.
    """
    names = [node for piece in PIECE.findall(text) for node in ast.walk(_parse(piece)) if isinstance(node, ast.Name)]
    stored = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return {node.id for node in names} - stored - _FUNCTIONS.keys() - _CONSTANTS.keys()


def resolve(
    node: Node, scope: Scope, failed: Callable[[ExpressionError, Node], None], room: ItemBudget | None = None
) -> Node:
    """Evaluate every expression in `node`; for one with an error call `failed` and leave BROKEN in its place."""
    room = room or ItemBudget()
    if isinstance(node.value, str) and "${" in node.value:
        try:
            return located(room.take(evaluate(node.value, scope)), node.mark)
        except ExpressionError as error:
            failed(error, node)
        except UnknownValue:
            pass
        return Node(BROKEN, node.mark)
    if isinstance(node.value, dict):
        return Node({key: resolve(child, scope, failed, room) for key, child in node.value.items()}, node.mark)
    if isinstance(node.value, list):
        return Node([resolve(child, scope, failed, room) for child in node.value], node.mark)
    return node


def items_in(value: Any, depth: int = 0) -> int:
    """Count the items of a list or mapping, those of nested ones included."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple):
        return 0
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the result is nested more than {MAX_DEPTH} deep")
    return len(value) + sum(items_in(item, depth + 1) for item in value)


@lru_cache(maxsize=4096)
def _parse(source: str) -> ast.expr:
    if len(source) > MAX_LENGTH:
        raise ExpressionError(f"an expression has at most {MAX_LENGTH} characters, this one {len(source):,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # SyntaxWarnings, as for `1is 2`: Python would print them beside our own sentence
            return ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(
            f"`{shortened(source.strip())}` is not arithmetic",
            "Numbers, names, + - * / // % **, comparisons, min, max, round, ceil.",
        ) from error


def _value(source: str, scope: Scope) -> Any:
    try:
        return _bounded(_eval(_parse(source), scope))
    except ZeroDivisionError as error:
        raise ExpressionError(
            f"`{shortened(source.strip())}` divides by zero", "Guard it: `${a / b if b else 0}`."
        ) from error
    except (TypeError, ValueError, OverflowError, KeyError, RecursionError) as error:
        raise ExpressionError(f"`{shortened(source.strip())}` cannot be worked out: {error}") from error
    except IndexError as error:
        raise ExpressionError(f"`{shortened(source.strip())}` asks for an item beyond the end of the list") from error


def _bounded(value: Any) -> Any:
    # Most values are such integers: they skip the checks below.
    if type(value) is int and -MAX_MAGNITUDE <= value <= MAX_MAGNITUDE:
        return value
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        raise ExpressionError("the result is not a finite number")
    if isinstance(value, int | float) and abs(value) > MAX_MAGNITUDE:
        raise ExpressionError("the result is beyond 10^18")
    if isinstance(value, str | list) and (len(value) > MAX_ITEMS or items_in(value) > MAX_ITEMS):
        raise ExpressionError(f"the result is longer than {MAX_ITEMS:,}")
    return value


def _eval(node: ast.expr, scope: Scope) -> Any:
    handler = _HANDLERS.get(type(node))
    if handler is None:
        what = type(node).__name__.lower()
        raise ExpressionError(
            f"`{ast.unparse(node)}` is not arithmetic ({what})", "An expression only computes numbers."
        )
    return handler(node, scope)


def _constant(node: ast.Constant, _: Scope) -> Any:
    if node.value is None or isinstance(node.value, bool | int | float | str):
        return _bounded(node.value)
    raise ExpressionError(f"`{ast.unparse(node)}` is not a number")


def _name(node: ast.Name, scope: Scope) -> Any:
    if node.id in scope:
        value = scope[node.id]
        # The mistake of the variable is reported where it is written, and not at each use.
        if value is BROKEN:
            raise UnknownValue
        return value.plain() if isinstance(value, Node) else value
    if node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    hint = "Variables stand alone: ${width}." if node.id == "vars" else did_you_mean(node.id, scope)
    raise ExpressionError(f"there is no variable `{node.id}` here", hint)


def _binary(node: ast.BinOp, scope: Scope) -> Any:
    if type(node.op) not in _BINARY:
        raise ExpressionError(f"`{ast.unparse(node)}` is not arithmetic", "Use + - * / // % **.")
    left, right = _eval(node.left, scope), _eval(node.right, scope)
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    joined = isinstance(node.op, ast.Add) and type(left) is type(right) and isinstance(left, str | list)
    if not numbers and not joined:
        verb = _VERBS.get(type(node.op), "divide")
        raise ExpressionError(f"`{shortened(ast.unparse(node))}` does not {verb} two numbers")
    # Bounded before it is computed: 9**9**9 would take minutes and all of the memory.
    if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 1e9):
        raise ExpressionError(f"`{shortened(ast.unparse(node))}` is too large a power")
    return _bounded(_BINARY[type(node.op)](left, right))


def _unary(node: ast.UnaryOp, scope: Scope) -> Any:
    value = _eval(node.operand, scope)
    if isinstance(node.op, ast.Not):
        return not value
    if isinstance(node.op, ast.USub):
        return -value
    if isinstance(node.op, ast.UAdd):
        return +value
    raise ExpressionError(f"`{ast.unparse(node)}` is not arithmetic")


def _compare(node: ast.Compare, scope: Scope) -> bool:
    left = _eval(node.left, scope)
    for op, part in zip(node.ops, node.comparators, strict=True):
        if type(op) not in _COMPARE:
            raise ExpressionError(f"`{ast.unparse(node)}` is not a comparison of values")
        right = _eval(part, scope)
        try:
            holds = _COMPARE[type(op)](left, right)
        except TypeError:
            raise ExpressionError(
                f"`{shortened(ast.unparse(node))}` does not compare two values of one type"
            ) from None
        if not holds:
            return False
        left = right
    return True


def _boolean(node: ast.BoolOp, scope: Scope) -> Any:
    # As in Python, the rest is not evaluated: `b and a / b` does not divide by zero.
    stop_at = isinstance(node.op, ast.Or)
    value: Any = None
    for part in node.values:
        value = _eval(part, scope)
        if bool(value) is stop_at:
            break
    return value


def _choice(node: ast.IfExp, scope: Scope) -> Any:
    return _eval(node.body if _eval(node.test, scope) else node.orelse, scope)


_ELSEWHERE = {
    "int": "Did you mean `floor`, or `//` in place of `/`?",
    "pow": "Write `a ** b`.",
    "str": "Text is made by `f'stage_{i}'`.",
}
"""Hints about functions of Python that expressions do not have."""


def _call(node: ast.Call, scope: Scope) -> Any:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in _FUNCTIONS or node.keywords:
        raise ExpressionError(
            f"there is no function `{shortened(name)}`",
            _ELSEWHERE.get(name, did_you_mean(name, _FUNCTIONS, "the functions")),
        )
    return _FUNCTIONS[name](*(_eval(a, scope) for a in node.args))


def _attribute(node: ast.Attribute, scope: Scope) -> Any:
    value: Any = _eval(node.value, scope) if isinstance(node.value, ast.Name | ast.Attribute) else None
    # A node or scope of the graph knows its own attributes, as `stem.size`.
    if hasattr(value, "attribute"):
        return value.attribute(node.attr)
    if node.attr not in _ATTRIBUTES or not hasattr(value, "size"):
        raise ExpressionError(
            f"there is no `{ast.unparse(node)}`", "A shape has x.channels, x.size and x.rank; nothing else has a `.`."
        )
    return _ATTRIBUTES[node.attr](value)


def _item(node: ast.Subscript, scope: Scope) -> Any:
    if isinstance(node.slice, ast.Slice):
        raise ExpressionError(f"`{ast.unparse(node)}` takes a slice", "Take one item: a[0].")
    return _eval(node.value, scope)[_eval(node.slice, scope)]


def _list(node: ast.List | ast.Tuple, scope: Scope) -> list[Any]:
    return [_eval(item, scope) for item in node.elts]


def _text(node: ast.JoinedStr, scope: Scope) -> str:
    """Evaluate `f'stage_{i}'`."""
    pieces: list[Any] = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue) and (part.format_spec is not None or part.conversion != -1):
            raise ExpressionError(f"`{ast.unparse(node)}` formats a value", "Write the name alone: f'stage_{i}'.")
        pieces.append(_eval(part.value if isinstance(part, ast.FormattedValue) else part, scope))
    if not all(isinstance(piece, str | int | float) for piece in pieces):
        raise ExpressionError(f"`{ast.unparse(node)}` puts something into a word that is no word and no number")
    return str(_bounded("".join(map(str, pieces))))


def _comprehension(node: ast.ListComp, scope: Scope) -> list[Any]:
    """Evaluate `[2 * w for w in widths if w > 8]`."""
    inner = _Turns({}, cast("dict[str, Any]", scope))
    inner.left = scope.left if isinstance(scope, _Turns) else [MAX_ITEMS]
    found: list[Any] = []
    _walk(node, 0, inner, found)
    return found


def _walk(node: ast.ListComp, depth: int, scope: _Turns, found: list[Any]) -> None:
    """Append the values of a comprehension to `found`, from its loop number `depth` on."""
    if depth == len(node.generators):
        found.append(_eval(node.elt, scope))
        return
    loop = node.generators[depth]
    items = _eval(loop.iter, scope)
    if not isinstance(loop.target, ast.Name) or loop.is_async:
        raise ExpressionError(f"`{ast.unparse(node)}` gives several names", "Walk one: `[w for w in widths]`.")
    if not isinstance(items, list | tuple):
        raise ExpressionError(f"`{shortened(ast.unparse(loop.iter))}` is no list to walk", "`range(4)` makes one.")
    for item in items:
        scope.left[0] -= 1
        if scope.left[0] < 0:
            raise ExpressionError(f"`{shortened(ast.unparse(node))}` takes more than {MAX_ITEMS:,} turns")
        scope[loop.target.id] = item
        if all(_eval(condition, scope) for condition in loop.ifs):
            _walk(node, depth + 1, scope, found)


# A node that is not listed is refused, and so is all that a later Python adds to its grammar.
_HANDLERS: dict[type[ast.expr], Callable[[Any, Scope], Any]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _compare,
    ast.BoolOp: _boolean,
    ast.IfExp: _choice,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Subscript: _item,
    ast.List: _list,
    ast.Tuple: _list,
    ast.ListComp: _comprehension,
    ast.JoinedStr: _text,
}
