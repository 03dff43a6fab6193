"""Registries of everything that a spec can name: frozen pydantic classes, found by their `kind`.

Layers, optimizers, schedules, initialisers, losses, objectives and data sets all have this form.
Defining a class registers it; another package lists its module under the entry point `dlx.<plural>`.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, TypeVar, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import CoreSchema, core_schema

from .errors import DlxError, number_text
from .utils import installed

LARGEST_INT = 2**63 - 1
LARGEST_FLOAT, SMALLEST_FLOAT = 3.4028234663852886e38, 1.1754943508222875e-38
"""Largest number of float32, and its least one of full precision."""


A_NUMBER = "(a number)"
"""Stands for any number among the words that users expect a field to take."""
A_LIST = "(a list)"
"""Stands for any list among them."""


class Strict(BaseModel):
    """A frozen section of a spec in which an unknown key is an error, and "3" or true is not a number."""

    # Validators are built at the first use of a class (defer_build): a spec uses few of the kinds that it imports.
    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False, protected_namespaces=()
    )

    field_hints: ClassVar[Mapping[str, str]] = {}
    """Hints about fields that users expect and that do not exist."""
    words_elsewhere: ClassVar[Mapping[str, Mapping[str, str]]] = {}
    """For fields, hints about words that users expect them to take, and that they do not."""

    @classmethod
    def word_hints(cls, field: str) -> Mapping[str, str]:
        """Return the hints about words that a field does not take."""
        return cls.words_elsewhere.get(field, {})

    @classmethod
    def field_hint(cls, name: str) -> str:
        """Return the hint about a field that does not exist; empty where there is none."""
        return cls.field_hints.get(name, "")

    @classmethod
    def hint_beside(cls, name: str, fields: Mapping[str, Any], by_override: bool = False) -> str:  # noqa: ARG003
        """Return the hint about a field that does not exist, by the values of all fields as they are written.

        `by_override`: whether an override of the command writes it.
        """
        return cls.field_hint(name)

    @classmethod
    def default_of(cls, name: str) -> Any:
        """Return the default of a field; PydanticUndefined where it is required."""
        return cls.model_fields[name].get_default(call_default_factory=True)

    @field_validator("*")
    @classmethod
    def _representable(cls, value: Any) -> Any:
        """Check that tensors can hold a number. ValueError where it would be rounded to zero or infinity."""
        for number in value if isinstance(value, list) else (value,):
            # By type and not isinstance: a boolean is an int to Python.
            if type(number) is int and abs(number) > LARGEST_INT:
                raise ValueError(f"{number_text(number)} is beyond {LARGEST_INT:,} (2^63 - 1)")
            if type(number) is float and abs(number) > LARGEST_FLOAT:
                raise ValueError(f"{number:g} is beyond {LARGEST_FLOAT:.2g}, the largest number of float32")
            if type(number) is float and 0 < abs(number) < SMALLEST_FLOAT:
                raise ValueError(f"{number:g} is nearer to 0 than {SMALLEST_FLOAT:.2g}, the least number of float32")
        return value


def section_within(annotation: Any) -> type[Strict] | None:
    """Return the section that a field has within a mapping or beside other types: X of `dict[str, X | list[int]]`."""
    if isinstance(annotation, type) and issubclass(annotation, Strict):
        return annotation
    return next((found for part in get_args(annotation) if (found := section_within(part)) is not None), None)


class Declared(Strict):
    """Base of all that a spec names by `kind`, with options. A bare value sets the first field."""

    kind: ClassVar[str]

    @classmethod
    def first_field(cls) -> str | None:
        """Return the field that `kind: value` sets, where `value` is no mapping."""
        return next(iter(cls.model_fields), None)

    required: ClassVar[tuple[str, ...]] = ()
    """Names that every kind of a family defines. The base class of the family lists them."""

    @classmethod
    def mistake(cls) -> str:
        """Return the mistake of a class that a plugin defines, after its name in a sentence; empty without one."""
        base = next(one for one in cls.__mro__ if "required" in vars(one))
        missing = [name for name in cls.required if getattr(cls, name, None) is getattr(base, name, None)]
        return f"has no `{missing[0]}`" if missing else ""

    @classmethod
    def summary(cls) -> str:
        """Return the first line of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]


