"""Text becomes values that know where they stand; what is not a spec is refused with its place."""

import time
import tomllib
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dlx.errors import SpecError
from dlx.spec.syntax.read import Node, parse_toml, parse_yaml, plain_scalar, read
from dlx.spec.syntax.yaml_writer import yaml_text


def error_of(text: str, parse=parse_yaml, file="spec.yaml") -> str:
    with pytest.raises(SpecError) as error:
        parse(text, file)
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("100_000", 100_000),
        ("1_000.5", 1000.5),
        ("no", "no"),
        ("on", "on"),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("1:30", "1:30"),
        ("~", None),
        ("", None),
        ("true", True),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("2026-11-21", "2026-11-21"),
        ("1_", "1_"),
        ("e5", "e5"),
        ("+3", 3),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text, value):
    got = plain_scalar(text)
    assert got == value
    assert type(got) is type(value)


def test_quoted_scalars_are_words():
    assert parse_yaml("a: \"1\"\nb: 'true'", "f").plain() == {"a": "1", "b": "true"}


def test_every_value_of_yaml_knows_its_line_and_column():
    root = parse_yaml(
        "train:\n  steps: 5\nlayers:\n  - conv: {out_channels: 3}\n    name: stem\n  - relu\n", "f.yaml"
    )
    places = {
        ("train", "steps"): (2, 3),
        ("layers", 0): (4, 5),
        ("layers", 0, "conv"): (4, 5),
        ("layers", 0, "conv", "out_channels"): (4, 12),
        ("layers", 0, "name"): (5, 5),
        ("layers", 1): (6, 5),
    }
    for path, place in places.items():
        mark = root.at(*path).mark
        assert (mark.line, mark.column) == place, path


TOML = """\
title = "x" # comment with = and [brackets]
a.b.c = 1
"quoted key" = 2

[network]
layers = [
    { conv = { out_channels = 15, kernel_size = [3, 5] } },
    "relu", # a comment
    'literal # not a comment',
]
text = \"\"\"
[not.a.table]
x = 3\"\"\"

  [network.deep]
  x = 1979

[[many]]
n = 1
[[many]]
n = 2
[many.inner]
z = true
"""


def test_every_key_of_toml_knows_its_line_and_column():
    root = parse_toml(TOML, "f.toml")
    places = {
        ("title",): (1, 1),
        ("a", "b", "c"): (2, 5),
        ("quoted key",): (3, 1),
        ("network",): (5, 2),
        ("network", "layers"): (6, 1),
        ("network", "layers", 0, "conv"): (7, 7),
        ("network", "layers", 0, "conv", "kernel_size"): (7, 35),
        ("network", "layers", 0, "conv", "kernel_size", 1): (7, 53),
        ("network", "layers", 1): (8, 5),
        ("network", "layers", 2): (9, 5),
        ("network", "text"): (11, 1),
        ("network", "deep", "x"): (16, 3),
        ("many", 0, "n"): (19, 1),
        ("many", 1, "n"): (21, 1),
        ("many", 1, "inner", "z"): (23, 1),
    }
    for path, place in places.items():
        node = root.at(*path)
        assert node is not None, path
        assert (node.mark.line, node.mark.column) == place, path
    assert root.plain() == tomllib.loads(TOML)


words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, width=32) | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(words, values, max_size=5))
def test_what_is_written_reads_back_the_same(value):
    if value:
        assert parse_yaml(yaml_text(value), "f").plain() == value


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused_with_a_sentence(text):
    for parse in (parse_yaml, parse_toml):
        try:
            read_back = parse(text, "f")
        except SpecError as error:
            refused = error
            assert refused.problems[0].message
        else:
            assert isinstance(read_back, Node)


def test_yaml_agrees_with_pyyaml_where_both_versions_agree():
    text = "a: [1, -2.5, word]\nb:\n  c: |\n    two\n    lines\n  d: >\n    folded\n    text\n"
    assert parse_yaml(text, "f").plain() == yaml.safe_load(text)


def test_duplicate_keys_name_both_lines_and_are_all_reported():
    text = error_of("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n")
    assert "spec.yaml:3:1\n  `a` is given twice, first on line 1\n  Keep one of the two." in text
    assert "spec.yaml:4:11\n  `d` is given twice, first on line 4" in text


