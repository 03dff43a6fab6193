"""The standard library's `dataclass` in a quarter of its time: `__init__` alone is compiled for each class.

A command imports a hundred classes of values, and to compile six methods for each took a seventh of `dlx inspect`.
`dataclasses` collects the fields, so that `fields`, `replace` and `asdict` apply, and makes all itself where options
are rare here. What the methods do is in its documentation: https://docs.python.org/3/library/dataclasses.html.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import MISSING, FrozenInstanceError
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

PARAMS = "__dataclass_params__"
"""Where `dataclasses` keeps the options of a class."""

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, **options):
        """Make a class of values of an annotated one, with the options of `dataclasses.dataclass`."""

        def made(cls):
            return _made(cls, frozen, slots, **options)

        return made if cls is None else made(cls)


def _made(cls: type, frozen: bool, slots: bool, eq: bool = True, **options: Any) -> type:
    own, whole = dict(vars(cls)), {**options, "frozen": frozen, "slots": slots, "eq": eq}
    if options or _is_rare(cls, own, frozen):
        return dataclasses.dataclass(**whole)(cls)
    # The standard library takes no class of another sort above it: where one is frozen, it makes what refuses changes
    of_frozen = frozen and any(PARAMS in vars(one) for one in cls.__mro__[1:])
    made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, slots=slots, frozen=of_frozen)(cls)
    every = dataclasses.fields(made)
    methods: dict[str, Any] = {"__init__": _init(made, every, frozen), "__repr__": _repr(every)}
    if eq:
        methods |= {"__eq__": _eq(every)}
    if frozen and slots:
        methods |= {"__getstate__": _state, "__setstate__": _set_state}
    for name, method in methods.items():
        if name not in own:
            method.__qualname__ = f"{made.__qualname__}.{name}"
            setattr(made, name, method)
    if eq and not (own.get("__hash__") or ("__hash__" in own and "__eq__" not in own)):
        made.__hash__ = _hash(every) if frozen else None
    if frozen and not of_frozen:
        getattr(made, PARAMS).frozen = True
        made.__setattr__, made.__delattr__ = _refusals(made, frozenset(one.name for one in every))
    return made  # type: ignore[no-any-return]


class _Factory:
    """Stands for the default of a field that is made anew for each value."""

    def __repr__(self) -> str:
        return "<factory>"


def _is_rare(cls: type, own: dict[str, Any], frozen: bool) -> bool:
    """Whether a field is no argument, or one by name alone, or an argument is no field; whether a class above it is
    frozen and this one is not, or the other way round, which is an error.
    """
    above = [one.__dict__[PARAMS].frozen for one in cls.__mro__[1:] if PARAMS in one.__dict__]
    if any(one != frozen for one in above):
        return True
    fields = [one for one in own.values() if isinstance(one, dataclasses.Field)]
    fields += [one for base in cls.__mro__[1:] for one in getattr(base, "__dataclass_fields__", {}).values()]
    annotations = map(str, own.get("__annotations__", {}).values())
    return any(not one.init or one.kw_only is True for one in fields) or any(
        "InitVar" in kind for kind in annotations
    )


def _init(made: Any, every: Sequence[dataclasses.Field[Any]], frozen: bool) -> Any:
    """Compile the one function that takes all fields."""
    known: dict[str, Any] = {"__name__": made.__module__, "_anew": _Factory(), "_set": object.__setattr__}
    plain = not any("__slots__" in vars(one) for one in made.__mro__[:-1])
    store = "_set(self, {0!r}, {1})" if frozen else "self.{0} = {1}"
    lines = []
    if plain and frozen:
        store = "_own[{0!r}] = {1}"
        lines = ["_own = self.__dict__"]
    takes = []
    for one in every:
        name, value, default = one.name, one.name, ""
        if one.default is not MISSING:
            known[f"_default_{name}"], default = one.default, f"=_default_{name}"
        elif one.default_factory is not MISSING:
            known[f"_factory_{name}"], default = one.default_factory, "=_anew"
            value = f"_factory_{name}() if {name} is _anew else {name}"
        takes.append(name + default)
        lines.append(store.format(name, value))
    lines += ["self.__post_init__()"] if hasattr(made, "__post_init__") else []
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(['self', *takes])}):\n {body}", known)  # noqa: S102 - of names of fields alone
    init = known["__init__"]
    init.__annotations__ = {**{one.name: one.type for one in every}, "return": None}
    return init


def _values(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function from a value to those of its fields."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _eq(every: Sequence[dataclasses.Field[Any]]) -> Any:
    values = _values([one.name for one in every if one.compare])

    def __eq__(self: Any, other: object) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    return __eq__


def _hash(every: Sequence[dataclasses.Field[Any]]) -> Any:
    values = _values([one.name for one in every if (one.compare if one.hash is None else one.hash)])

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __hash__


def _repr(every: Sequence[dataclasses.Field[Any]]) -> Any:
    names = [one.name for one in every if one.repr]

    @recursive_repr()
    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _refusals(made: Any, names: frozenset[str]) -> tuple[Any, Any]:
    """Return what refuses to set or delete a field; a subclass may have attributes besides."""

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if type(self) is made or name in names:
            raise FrozenInstanceError(f"cannot assign to field {name!r}")
        super(made, self).__setattr__(name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if type(self) is made or name in names:
            raise FrozenInstanceError(f"cannot delete field {name!r}")
        super(made, self).__delattr__(name)

    return __setattr__, __delattr__


def _state(self: Any) -> list[Any]:
    return [getattr(self, one.name) for one in dataclasses.fields(self)]


def _set_state(self: Any, state: Sequence[Any]) -> None:
    for one, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, one.name, value)


__all__ = ["dataclass"]
