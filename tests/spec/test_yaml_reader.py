"""YAML 1.2 where libyaml reads YAML 1.1, merge keys, tabs, and the places of what stands behind an alias."""

from textwrap import dedent

import pytest

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load
from dlx.spec.syntax.read import parse_toml, parse_yaml
from dlx.spec.why import why


def error_of(text: str, parse=parse_yaml) -> str:
    with pytest.raises(SpecError) as error:
        parse(text, "s")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: { ?foo: bar }", {"a": {"?foo": "bar"}}),
        ("a: [?foo, ?bar]", {"a": ["?foo", "?bar"]}),
        ("a: {? foo : bar}", {"a": {"foo": "bar"}}),
        ("a: 'really?no ?yes'", {"a": "really?no ?yes"}),
        ("a: &an:chor v\nb: *an:chor", {"a": "v", "b": "v"}),
        ("a: &x.y [1]\nb: [*x.y, *x.y]", {"a": [1], "b": [[1], [1]]}),
        ("a: &größe 1\nb: {c: *größe}", {"a": 1, "b": {"c": 1}}),
        ('a: &x.y 1\nb: " &x.y *x.y\\n"', {"a": 1, "b": " &x.y *x.y\n"}),
        ("0 *: 1\n'0 &': 2", {"0 *": 1, "0 &": 2}),
        ("a: one && two ** three", {"a": "one && two ** three"}),
        ("a: 1 # c \u2028b: 2", {"a": 1}),
        ("a: 1 # c \u2029b: 2", {"a": 1}),
        ("a: x\u0085y", {"a": "x\u0085y"}),
        ('a: "x\u2028y"', {"a": "x\u2028y"}),
        ("a: !!float 3", {"a": 3.0}),
        ("a: !!int '3'", {"a": 3}),
        ("a: !!str 3", {"a": "3"}),
    ],
)
def test_text_is_read_as_yaml_1_2_has_it(text, value):
    assert parse_yaml(text, "s").plain() == value


def test_places_stay_behind_what_libyaml_would_misread():
    root = parse_yaml("a: {?b: &c.d 1, ?e: 2}\nf: {g: *c.d, h: 3}\n", "s")
    assert str(root.at("a", "?e").mark) == "s:1:17"
    assert str(root.at("f", "h").mark) == "s:2:14"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: !!int abc", 's:1:4\n  "abc" is not what its tag `!!int` says\n  Drop the tag, or mend the value.'),
        ("a: !!int 1.5", '"1.5" is not what its tag `!!int` says'),
        ("a: !!float abc", '"abc" is not what its tag `!!float` says'),
        ("a: !!bool 3", '"3" is not what its tag `!!bool` says'),
        ("a: !!null x", '"x" is not what its tag `!!null` says'),
        ("a: !!int {}", "the tag `!!int` has no meaning in a spec"),
        ("a: *.yaml", "s:1:4\n  `*.yaml` stands for nothing: there is no `&.yaml` before it\n  A text that begins"),
        ("a: &\n", "The name of an anchor is letters, digits, `-` and `_`; a text that begins with `*` or `&` wants"),
        (
            "a: &k x\n*k : 1",
            "`*k` stands as a key, and a key is a word\n  Write the key itself; an alias stands for a value",
        ),
        (f"a: 1\nb: {'7' * 5000}", "s:2:4\n  a whole number has at most 300 digits, and this one has more"),
        (f"a: 1{'0' * 300}", "a whole number has at most 300 digits, and this one has more"),
        (f"a: [1, -1{'0' * 300}]", "s:1:8\n  a whole number has at most 300 digits"),
    ],
)
def test_what_has_no_meaning_is_refused_at_its_place(text, sentence):
    assert sentence in error_of(text)


def test_a_whole_number_is_read_to_its_last_digit():
    for text, parse in (("a: -{}", parse_yaml), ("a = -{}", parse_toml)):
        assert parse(text.format("9" * 300), "s").at("a").value == 1 - 10**300


@pytest.mark.parametrize("digits", [301, 4000, 5000])
def test_a_long_whole_number_of_toml_is_refused_at_its_place(digits):
    text = error_of(f'a = 1\nb = "x"\nc = {"7" * digits}\n', parse_toml)
    assert text.startswith(f"s:3:{1 if digits < 4300 else 5}\n  a whole number has at most 300 digits")


@pytest.mark.parametrize(
    ("text", "parse", "sentence"),
    [
        (
            "a: 1\nb: 1e-2000",
            parse_yaml,
            "s:2:4\n  1e-2000 is nearer to 0 than any number but 0 itself: the smallest",
        ),
        ("a: [1, -.0_3E-999]", parse_yaml, "s:1:8\n  -.0_3E-999 is nearer to 0 than any number but 0 itself"),
        (f"a: 0.{'0' * 400}1", parse_yaml, "is nearer to 0 than any number but 0 itself: the smallest is 5e-324"),
        ("a = 1\nb = 2e-400", parse_toml, "s:2:1\n  2e-400 is nearer to 0 than any number but 0 itself"),
    ],
)
def test_a_number_that_would_become_0_is_refused_at_its_place(text, parse, sentence):
    assert sentence in error_of(text, parse)


def test_the_smallest_numbers_and_0_itself_are_read():
    for text, parse in (("a: {}", parse_yaml), ("a = {}", parse_toml)):
        assert [parse(text.format(one), "s").at("a").value for one in ("5e-324", "0e-2000", "-0.0")] == [5e-324, 0, 0]


