"""What the documents show is true."""

import re
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, PositiveInt

from dlx.errors import ShapeError
from dlx.layers import LAYERS, Example, Layer, Plan
from dlx.layers.base import axis_of
from dlx.lazy import nn, torch
from dlx.reference import markdown_page, vocabulary
from dlx.shapes import Shape
from dlx.spec.sections.expect import QUANTITIES

ROOT = Path(__file__).parent.parent


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_layer_of_the_contributors_page_works():
    names = {
        "Layer": Layer,
        "Plan": Plan,
        "Example": Example,
        "Shape": Shape,
        "ClassVar": ClassVar,
        "Field": Field,
        "PositiveInt": PositiveInt,
        "ShapeError": ShapeError,
        "axis_of": axis_of,
        "prod": prod,
        "nn": nn,
    }
    (code,) = blocks("CONTRIBUTING.md", "python")
    LAYERS.load()
    before = dict(LAYERS._classes)
    try:
        exec(code, names)  # noqa: S102 - our own page
        layer, xs, example = LAYERS["unflatten"].worked_example()
        assert layer.plan(*xs).shape == example.shape
        assert layer.module(*xs)(torch.ones(2, *xs[0])).shape == (2, *example.shape)
        with pytest.raises(ShapeError, match=r"\[2, 4\] do not multiply to the 9 values on axis 1 of \(9, 5\)"):
            layer.plan(Shape((9, 5)))
    finally:
        LAYERS._classes.clear()
        LAYERS._classes.update(before)


def test_every_command_of_the_readme_is_a_command():
    from dlx.cli import COMMANDS

    known, known_runs = set(COMMANDS), set(COMMANDS["runs"].commands)
    for line in re.findall(
        r"^(?:\$ )?dlx (.*)$", "\n".join(blocks("README.md", "(?:sh|console|text)?")), re.MULTILINE
    ):
        words = line.split()
        assert words[0] in known, line
        if words[0] == "runs" and len(words) > 1 and words[1].isalpha():
            assert words[1] in known_runs, line


def test_every_part_of_the_package_that_a_page_names_is_there():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    named = {name for page in pages for name in re.findall(r"`(dlx(?:\.\w+){2,})", page.read_text())}
    assert named
    for name in sorted(named):
        module, _, attribute = name.rpartition(".")
        assert find_spec(module), name
        assert hasattr(import_module(module), attribute) or find_spec(name), name


def test_every_spec_of_the_readme_is_valid(tmp_path):
    from dlx.graph import trace
    from dlx.spec import load

    specs = blocks("README.md", "yaml")
    assert specs
    for index, text in enumerate(specs):
        path = tmp_path / f"readme_{index}.yaml"
        path.write_text(text)
        trace(load(path))


def test_the_reference_is_what_the_classes_say():
    assert (ROOT / "docs" / "layers.md").read_text() == markdown_page.markdown() + "\n", "run `make docs`"


def test_the_reference_has_every_kind_once_and_only_pages_that_close_their_fences():
    page = markdown_page.markdown()
    headings = re.findall(r"^### (\w+)$", page, re.MULTILINE)

    assert sorted(headings) == sorted(
        [name for kinds in vocabulary.families(shipped=True).values() for name, _, _ in kinds]
    )
    assert page.count("```") % 2 == 0


def test_a_kind_that_two_families_have_is_found_in_each():
    layer, step = vocabulary.page("crop"), vocabulary.page("train.augment.crop")
    assert "padding_mode" not in [name for name, *_ in layer.fields]
    assert [name for name, *_ in step.fields][:2] == ["size", "keep_targets"]
    assert step.text.splitlines()[0] in markdown_page.markdown()


def test_the_page_of_expect_names_every_quantity():
    assert [name for name in QUANTITIES if name not in vocabulary.page("expect").text] == []
