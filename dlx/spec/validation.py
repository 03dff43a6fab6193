"""Validation of nodes by pydantic models, with every mistake as a sentence at its place."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from itertools import islice
from typing import Any, TypeVar, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import Mark, Problem, did_you_mean, shortened, with_article
from ..other_names import kind_meant
from ..registry import Choice, Declared, Registry, Strict, section_within
from .expected_types import expected, of_own_type, way_out
from .section_names import section_meant
from .syntax.nodes import OVERRIDE
from .syntax.read import BROKEN, Node

S = TypeVar("S", bound=Strict)
D = TypeVar("D", bound=Declared)
Loc = tuple[int | str, ...]

MONITORED = re.compile(r"valid/NAME")
"""Beginning of the description of a field that names a metric of the part that is evaluated on the way."""
NO_HINTS: Mapping[str, str] = {}
MAX_PROBLEMS = 100
"""Mistakes of one section that are reported; more of them say nothing new."""
ENTRY_KEYS = ("name", "from", "when", "values", "tie")
"""Keys beside the kind in an entry of a list of layers."""
OF_LAYERS = re.compile(r"^network(?:s\.(\w+))?\.layers\.")
"""Prefix of the path of a layer, with the name of its network where there are several."""


def build(
    cls: type[S],
    node: Node,
    path: str,
    problems: list[Problem],
    shorthand: bool = False,
    parsed: Mapping[str, Any] | None = None,
) -> S | None:
    """Build an instance of `cls` from the mapping `node`. None where it has mistakes, which go to `problems`.

    With `shorthand`, a bare value sets the first field of a Declared class. `parsed` has values of further fields,
    which `node` does not have; BROKEN for one whose mistake is already reported.
    """
    fields = as_fields(cls, node, path, problems, shorthand)
    if fields is None:
        return None
    written = {key: _value(cls, key, child, f"{path}.{key}", problems) for key, child in fields.items()}
    all_values = written | dict(parsed or {})
    values = {key: value for key, value in all_values.items() if value is not BROKEN}
    try:
        # Validated without the broken fields too: the mistakes of the others are reported in the same run.
        instance = cls.model_validate(values)
    except ValidationError as error:
        hidden = {key for key in all_values if key not in values or (key in fields and fields[key].broken)}
        problems += problems_of(error, cls, node, path, fields, hidden)
        return None
    return instance if len(values) == len(all_values) else None


def _value(cls: type[Strict], key: str, node: Node, path: str, problems: list[Problem]) -> Any:
    """Parse the value of a field. BROKEN where it has mistakes, which go to `problems`."""
    single = section_at(cls, key)
    if single is not None and node.value is not None:
        instance = build(single, node, path, problems, shorthand=issubclass(single, Declared))
        return BROKEN if instance is None else instance
    choice, section = choice_of(cls, key), section_in(cls, key)
    if choice is None and (section is None or not node.is_list):
        return _lossless(node.plain())
    if section is not None:
        items = [build(section, item, f"{path}.{i}", problems) for i, item in enumerate(node.list)]
        return BROKEN if None in items else items
    assert choice is not None
    if node.value is None and cls.model_fields[key].default is None:
        return None
    several = _choose_each if is_listed(cls, key) else _choose_by_name if is_mapped(cls, key) else choose
    found = several(choice, node, path, problems, cls.word_hints(key))
    return BROKEN if found is None else found


def choose(
    registry: Registry[D], node: Node, path: str, problems: list[Problem], hints: Mapping[str, str] = NO_HINTS
) -> D | None:
    """Build a class of a registry from `kind`, `{kind: value}` or `{kind: {field: value}}`; None with mistakes.

    `hints` are about words that are no kind of it.
    """
    if node.value is BROKEN:
        return None
    found = kind_of(node, registry, path, problems)
    if found is None:
        return None
    kind, options = found
    if kind not in registry:
        mark = options.mark if options is not node else node.mark
        message = f"there is no {registry.noun} `{kind}`"
        hint = hints.get(kind) or kind_meant(kind, registry, registry.noun)
        if options is not node and not hint.startswith("Did you mean"):
            message, hint = _no_kind(node, registry)
        problems.append(Problem(message, hint, mark, path))
        return None
    empty = Node({}, node.mark)
    return build(registry[kind], empty if options is node else options, f"{path}.{kind}", problems, shorthand=True)


def _choose_each(
    registry: Registry[D], node: Node, path: str, problems: list[Problem], hints: Mapping[str, str]
) -> Any:
    """Build a list of choices. What is no list is returned as it is, for pydantic to refuse; None with mistakes."""
    if not node.is_list:
        return None if node.broken else node.plain()
    made = [choose(registry, item, f"{path}.{i}", problems, hints) for i, item in enumerate(node.list)]
    return None if any(one is None for one in made) else made


def _choose_by_name(
    registry: Registry[D], node: Node, path: str, problems: list[Problem], hints: Mapping[str, str]
) -> Any:
    """Build a mapping of names to choices. What is no mapping is left for pydantic to refuse; None with mistakes."""
    if not node.is_map:
        return None if node.broken else node.plain()
    made = {name: choose(registry, item, f"{path}.{name}", problems, hints) for name, item in node.map.items()}
    return None if any(one is None for one in made.values()) else made


def kind_of(node: Node, registry: Registry[Any], path: str, problems: list[Problem]) -> tuple[str, Node] | None:
    """Return the kind that `node` names and the node of its options, which is `node` itself for a bare word."""
    if isinstance(node.value, str):
        return node.value, node
    if node.is_map and len(node.map) == 1:
        return next(iter(node.map.items()))
    known = [key for key in node.map if key in registry]
    unknown = [key for key in node.map if key not in known]
    if len(known) == 1 and unknown:
        hint = f"Fields of `{known[0]}` stand inside it: `{known[0]}: {{{unknown[0]}: ...}}`."
        message = f"`{unknown[0]}` stands beside `{known[0]}`"
        problems.append(Problem(message, hint, node.map[unknown[0]].mark, f"{path}.{unknown[0]}"))
    elif node.map and not known:
        problems.append(Problem(*_no_kind(node, registry), node.mark, path))
    elif node.map:
        kinds = " and ".join(f"`{key}`" for key in (known or unknown))
        message = f"{kinds} stand together where one {registry.noun} is wanted"
        problems.append(Problem(message, "Keep one of them.", node.mark, path))
    else:
        message = (
            f"`{path.rsplit('.', 1)[-1]}` wants the kind of {with_article(registry.noun)}, not {shown(node.plain())}"
        )
        problems.append(Problem(message, did_you_mean("", registry), node.mark, path))
    return None


def _no_kind(node: Node, registry: Registry[Any]) -> tuple[str, str]:
    """Return message and hint about a mapping without a kind: `{name: adam, lr: 0.1}`, `{lr: 0.1}`."""
    keys = " and ".join(f"`{key}`" for key in list(node.map)[:3])
    message = f"{keys} {'are' if len(node.map) > 1 else 'is'} no {registry.noun}"
    kind = next((child.value for child in node.map.values() if child.value in registry), None)
    fields = [key for key, child in node.map.items() if child.value != kind]
    if isinstance(kind, str):
        return message, f"The kind is the key: `{kind}: {{{', '.join(f'{key}: ...' for key in fields)}}}`."
    having = [one for one in registry if set(fields) <= registry[one].model_fields.keys()]
    if having:
        kinds = ", ".join(having[:4]) + (", ..." if having[4:] else "")
        return message, f"Fields stand inside a kind, `KIND: {{{fields[0]}: ...}}`, here of {kinds}."
    return message, did_you_mean("", registry)


def as_fields(
    cls: type[Strict], node: Node, path: str, problems: list[Problem], shorthand: bool
) -> Mapping[str, Node] | None:
    """Return the fields that `node` sets: its keys, none for null, or the first field for a bare value."""
    if node.is_map:
        return node.map
    if node.value is None:
        return {}
    first = cls.first_field() if shorthand and issubclass(cls, Declared) else None
    if first is not None:
        return {first: node}
    if node.value is BROKEN:
        return None
    name = _owner(cls, path)
    if shorthand:
        message = f"{name} has no fields to set, and is given {shown(node.plain())}"
        words = [item.value for item in node.list if isinstance(item.value, str)]
        hint = f"Write {name} alone" + (f", with `from: [{', '.join(words)}]` beside it." if words else ".")
        problems.append(Problem(message, hint, node.mark, path))
    else:
        hint = did_you_mean("", cls.model_fields, "the fields")
        problems.append(Problem(f"{name} must be a mapping, not {shown(node.plain())}", hint, node.mark, path))
    return None


def _owner(cls: type[Strict], path: str) -> str:
    """Return the name of the owner of fields: the kind of a layer, or the key of a section."""
    *_, above, last = ("", *path.split("."))
    name = f"{above}[{last}]" if last.isdigit() else last
    return f"`{cls.kind if issubclass(cls, Declared) else name}`"


@cache
def choice_of(cls: type[Strict], field: str) -> Registry[Any] | None:
    """Return the registry that a field chooses from; None where it is no choice."""
    info = cls.model_fields.get(field)
    for extra in info.metadata if info else ():
        if isinstance(extra, Choice):
            return extra.registry
    return None


def is_listed(cls: type[Strict], field: str) -> bool:
    """Whether a field holds a list."""
    return get_origin(cls.model_fields[field].annotation) is list


@cache
def section_in(cls: type[Strict], field: str) -> type[Strict] | None:
    """Return the class of the items of a field that is a list of sections; None for any other field."""
    info = cls.model_fields.get(field)
    inner = get_args(info.annotation)[:1] if info is not None and get_origin(info.annotation) is list else ()
    known = choice_of(cls, field) is not None
    return next((c for c in inner if isinstance(c, type) and issubclass(c, Strict) and not known), None)


@cache
def section_at(cls: type[Strict], field: str) -> type[Strict] | None:
    """Return the class of a field that is one section or null, as `ensemble: {members: 5}`; None for any other."""
    info = cls.model_fields.get(field)
    if info is None or choice_of(cls, field) is not None or get_origin(info.annotation) in {list, dict}:
        return None
    parts = (info.annotation, *get_args(info.annotation))
    return next((part for part in parts if isinstance(part, type) and issubclass(part, Strict)), None)


def is_mapped(cls: type[Strict], field: str) -> bool:
    """Whether a field holds a mapping."""
    return get_origin(cls.model_fields[field].annotation) is dict


def problems_of(
    error: ValidationError,
    cls: type[Strict],
    node: Node,
    path: str,
    fields: Mapping[str, Node],
    hidden: Iterable[str] = (),
) -> list[Problem]:
    """Convert pydantic's errors to problems: one for each wrong value, at its place in the text.

    Fields that are `hidden` by another mistake are left out, and so are errors of the whole while there are any.
    """
    # pydantic has an error for each branch of a union: they make one problem, "must be A or B".
    grouped: dict[Loc, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_context=True):
        grouped.setdefault(_within(detail["loc"], fields), []).append(detail)
    left_out = {*hidden, *_misspelt(grouped, cls)}
    around = {loc[:depth] for loc in grouped for depth in range(1, len(loc))}  # the mistake is deeper inside
    reported = [
        (loc, details)
        for loc, details in grouped.items()
        if not (str(loc[0]) in left_out if loc else hidden) and loc not in around
    ]
    return [_problem(loc, details, cls, node, path, fields) for loc, details in reported[:MAX_PROBLEMS]]


def _misspelt(grouped: Mapping[Loc, list[ErrorDetails]], cls: type[Strict]) -> set[str]:
    """Return missing fields that resemble an unknown one: a misspelling is one mistake and not two."""
    unknown = [str(loc[-1]) for loc, details in grouped.items() if details[0]["type"] == "extra_forbidden"]
    missing = {str(loc[0]) for loc, details in grouped.items() if details[0]["type"] == "missing"}
    return missing & closest_matches(unknown, cls.model_fields)


def closest_matches(unknown: Iterable[str], known: Iterable[str]) -> set[str]:
    """Return the known words that unknown ones most resemble, at most one for each."""
    # Bounded: difflib compares each unknown word with each known one, and a hostile spec has thousands.
    near = [difflib.get_close_matches(word, list(known), n=1) for word in islice(unknown, MAX_PROBLEMS)]
    return {name for names in near for name in names}


def _within(loc: Loc, fields: Mapping[str, Node]) -> Loc:
    """Return the keys of pydantic's location that exist in the text; its others name branches of a union."""
    if not loc:
        return ()
    existing: list[int | str] = [loc[0]]
    node = fields.get(str(loc[0]))
    for key in loc[1:]:
        child = node.at(key) if node is not None else None
        if child is None:
            continue
        existing.append(key)
        node = child
    return tuple(existing)