D = TypeVar("D", bound=Declared)

FilePath = Annotated[Path, Field(strict=False)]
"""A path in a spec: relative ones start at the folder of the spec."""


def _not_boolean(value: Any, check: Callable[[Any], Any]) -> Any:
    return check(repr(value) if isinstance(value, bool) else value)


NotBoolean = WrapValidator(_not_boolean)
"""Refuses booleans for a `Literal` of numbers: in Python `True == 1` and `False == 0`."""
AsWord = BeforeValidator(lambda value: "inf" if value == float("inf") else value)
"""Takes infinity for the word `inf` of a `Literal`: overrides read `inf` as a number."""


@dataclass(frozen=True)
class Choice:
    """Marks a field that is itself a choice by `kind` from a registry: `Annotated[Optimizer, Choice(OPTIMIZERS)]`.

    `Annotated[list[Layer], Choice(LAYERS)]` is a list of them, `dict[str, Initializer]` a mapping of names to them.
    Python code may pass what a spec would say: `"relu"`, `{"linear": 10}`, `{"linear": {"out_features": 10}}`.
    """

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        build = self.build_each if get_origin(source) is dict else self.build
        return core_schema.no_info_before_validator_function(build, handler(source))

    def build_each(self, value: Any) -> Any:
        """Build the instance of each value of a mapping."""
        return {name: self.build(item) for name, item in value.items()} if isinstance(value, dict) else value

    def build(self, value: Any) -> Any:
        """Build the instance that `value` names; return the value itself where it names none."""
        if isinstance(value, list):
            return [self.build(item) for item in value]
        kind, options = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else (value, None)
        if not isinstance(kind, str):
            return value
        if kind not in self.registry:
            raise ValueError(f"there is no {self.registry.noun} `{kind}`")
        cls = self.registry[kind]
        if options is not None and not isinstance(options, dict):
            options = {cls.first_field(): options}
        return cls.model_validate(options or {})