def test_duplicate_keys_of_toml_are_refused_with_their_place():
    assert error_of("a = 1\na = 2\n", parse_toml, "s.toml").startswith("s.toml:2:")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [1, 2", "spec.yaml:1:4\n  is not valid YAML: the `[` that opens here is not closed"),
        ("a:\n\t- b", "YAML indents with spaces; this line has a tab."),
        ("a: {w: ${w}}", 'An expression inside {...} or [...] wants quotes: {width: "${w}"}.'),
        ("- 1", "spec.yaml:1:1\n  is a list, not a spec"),
        ("word", "is a single value, not a spec"),
        ("# nothing\n", "spec.yaml\n  is empty"),
        ("a: 1\n---\nb: 2\n", "spec.yaml:2:1\n  a second document starts here"),
        ("a: *b", "spec.yaml:1:4\n  `*b` stands for nothing"),
        ("a: &x {b: *x}", "spec.yaml:1:11\n  `*x` contains itself"),
        ("a: !!python/object:os.system x", "the tag `!!python/object:os.system` has no meaning in a spec"),
        ("? [a]\n: 1", "a key must be a word"),
    ],
)
def test_bad_yaml_is_refused_in_a_sentence(text, sentence):
    assert sentence in error_of(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = \n", "s.toml:1:5\n  is not valid TOML: Invalid value"),
        ("a = [1,", "s.toml:1:8\n  is not valid TOML"),
        ("a = 1979-05-27\n", "s.toml:1:1\n  a spec has no dates and times"),
        ("a = " + "[" * 5000, "is nested more than 100 deep"),
        ("a = " + "[" * 150 + "]" * 150, "is nested more than 100 deep"),
    ],
)
def test_bad_toml_is_refused_in_a_sentence(text, sentence):
    assert sentence in error_of(text, parse_toml, "s.toml")


def bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 14)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (bomb(), "holds more than 200,000 values"),
        ("a: " + "[" * 1000, "is nested more than 100 deep"),
        ("a: " + "{b: " * 1000, "is nested more than 100 deep"),
        ("[" * 100_000, "is nested more than 100 deep"),
        ("\n".join(" " * i + "a:" for i in range(1000)), "is nested more than 100 deep"),
    ],
    ids=["aliases", "lists", "maps", "brackets", "indents"],
)
def test_hostile_text_ends_in_an_error_within_bounds(text, sentence):
    tracemalloc.start()
    started = time.process_time()
    try:
        assert sentence in error_of(text)
        assert tracemalloc.get_traced_memory()[1] < 500e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < 20  # a hang, not a speed, is what this is about


def test_what_is_not_a_file_is_distinguished(tmp_path: Path):
    (tmp_path / "mnist.yaml").write_text("a: 1")
    (tmp_path / "empty.yaml").write_text(" \n")
    (tmp_path / "picture.yaml").write_bytes(b"\x89PNG\x00\xff")
    (tmp_path / "latin.yaml").write_bytes("é".encode("latin-1"))

    def sentence(name: str) -> str:
        with pytest.raises(SpecError) as error:
            read(tmp_path / name)
        return str(error.value).replace(str(tmp_path), "DIR")

    assert sentence("minst.yaml") == "DIR/minst.yaml\n  there is no such file\n  Did you mean DIR/mnist.yaml?"
    assert (
        sentence("no/where.yaml") == "DIR/no/where.yaml\n  there is no such file\n  There is no folder DIR/no either."
    )
    assert (
        sentence("")
        == "DIR\n  is a directory, not a spec\n  It holds empty.yaml, latin.yaml, mnist.yaml, picture.yaml."
    )
    (tmp_path / "mnist").mkdir()
    assert sentence("mnist") == "DIR/mnist\n  is a directory, not a spec\n  Did you mean DIR/mnist.yaml?"
    assert sentence("empty.yaml") == "DIR/empty.yaml\n  is empty\n  `dlx new` writes a spec to start from."
    assert sentence("picture.yaml").startswith("DIR/picture.yaml\n  is not a text file in UTF-8")
    assert sentence("latin.yaml").startswith("DIR/latin.yaml\n  is not a text file in UTF-8")


def test_an_entry_that_was_written_before_is_written_again_only_where_it_is_the_same():
    for value in (1, 1.0, True, "1", None, [1], {"a": 1}, {"a": 1.0}, [], {}, [{"a": [1, "yes: x"]}] * 3):
        for _ in range(2):
            document = {"name": "x", "one": value, "list": [value, "t " * 90]}
            assert repr(parse_yaml(yaml_text(document), "spec.yaml").plain()) == repr(document)
