"""dlx's `dataclass` against the standard library's: the same classes, made quickly."""

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, asdict, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pytest

from dlx.utils import dataclass as quick

MAKERS = {"dlx": quick.dataclass, "standard library": dataclasses.dataclass}


def family(make: Any, **options: Any) -> dict[str, type]:
    """Classes of all forms that dlx has, made by one of the two."""

    @make(**options)
    class Point:
        """A point."""

        x: int
        y: tuple[int, ...] = ()
        note: str = field(default="", compare=False, repr=False)
        more: dict[str, int] = field(default_factory=dict)
        count: ClassVar[int] = 3

        @property
        def total(self) -> int:
            return self.x + sum(self.y)

    @make(**options)
    class Further(Point):
        """A point and more."""

        z: float = 0.5

        def __repr__(self) -> str:
            return f"own {self.z}"

    @make(**options)
    class Checked:
        """A value that is looked at."""

        x: int

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("below 0")

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and other.x % 10 == self.x % 10

        def __hash__(self) -> int:
            return self.x % 10

    @make(**options)
    class Empty:
        """Nothing."""

    found = {"Point": Point, "Further": Further, "Checked": Checked, "Empty": Empty}
    for name, cls in found.items():  # where pickle finds them
        cls.__qualname__ = f"{name}{len(options)}"
        globals()[cls.__qualname__] = cls
    return found


def told(action: Any) -> Any:
    """What an action gives, or the error that it raises."""
    try:
        return action()
    except Exception as error:  # noqa: BLE001
        return type(error), str(error).replace("family.<locals>.", "")


def through_pickle(value: Any) -> Any:
    """A value written and read."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301


OPTIONS = [{}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}, {"frozen": True, "eq": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_values_behave_as_the_standard_library_has_them(options):
    answers = []
    for make in MAKERS.values():
        one = family(make, **options)
        point, equal, other = one["Point"](1, (2,)), one["Point"](1, (2,), "noted"), one["Point"](x=1, y=(3,))
        further = one["Further"](1, z=0.25)
        plain = [
            [(f.name, f.type, f.init, f.compare) for f in fields(point)],
            is_dataclass(one["Point"]),
            one["Point"].__match_args__,
            str(inspect.signature(one["Further"])).replace("dlx.utils.", ""),
            (point == equal, point == other, point != other, point == 1),
            (point.total, point.more, point.more is equal.more, point.note, equal.note),
            told(lambda p=point: hash(p) == hash(p)),
            told(lambda c=one["Empty"]: (repr(c()), c() == c())),
            repr(point),
            repr(further),
            asdict(further),
            asdict(replace(point, x=5)),
            told(lambda c=one["Point"]: c()),
            told(lambda c=one["Point"]: c(1, 2, 3, 4, 5)),
            told(lambda c=one["Point"]: c(1, w=2)),
            told(lambda p=point: setattr(p, "x", 7)),
            told(lambda p=further: setattr(p, "x", 7)),
            told(lambda p=other: delattr(p, "y")),
            # with slots and frozen Python 3.11 has a TypeError about `super` there
            options.get("slots") or told(lambda p=point: setattr(p, "unheard_of", 7)),
            told(lambda c=one["Checked"]: c(-1)),
            (one["Checked"](3) == one["Checked"](13), hash(one["Checked"](13))),
            [asdict(copied(further)) for copied in (copy.copy, copy.deepcopy, through_pickle)],
        ]
        answers.append([str(answer) for answer in plain])
    assert answers[0] == answers[1]


def test_forms_that_are_rare_are_the_standard_library_s_own():
    for make in MAKERS.values():

        @make(frozen=True)
        class Rare:
            """With arguments by name alone, and one that is no argument."""

            a: int
            b: int = field(kw_only=True)
            c: list[int] = field(default_factory=list, init=False)

        @make(order=True)
        class Ordered:
            """With an order."""

            a: int

        assert (Rare(1, b=2).b, Rare(1, b=2).c) == (2, [])
        with pytest.raises(TypeError, match="positional"):
            Rare(1, 2)
        assert Ordered(1) < Ordered(2)


@pytest.mark.parametrize("above", MAKERS)
@pytest.mark.parametrize("below", MAKERS)
def test_classes_of_either_stand_below_each_other(above, below):
    @MAKERS[above](frozen=True)
    class Above:
        """A value."""

        x: int

    @MAKERS[below](frozen=True)
    class Below(Above):
        """A value and more."""

        y: int = 0

    assert (Below(1, 2), hash(Below(1, 2))) == (Below(1, y=2), hash((1, 2)))
    with pytest.raises(FrozenInstanceError):
        Below(1).x = 2
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):

        @MAKERS[below]
        class Moving(Above):
            """A value that may change."""

    @MAKERS[above]
    class Open:
        """A value that may change."""

        x: int

    with pytest.raises(TypeError, match="cannot inherit frozen dataclass from a non-frozen one"):

        @MAKERS[below](frozen=True)
        class Still(Open):
            """A value that may not."""


def test_a_frozen_value_may_remember_what_it_worked_out_and_a_circle_ends():
    @quick.dataclass(frozen=True)
    class Circle:
        """A value that holds itself."""

        inside: list[Any]

        @cached_property
        def size(self) -> int:
            return len(self.inside)

    one = Circle([1])
    one.inside.append(one)
    assert (one.size, one.__dict__["size"]) == (2, 2)
    assert repr(one).endswith("Circle(inside=[1, ...])")
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'inside'"):
        one.inside = []


def test_one_function_is_compiled_for_a_class(monkeypatch):
    compiled = []
    monkeypatch.setattr(quick, "exec", lambda text, known: (compiled.append(text), exec(text, known)), raising=False)  # noqa: S102
    slowly = []

    def run(text, *known):
        slowly.append(text)
        exec(text, *known)  # noqa: S102

    monkeypatch.setattr(dataclasses, "exec", run, raising=False)
    family(quick.dataclass, frozen=True)
    assert [text.splitlines()[0] for text in compiled] == [
        "def __init__(self, x, y=_default_y, note=_default_note, more=_anew):",
        "def __init__(self, x, y=_default_y, note=_default_note, more=_anew, z=_default_z):",
        "def __init__(self, x):",
        "def __init__(self):",
    ]
    assert len(slowly) == 2, "what refuses changes in the class below a frozen one"