def _problem(
    loc: Loc, details: list[ErrorDetails], cls: type[Strict], node: Node, path: str, fields: Mapping[str, Node]
) -> Problem:
    where = _mark_of(loc, node, fields)
    full = ".".join([path, *map(str, loc)]) if path else ".".join(map(str, loc))
    first, name = details[0], _name_of(loc)
    if first["type"] == "extra_forbidden":
        owner, known = _owner(cls, path), list(cls.model_fields)
        if len(loc) > 1 and (inner := section_within(cls.model_fields[str(loc[0])].annotation)) is not None:
            owner, name, known = f"`{_name_of(loc[:-1])}`", str(loc[-1]), list(inner.model_fields)
        hint = did_you_mean(name, known, "the fields") if known else f"{owner} has no fields."
        if name in ENTRY_KEYS and OF_LAYERS.match(path):
            hint = f"`{name}` stands beside {owner}, not inside it: on a line of its own below."
        if path.count(".") < 2 and not where.file.startswith(OVERRIDE):
            hint = section_meant(name, where) or hint
        written = {key: child.plain() for key, child in fields.items()}
        hint = cls.hint_beside(name, written, where.file.startswith(OVERRIDE)) or hint
        return Problem(f"{owner} has no field `{name}`", hint, where, full)
    if first["type"] == "missing":
        info = cls.model_fields.get(name)
        about = f"{name}: {info.description}." if info and info.description else ""
        return Problem(f"`{name}` is missing", about, where, full)
    if first["type"] == "value_error":
        return Problem(str(first["ctx"]["error"]) if "ctx" in first else first["msg"], "", where, full)
    wanted = list(dict.fromkeys(expected(d) for d in of_own_type(details)))
    wanted = [one for one in wanted if one != "a whole number" or "a number" not in wanted]
    actual = _actual(loc, fields, first)
    info = cls.model_fields.get(str(loc[0])) if loc else None
    about = f"{loc[0]}: {info.description}." if info and info.description else ""
    hints = cls.word_hints(str(loc[0]) if loc else "")
    about = way_out(actual, name, {d["type"] for d in details}, hints) or about
    if first["type"] == "string_pattern_mismatch" and info and info.description:
        wanted = [info.description]
        metric = re.sub(r"^(val|valid|validation|test|train|eval)[/_]", "", str(actual))
        about = hints.get(str(actual), f"Write `valid/{metric}`." if MONITORED.match(info.description) else "")
    return Problem(f"`{name}` must be {' or '.join(wanted)}, not {shown(actual)}", about, where, full)


