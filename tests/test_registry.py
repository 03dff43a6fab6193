"""How a kind is found: at home, or in another package that names it under an entry point."""

import subprocess
import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

import pytest
from pydantic import ValidationError

from dlx.errors import DlxError
from dlx.registry import FAMILIES, Declared, Registry, Strict, family

REGISTRIES = list(FAMILIES.values())


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.noun)
def test_every_kind_has_words_for_itself_and_its_fields(registry):
    for kind, cls in registry.items():
        assert cls.kind == kind
        assert cls.summary(), f"{cls.__name__} has no docstring"
        for name, info in cls.model_fields.items():
            assert info.description, f"{kind}.{name} has no description"


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.noun)
def test_what_is_not_there_is_not_found(registry):
    assert "no_such_kind" not in registry
    with pytest.raises(KeyError):
        registry["no_such_kind"]


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda r: r.noun)
def test_the_module_of_each_kind_is_known_before_it_is_imported(registry):
    for kind, cls in registry.items():
        if not cls.__module__.startswith("dlx."):
            continue  # one of another package that is installed
        assert cls.__module__ == registry.modules[kind], f"{cls!r} declares its kind in another form"


def test_asking_for_one_kind_imports_its_module_alone():
    script = (
        "import sys; from dlx.layers import LAYERS; LAYERS['linear'];"
        "print(*sorted(m for m in sys.modules if m.startswith('dlx.layers.')))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "dlx.layers.linear" in printed
    assert not {"dlx.layers.conv", "dlx.layers.recurrent", "dlx.layers.attention"} & set(printed)


def test_two_classes_of_one_kind_are_refused():
    registry = Registry("thing", "dlx.errors", "dlx.things")

    @family(registry)
    class Thing(Declared):
        """A thing."""

    class One(Thing):
        """One."""

        kind = "same"

    with pytest.raises(DlxError, match="two thing classes are called `same`"):

        class Other(Thing):
            """Other."""

            kind = "same"

    assert dict(registry) == {"same": One}


PLUGIN = '''
from typing import ClassVar
from dlx.layers import Example, Layer, Plan
from dlx.lazy import nn

class Doubled(Layer):
    """Twice the input, measured rather than planned."""

    kind: ClassVar[str] = "doubled"
    example: ClassVar[Example] = Example({}, [(3, 4)], shape=(3, 4))

    def module(self, *xs):
        return nn.Conv1d(xs[0][0], 2 * xs[0][0], 1)
'''


def test_another_package_brings_a_layer_by_an_entry_point(tmp_path: Path):
    (tmp_path / "their_layers.py").write_text(PLUGIN)
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[dlx.layers]\ntheirs = their_layers\n")
    (tmp_path / "s.yaml").write_text("network: {inputs: [3, 8], layers: [doubled, relu]}\n")
    result = subprocess.run(
        [sys.executable, "-m", "dlx", "inspect", str(tmp_path / "s.yaml")],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parent.parent}", "PATH": ""},
    )
    assert "doubled_1  doubled     6x8      24" in result.stdout
    assert "24 parameters\n144 MACs a sample" in result.stdout


def test_true_and_false_are_no_numbers_in_any_section():
    """To pydantic's `Literal[0, 1]` they are: to Python true is 1."""
    for registry in REGISTRIES:
        registry.load()
    found = 0
    for cls in _below(Strict):
        for name, field in cls.model_fields.items():
            takes = _leaves(field.annotation)
            if bool in takes or not takes & {int, float}:
                continue
            found += 1
            for value in (True, False):
                with pytest.raises(ValidationError) as refused:
                    cls.model_validate({name: value})
                assert any(error["loc"][0] == name for error in refused.value.errors()), (cls, name)
    assert found > 300


def _below(cls):
    for one in cls.__subclasses__():
        module = sys.modules.get(one.__module__) if one.__module__.startswith("dlx.") else None
        if getattr(module, one.__name__, None) is one:  # other tests define some of their own
            yield one
        yield from _below(one)


def _leaves(annotation):
    """The types that a field takes, of the values of a Literal too."""
    if get_origin(annotation) is Literal:
        return {type(value) for value in get_args(annotation)}
    if get_origin(annotation) in (Annotated, Union, UnionType):
        return set().union(*map(_leaves, get_args(annotation)))
    return {annotation} if isinstance(annotation, type) else set()
