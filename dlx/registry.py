"""One idea for everything a spec can name: a frozen pydantic class with a `kind`, found in a registry.

Layers, optimizers, schedules, initialisers, losses, objectives and data sets are all of this form.
Defining the class is registering it; a third-party package names its module under the entry point `dlx.<plural>`.
"""

from __future__ import annotations

import importlib.util
import pkgutil
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar, get_origin

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, WrapValidator, field_validator
from pydantic_core import CoreSchema, core_schema

from .errors import DlxError, shortened

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

LARGEST_INT = 2**63 - 1
LARGEST_FLOAT, SMALLEST_FLOAT = 3.4028234663852886e38, 1.1754943508222875e-38
"""Of float32, of the numbers that it holds with all of its digits."""


class Strict(BaseModel):
    """A frozen section of a spec in which an unknown key is an error, and "3" or true is not a number."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", defer_build=True, allow_inf_nan=False, protected_namespaces=()
    )

    @classmethod
    def default_of(cls, name: str) -> Any:
        """What a field is where a spec says nothing; PydanticUndefined where it has to."""
        return cls.model_fields[name].get_default(call_default_factory=True)

    @field_validator("*")
    @classmethod
    def _representable(cls, value: Any) -> Any:
        """Numbers are those that tensors hold. ValueError where another would be rounded to zero or infinity."""
        for number in value if isinstance(value, list) else (value,):
            if type(number) is int and abs(number) > LARGEST_INT:
                raise ValueError(f"{shortened(str(number), 24)} is beyond {LARGEST_INT:,} (2^63 - 1)")
            if type(number) is float and abs(number) > LARGEST_FLOAT:
                raise ValueError(f"{number:g} is beyond {LARGEST_FLOAT:.2g}, the largest number of float32")
            if type(number) is float and 0 < abs(number) < SMALLEST_FLOAT:
                raise ValueError(f"{number:g} is nearer to 0 than {SMALLEST_FLOAT:.2g}, the least number of float32")
        return value


class Declared(Strict):
    """Something a spec names by `kind`, with its options. The first field may be written as a bare value."""

    kind: ClassVar[str]
    field_hints: ClassVar[Mapping[str, str]] = {}
    """Fields that users look for and that do not exist, and the way out."""

    @classmethod
    def first_field(cls) -> str | None:
        """The field that `kind: value` sets, where `value` is not a mapping."""
        return next(iter(cls.model_fields), None)

    @classmethod
    def summary(cls) -> str:
        """The first sentence of the docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]


D = TypeVar("D", bound=Declared)

FilePath = Annotated[Path, Field(strict=False)]
"""A path in a spec: relative ones start at the folder of the spec."""


def _not_boolean(value: Any, check: Callable[[Any], Any]) -> Any:
    return check(repr(value) if isinstance(value, bool) else value)


NotBoolean = WrapValidator(_not_boolean)
"""Beside a `Literal` of numbers: to Python, true is 1 and false is 0."""