class Registry(Mapping[str, type[D]], Generic[D]):
    """The classes of one family by kind. The module of a kind is imported when that kind is looked up.

    `package` is the module or package of dlx that defines them; `plugins` the entry-point group of other packages,
    which is searched only for a kind that dlx does not have, or to list everything; `at` is the key of a spec that
    names one, or a list of them where they are `many`.
    """

    def __init__(self, noun: str, package: str, plugins: str, at: str = "", many: bool = False) -> None:
        self.noun, self.package, self.plugins, self.at, self.many = noun, package, plugins, at, many
        self._classes: dict[str, type[D]] = {}
        self._loaded = self._searched = False
        self.from_plugins: Mapping[str, type[D]] = {}
        """Kinds of the plugins of the spec at hand (`dlx.plugins.use`)."""

    def add(self, cls: type[D]) -> None:
        """Register a class. DlxError where another class has its kind."""
        if _collectors and _collectors[-1].takes(cls):
            _collectors[-1].found.append((self, cls))
            return
        if not cls.__module__.startswith("dlx.") and cls.kind in self.modules:
            message = f"`{cls.kind}` is a {self.noun} of dlx, and {cls!r} takes its name"
            raise DlxError(message, hint="Give your own class another `kind`.")
        known = self._classes.get(cls.kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise DlxError(f"two {self.noun} classes are called `{cls.kind}`: {known!r} and {cls!r}")
        self._classes[cls.kind] = cls  # a cell of a notebook that runs again defines its class anew

    def new(self, kind: str) -> KindFactory[D]:
        """Return a default factory for a field: it makes a `kind` with its defaults where a spec says nothing."""
        return KindFactory(self, kind)

    @cached_property
    def modules(self) -> dict[str, str]:
        """The module of dlx that declares each kind, read from the source texts: a tenth of the time of an import."""
        return {kind: name for name, file in self._files() for kind in declared_kinds(name, file)}

    def _files(self) -> Iterator[tuple[str, str]]:
        """Yield the package and its modules at any depth with their files, without packages of other families."""
        # `dlx.data` contains `dlx.data.preprocess`, which is the package of another family.
        others = {family.package for family in FAMILIES.values()} - {self.package}
        package = importlib.util.find_spec(self.package)
        if package is not None:
            yield self.package, package.origin or ""
            yield from _submodules(package.submodule_search_locations or (), f"{self.package}.", others)

    def load(self) -> None:
        """Import all modules of dlx that define kinds of this family."""
        if self._loaded:
            return
        # Set before the imports: a module that is imported may list the registry itself.
        self._loaded = True
        for name, _ in self._files():
            importlib.import_module(name)

    @cached_property
    def _entry_points(self) -> list[installed.EntryPoint]:
        """Entry points of other packages for this family."""
        return installed.entry_points(self.plugins)

    def search(self, kind: str | None = None) -> None:
        """Import kinds of other packages: modules whose text declares `kind`, or all where none does."""
        if self._searched:
            return
        for entry in self._entry_points if kind is not None else ():
            if kind in declared_kinds(entry.module):
                entry.load()
        if kind is not None and kind in self._classes:
            return
        self._searched = True
        for entry in self._entry_points:
            entry.load()

    def registered(self) -> list[type[D]]:
        """Return the imported classes without those of plugins."""
        return list(self._classes.values())

    def origin(self, kind: str) -> str | None:
        """Return the module that declares a kind, without plugins and imports; None where none does."""
        if kind in self._classes:
            return self._classes[kind].__module__
        elsewhere = () if kind in self.modules else self._entry_points
        found = (e.module for e in elsewhere if kind in declared_kinds(e.module))
        return self.modules.get(kind) or next(found, None)

    def __getitem__(self, kind: str) -> type[D]:
        if kind in self.from_plugins:
            return self.from_plugins[kind]
        if kind not in self._classes and kind in self.modules:
            importlib.import_module(self.modules[kind])
        if kind not in self._classes:
            self.search(kind)
        return self._classes[kind]

    def __contains__(self, kind: object) -> bool:
        """Whether there is such a kind; kinds of dlx are not imported for it."""
        if not isinstance(kind, str):
            return False
        if kind in self.from_plugins:
            return True
        if kind not in self._classes and kind not in self.modules:
            self.search(kind)
        return kind in self._classes or kind in self.modules

    def __iter__(self) -> Iterator[str]:
        self.search()
        return iter(sorted({*self._classes, *self.modules, *self.from_plugins}))

    def __len__(self) -> int:
        self.search()
        return len({*self._classes, *self.modules, *self.from_plugins})


@dataclass
class Collector:
    """Catches the classes of one module or package as they are defined, in place of their registries."""

    module: str
    found: list[tuple[Registry[Any], type[Any]]] = dataclass_field(default_factory=list)

    def takes(self, cls: type[Any]) -> bool:
        """Whether a class is defined in that module or package."""
        return f"{cls.__module__}.".startswith(f"{self.module}.")


_collectors: list[Collector] = []


@contextmanager
def collected(module: str) -> Iterator[Collector]:
    """Collect the kinds that a module, or a package with all its modules, defines inside the block."""
    _collectors.append(Collector(module))
    try:
        yield _collectors[-1]
    finally:
        _collectors.pop()


def _submodules(paths: Iterable[str], prefix: str, others: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the modules of a package at any depth with their files, without those in `others`; none is imported."""
    for path in paths:
        for module in pkgutil.iter_modules([path], prefix):
            if module.name in others:
                continue
            place = f"{path}/{module.name.rpartition('.')[2]}"
            yield module.name, f"{place}/__init__.py" if module.ispkg else f"{place}.py"
            if module.ispkg:
                yield from _submodules([place], f"{module.name}.", others)


@dataclass(frozen=True)
class KindFactory(Generic[D]):
    """Factory of instances of a kind, whose module is imported at the first call."""

    registry: Registry[D]
    kind: str

    def __call__(self) -> D:
        return self.registry[self.kind].model_validate({})


FAMILIES: dict[str, Registry[Any]] = {
    "layer": Registry("layer", "dlx.layers", "dlx.layers", "network.layers", many=True),
    "data": Registry("data set", "dlx.data", "dlx.data", "data"),
    "preprocess": Registry(
        "preprocessing step", "dlx.data.preprocess", "dlx.preprocessing", "data.preprocess", many=True
    ),
    "objective": Registry("objective", "dlx.objectives", "dlx.objectives", "objective"),
    "loss": Registry("loss", "dlx.losses", "dlx.losses", "loss"),
    "metric": Registry("metric", "dlx.metrics", "dlx.metrics", "metric"),
    "init": Registry("initialiser", "dlx.init", "dlx.initializers", "init"),
    "optimizer": Registry("optimizer", "dlx.optim", "dlx.optimizers", "train.optimizer"),
    "schedule": Registry("schedule", "dlx.schedules", "dlx.schedules", "train.schedule"),
    "average": Registry("average", "dlx.averages", "dlx.averages", "train.average"),
    "augmentation": Registry("augmentation", "dlx.augment", "dlx.augmentations", "train.augment", many=True),
    "view": Registry("view", "dlx.augment.views", "dlx.views", "train.test_time"),
    "baseline": Registry("baseline", "dlx.baselines", "dlx.baselines", "baselines", many=True),
    "sampler": Registry("sampler", "dlx.sweeps.samplers", "dlx.samplers", "sweep.sampler"),
    "scheduler": Registry("scheduler", "dlx.sweeps.schedulers", "dlx.schedulers", "sweep.scheduler"),
    "analysis": Registry("analysis", "dlx.analysis.kinds", "dlx.analyses", "analyses", many=True),
}
"""All families by the name of their definition in the JSON schema. Arguments: the noun in messages, the package of
dlx, the entry points of other packages, and the key of a spec."""

DECLARATION = re.compile(rb'\n    kind: ClassVar\[str\] = "(\w+)"')
"""Declaration of a kind in a source text, which every class must match (checked by `tests/test_registry.py`).

It begins with a fixed text: so it is found 15 times as fast.
"""


def declared_kinds(module: str, file: str = "") -> list[str]:
    """Return the kinds that the text of a module declares. A module without a text is imported to register them.

    To read its `file`, where it is known to be in UTF-8, is quicker than to find it, and bytes are read in half of
    the time of a text.
    """
    with suppress(OSError):
        if file:
            with open(file, "rb", 0) as source:  # noqa: PTH123 - of 240 files, twice as fast
                return _kinds_in(source.read())
    spec = importlib.util.find_spec(module)
    text = getattr(spec.loader, "get_source", lambda _: None)(module) if spec is not None else ""
    if text is None:
        importlib.import_module(module)
    return _kinds_in((text or "").encode())


def _kinds_in(text: bytes) -> list[str]:
    return [kind.decode() for kind in DECLARATION.findall(text)]


def family(registry: Registry[Any]) -> Callable[[type[D]], type[D]]:
    """Return a class decorator for the base of a family: each subclass with a `kind` of its own joins `registry`."""

    def register(cls: type[Any], /, **_: Any) -> None:
        if "kind" in vars(cls):
            registry.add(cls)

    def decorate(root: type[D]) -> type[D]:
        # Not __init_subclass__, which runs before pydantic has collected the fields.
        root.__pydantic_init_subclass__ = classmethod(register)  # type: ignore[assignment, method-assign]
        return root

    return decorate
