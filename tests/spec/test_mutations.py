"""Random mistakes in specs are told where they are. `make mutations` tries 5,000 of all specs, with the rates."""

import random
import re
from pathlib import Path

import pytest
from mutated_tokens import tokens
from mutations import (
    SORTS,
    SURELY_WRONG,
    Mutation,
    Source,
    copied,
    mutation,
    outcome,
    sources_of,
    specs_in,
    tried,
)

from dlx.spec.syntax.read import parse_yaml

SPEC = """\
dlx: 1
vars: {width: 8}
network:
  inputs: [4]
  layers:
    - linear: "${width}"
      name: first
    - relu
    - {add: {}, from: [prev, first]}
    - linear: 2
expect: {params: 58}
"""


@pytest.fixture
def source(tmp_path) -> Source:
    path = tmp_path / "s.yaml"
    path.write_text(SPEC)
    return Source(path, path)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("relu", "rleu", "its line"),
        ("name: first", "name: frist", "elsewhere"),
        ("[4]", "[5]", "by a claim"),
        ("58", "59", "its line"),
        ("relu", "tanh", "accepted"),
        ("- linear: 2", "- {linear: 2, from: first}", "warned"),
    ],
)
def test_what_comes_of_a_mistake(source, old, new, expected):
    line = SPEC[: SPEC.index(old)].count("\n") + 1
    made = Mutation("one", SPEC.replace(old, new), frozenset({line}), "")

    assert outcome(source, made)[0] == expected
    assert source.file.read_text() == SPEC


def test_each_word_of_a_spec_is_of_a_sort():
    sorts = {(one.word, one.sort, one.is_use) for one in tokens(parse_yaml(SPEC, "s"), SPEC)}

    assert sorts >= {
        *(("dlx", "section", True), ("network", "section", True), ("width", "variable", False)),
        *(("width", "variable", True), ("linear", "kind", True), ("relu", "kind", True), ("first", "name", True)),
        *(("from", "field", True), ("params", "claim", True), ("58", "number", True), ("inputs", "field", True)),
    }


@pytest.mark.parametrize("sort", SORTS)
def test_a_mistake_of_each_sort_is_in_its_lines(sort):
    rng, found = random.Random(sort), None
    while found is None:
        found = mutation(sort, SPEC + "freeze: ['first']\n", parse_yaml(SPEC + "freeze: ['first']\n", "s"), rng)
    was, now = (SPEC + "freeze: ['first']\n").split("\n"), found.text.split("\n")
    first = next(i for i, (a, b) in enumerate(zip(was, now, strict=False), 1) if a != b)

    assert first in found.lines | {max(found.lines) + 1}


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> list[Source]:
    """The specs of the documents and small shipped ones."""
    folder = tmp_path_factory.mktemp("mutated")
    copied(folder)
    small = [path for path in specs_in(folder) if path.stat().st_size < 1500]
    return sources_of(random.Random(0).sample(small, 30))


def test_mistakes_are_told(sample, capsys):
    report = tried(sample, 100, seed=0)
    print(report.table())

    assert re.search("100 in all", capsys.readouterr().out)
    assert report.of("traceback") == []
    assert report.of("accepted", SURELY_WRONG) == []
    assert report.told_at_its_place >= 0.95


def test_shipped_specs_and_those_of_the_documents_are_mutated(sample):
    folders = {path.parent.name for path in (one.file for one in sample)}
    assert {"spec"} < folders
    assert all(isinstance(one.file, Path) for one in sample)