@dataclass(frozen=True)
class Choice:
    """Marks a field that is itself a choice by `kind` from a registry: `Annotated[Optimizer, Choice(OPTIMIZERS)]`.

    `Annotated[list[Layer], Choice(LAYERS)]` is a list of them, `dict[str, Initializer]` a mapping of names to them.
    Python may give what a spec would: `"relu"`, `{"linear": 10}`, `{"linear": {"out_features": 10}}`.
    """

    registry: Registry[Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        made = self.made_each if get_origin(source) is dict else self.made
        return core_schema.no_info_before_validator_function(made, handler(source))

    def made_each(self, value: Any) -> Any:
        """What each value of a mapping names."""
        return {name: self.made(item) for name, item in value.items()} if isinstance(value, dict) else value

    def made(self, value: Any) -> Any:
        """What `value` names, or the value itself where it names nothing."""
        if isinstance(value, list):
            return [self.made(item) for item in value]
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
    """All classes of one sort by kind. The module of a kind is imported when that kind is asked for.

    `package` is the module or package of dlx that defines them; `plugins` the entry-point group of other packages,
    which is searched only for a kind that dlx does not have, or to list everything; `at` is the key of a spec that
    names one, or a list of them where they are `many`.
    """

    def __init__(self, noun: str, package: str, plugins: str, at: str = "", many: bool = False) -> None:
        self.noun, self.package, self.plugins, self.at, self.many = noun, package, plugins, at, many
        self._classes: dict[str, type[D]] = {}
        self._loaded = self._searched = False

    def add(self, cls: type[D]) -> None:
        known = self._classes.setdefault(cls.kind, cls)
        if known is not cls and known.__qualname__ != cls.__qualname__:
            raise DlxError(f"two {self.noun} classes are called `{cls.kind}`: {known!r} and {cls!r}")

    def new(self, kind: str) -> KindFactory[D]:
        """The default of a field: one of `kind` with its own defaults, made where a spec says nothing."""
        return KindFactory(self, kind)

    @cached_property
    def modules(self) -> dict[str, str]:
        """The module of dlx that declares each kind, read from the source texts: a tenth of the time of an import."""
        return {kind: name for name in self._names() for kind in declared_kinds(name)}

    def _names(self) -> list[str]:
        """List the package and its modules at any depth, without packages of other families."""
        others = {family.package for family in FAMILIES.values()} - {self.package}
        package = importlib.util.find_spec(self.package)
        paths = package.submodule_search_locations if package is not None else None
        inside = _submodules(paths, f"{self.package}.", others) if paths is not None else ()
        return [name for name in (self.package, *inside) if name not in others]

    def load(self) -> None:
        """Import everything that dlx itself brings."""
        if self._loaded:
            return
        self._loaded = True
        for name in self._names():
            importlib.import_module(name)

    @cached_property
    def _entry_points(self) -> list[EntryPoint]:
        """Where other packages bring kinds."""
        from importlib.metadata import entry_points

        return list(entry_points(group=self.plugins))

    def search(self, kind: str | None = None) -> None:
        """Import what other packages bring: first what declares `kind`, and all of it where that was not enough."""
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

    def __getitem__(self, kind: str) -> type[D]:
        if kind not in self._classes and kind in self.modules:
            importlib.import_module(self.modules[kind])
        if kind not in self._classes:
            self.search(kind)
        return self._classes[kind]

    def __contains__(self, kind: object) -> bool:
        """Whether there is such a kind; one of dlx itself is not imported for it."""
        if not isinstance(kind, str):
            return False
        if kind not in self._classes and kind not in self.modules:
            self.search(kind)
        return kind in self._classes or kind in self.modules

    def __iter__(self) -> Iterator[str]:
        self.search()
        return iter(sorted({*self._classes, *self.modules}))

    def __len__(self) -> int:
        self.search()
        return len({*self._classes, *self.modules})


def _submodules(paths: Iterable[str], prefix: str, others: Collection[str]) -> Iterator[str]:
    """The modules below a package at any depth, but for those in `others`. No module is imported."""
    for module in pkgutil.iter_modules(paths, prefix):
        if module.name in others:
            continue
        yield module.name
        if module.ispkg:
            folder = module.name.rpartition(".")[2]
            yield from _submodules([f"{path}/{folder}" for path in paths], f"{module.name}.", others)


@dataclass(frozen=True)
class KindFactory(Generic[D]):
    """Makes one of a kind. Its module is imported with the first one."""

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
    "sampler": Registry("sampler", "dlx.sweeps.samplers", "dlx.samplers", "sweep.sampler"),
    "scheduler": Registry("scheduler", "dlx.sweeps.schedulers", "dlx.schedulers", "sweep.scheduler"),
}
"""Every family, by the name of its definition in the JSON schema: what one is called in messages, where dlx declares
its kinds, the entry points of other packages, and where a spec names one."""

DECLARATION = re.compile(r'^    kind: ClassVar\[str\] = "(\w+)"', re.MULTILINE)
"""How a class declares its kind (`tests/test_registry.py` holds all of them to it)."""


def declared_kinds(module: str) -> list[str]:
    """The kinds that the text of a module declares."""
    return DECLARATION.findall(_source(module))


def _source(module: str) -> str:
    """The text of a module that need not be imported yet. One without a text is imported."""
    spec = importlib.util.find_spec(module)
    text = getattr(spec.loader, "get_source", lambda _: None)(module) if spec is not None else ""
    if text is None:
        importlib.import_module(module)
    return text or ""


def family(registry: Registry[Any]) -> Callable[[type[D]], type[D]]:
    """A class decorator for the root of a family: every subclass that has a `kind` of its own joins `registry`."""

    def joined(cls: type[Any], /, **_: Any) -> None:
        if "kind" in vars(cls):
            registry.add(cls)

    def decorate(root: type[D]) -> type[D]:
        root.__pydantic_init_subclass__ = classmethod(joined)  # type: ignore[assignment, method-assign]
        return root

    return decorate