def _name_of(loc: Loc) -> str:
    """Return the name of a value in a sentence: `kernel_size`, `kernel_size[1]`."""
    first, *rest = loc or ("",)
    return str(first) + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in rest)


def _mark_of(loc: Loc, node: Node, fields: Mapping[str, Node]) -> Mark:
    found = fields.get(str(loc[0])) if loc else None
    if found is None:
        return node.mark
    below = found.at(*loc[1:])
    return (below or found).mark


def _actual(loc: Loc, fields: Mapping[str, Node], detail: ErrorDetails) -> Any:
    found = fields.get(str(loc[0])) if loc else None
    below = found.at(*loc[1:]) if found is not None else None
    return below.plain() if below is not None else detail["input"]


def shown(value: Any) -> str:
    """Write a value as a spec would, shortened for a message."""
    return shortened("nothing" if value is None else _written(value))


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(v) for v in value[:30])}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {_written(v)}' for k, v in list(value.items())[:30])}}}"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value:+}".replace("+", "").replace("inf", ".inf").replace("nan", ".nan")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f'"{value}"' if isinstance(value, str) else str(value)


def _lossless(value: Any) -> Any:
    """Convert floats that are whole numbers, such as 1e5, to int, which pydantic's strict mode takes for both types.

    Up to 1e15: beyond 2**53 a float no longer says which whole number is meant.
    """
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, list):
        return [_lossless(v) for v in value]
    if isinstance(value, dict):
        return {k: _lossless(v) for k, v in value.items()}
    return value


def short_path(path: str) -> str:
    """Shorten the path of a layer to its name: `conv_1`, `generator/conv_1`."""
    return OF_LAYERS.sub(lambda found: f"{found[1]}/" if found[1] else "", path)


def unknown_keys(
    node: Node,
    known: Iterable[str],
    path: str,
    what: str,
    problems: list[Problem],
    hint_of: Callable[[str], str] = lambda key: "",  # noqa: ARG005
) -> None:
    """Add a problem for each key of `node` that is not among `known`; `hint_of` has hints about keys of elsewhere."""
    options = list(known)
    unknown = [key for key in node.map if key not in options]
    for key in unknown[:MAX_PROBLEMS]:
        full = f"{path}.{key}" if path else key
        hint = hint_of(key) or did_you_mean(key, options)
        problems.append(Problem(f"{what} has no `{key}`", hint, node.map[key].mark, full))