# --- merge keys -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{<<: *a, y: 3}", {"x": 1, "y": 3}),
        ("{y: 3, <<: *a}", {"x": 1, "y": 3}),
        ("{<<: [*a, *b], w: 7}", {"x": 1, "y": 2, "z": 6, "w": 7}),
        ("{<<: [*b, *a]}", {"x": 5, "z": 6, "y": 2}),
        ("{<<: {q: 1}}", {"q": 1}),
        ("{<<: []}", {}),
        ('{"<<": 1}', {"<<": 1}),
        ("[<<]", ["<<"]),
    ],
)
def test_a_merge_key_brings_the_keys_of_mappings_and_those_that_stand_there_count(text, value):
    """https://yaml.org/type/merge.html: the mapping's own keys count, then the earlier mapping of a list."""
    assert parse_yaml(f"a: &a {{x: 1, y: 2}}\nb: &b {{x: 5, z: 6}}\nc: {text}", "s").at("c").plain() == value


def test_merged_values_keep_the_place_where_they_were_written():
    root = parse_yaml("a: &a\n  x: 1\n  y: 2\nb:\n  <<: *a\n  y: 3\n", "s")
    assert [str(node.mark) for node in root.at("b").map.values()] == ["s:2:3", "s:6:3"]
    assert root.at("b", "y").replaced.plain() == 2


def test_what_a_merge_brought_is_a_copy_of_its_own_under_an_override(tmp_path):
    (tmp_path / "s.yaml").write_text(
        dedent(
            """\
            network:
              inputs: [3, 8, 8]
              layers:
                - conv: &plain {out_channels: 4, kernel_size: 3, padding: 1}
                - conv: {<<: *plain, out_channels: 5}
            """
        )
    )
    changes = ["network.layers.conv_1.padding=0"]
    graph = trace(load(tmp_path / "s.yaml", changes))
    assert [tuple(node.shape) for node in graph.nodes] == [(4, 6, 6), (5, 6, 6)]
    asked = why(load(tmp_path / "s.yaml", changes), "network.layers.conv_2.out_channels", changes)
    assert [(one.value, one.mark.line, one.mark.column) for one in asked.replaced] == [(4, 4, 21)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: {<<: 3}", "s:1:5\n  `<<` takes a mapping or a list of mappings, not 3\n  Write `<<: *base`"),
        ("a: {<<: [3, {}]}", "s:1:10\n  `<<` takes a mapping or a list of mappings, not 3"),
        ("a: {<<: [[{}]]}", "s:1:10\n  `<<` takes a mapping or a list of mappings, not a list"),
        ("a: {<<: }", "`<<` takes a mapping or a list of mappings, not nothing"),
        ("a: {<<: {}, <<: {}}", "s:1:13\n  `<<` is given twice, first on line 1\n  Write one list: `<<: [*a, *b]`."),
        ("a: &a {<<: *a}", "`*a` contains itself"),
        ("a: {b: 1, b: 2, <<: {b: 3}}", "s:1:11\n  `b` is given twice"),
    ],
)
def test_a_merge_that_cannot_be_is_refused_at_its_place(text, sentence):
    assert sentence in error_of(text)


def test_merges_that_grow_are_bounded_like_aliases():
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: [x, x, x, x]" for i in range(9)) + "}"]
    lines += [f"a{n}: &a{n} {{{', '.join(f'k{i}: {{<<: *a{n - 1}}}' for i in range(9))}}}" for n in range(1, 14)]
    assert "holds more than 200,000 values" in error_of("\n".join(lines))


# --- the place of what stands behind an alias -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("vars: {b: &b 32}\nnetwork: {inputs: [4], layers: [relu]}\ntrain:\n  batch_sizes: *b\n", "4:3"),
        ("vars: {b: &b [1, 2]}\nnetwork: {inputs: [4], layers: [relu]}\ntrain:\n  batch_sizes: *b\n", "4:3"),
        ("vars: {b: &b much}\nnetwork: {inputs: [4], layers: [relu]}\ntrain:\n  batch_size: *b\n", "4:3"),
    ],
)
def test_a_key_is_refused_where_it_stands_though_its_value_is_an_alias(tmp_path, text, place):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SpecError) as error:
        trace(load(tmp_path / "s.yaml"))
    assert f"s.yaml:{place}  train.batch_size" in str(error.value)


def test_a_key_written_twice_by_aliases_names_the_lines_of_both():
    assert "s:3:1\n  `b` is given twice, first on line 2" in error_of("a: &x 1\nb: *x\nb: *x\n")


# --- tabs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a:\n  b: 1\n\t\n  c: 2\n", {"a": {"b": 1, "c": 2}}),
        ("a: 1\n\t# a remark\nb: 2\n", {"a": 1, "b": 2}),
        ("a:\n  - \t1\n  -\t2\n", {"a": [1, 2]}),
        ('{\n\t"a": 1,\n\t"b": {\n\t\t"c": [\n\t\t1]\n\t}\n}\n', {"a": 1, "b": {"c": [1]}}),
        ('\t{"a": 1}\n', {"a": 1}),
        ("x:\n  a: {\n\tb: 1,\n\tc: 2\n\t}\n", {"x": {"a": {"b": 1, "c": 2}}}),
        ("a: |\n  x\n  \t\n  y\n", {"a": "x\n\t\ny\n"}),
    ],
)
def test_a_tab_parts_words_fills_empty_lines_and_stands_in_braces(text, value):
    assert parse_yaml(text, "s").plain() == value


@pytest.mark.parametrize("text", ["a:\n\tb: 1\n", "a:\n\t- b\n", "a:\n  - \t- 1\n", "a:\n  - \tb: 1\n    c: 2\n"])
def test_a_tab_does_not_indent(text):
    assert "YAML indents with spaces; this line has a tab." in error_of(text)


def test_many_lines_with_tabs_end_within_bounds():
    text = "".join(f"a{i}: 1\n\t\n" for i in range(20_000))
    assert "YAML indents with spaces; this line has a tab." in error_of(text)
