"""Hydra's grammar as overrides take it: keys as files have them, and sweeps only as whole values."""

import subprocess
import sys

import pytest
from complaints import report

from dlx.errors import SpecError
from dlx.spec import hydra_grammar, load
from dlx.spec.overrides import apply, parse
from dlx.spec.syntax.read import parse_yaml
from dlx.sweeps.space import Space

SPEC = (
    "data: digits\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {epochs: 1, batch_size: 8}\nvars: {d: [1, 3]}\n"
)


@pytest.mark.parametrize("key", ["true", "1e3", "null", "1_0", "0x1", "-1.50", "1", "no", "q r"])
def test_a_key_of_a_mapping_is_what_a_file_has_there(tmp_path, key):
    in_file = parse_yaml(f"vars: {{{key}: 1}}", "s").at("vars").plain()
    override = apply(parse_yaml("vars: 1", "s"), [f"vars={{{key}: 1}}"], tmp_path)
    assert override.at("vars").plain() == in_file == {key: 1}


def test_a_key_that_a_mapping_gives_twice_is_refused(tmp_path):
    text = report(tmp_path, SPEC, "vars={a: 1, b: {c: 1, c: 2}}")
    assert (
        text == "override `vars={a: 1, b: {c: 1, c: 2}}`\n  `c` is given twice in one mapping\n  Keep one of the two."
    )


INSIDE = {
    "train.batch_size=16,choice(32,64)": (
        "`choice(32,64)` stands among the values of `train.batch_size`, and a sweep is the whole value of a key\n"
        "  Write one sweep: `train.batch_size=choice(16,32,64)`."
    ),
    "train.batch_size=16,range(1,4)": "Write one sweep: `train.batch_size=choice(16,1,2,3)`.",
    "train.batch_size=16,interval(1,4)": "Write one sweep: `train.batch_size=interval(1,4)`.",
    "vars.d=[choice(1,2),3]": (
        "`choice(1,2)` stands inside the value of `vars.d`, and a sweep is the whole value of a key\n"
        "  Write `vars.d.0=choice(1,2)` beside it, and one value in its place here."
    ),
    "train={epochs: 1, optimizer: {adam: {lr: interval(0.1,1)}}}": (
        "Write `train.optimizer.adam.lr=interval(0.1,1)` beside it, and one value in its place here."
    ),
    "vars.d=[glob([0.5,a])]": "Write `vars.d.0=glob(0.5,a)` beside it",
    "vars.d=a,choice({b: choice([1,2],c)})": "Write one sweep: `vars.d=choice(a,{b:choice([1,2],c)})`.",
    "vars.d=[[glob(*)]]": "Write `vars.d.0.0=glob(*)` beside it",
    "vars.d=choice([1,range(1,3)],2)": "Write `vars.d.1=range(1,3)` beside it",
    "train.batch_size=sort(1,choice(2,3))": "`sort(1,choice(2,3))` takes no sweep inside",
}


@pytest.mark.parametrize(("override", "sentence"), INSIDE.items(), ids=INSIDE)
def test_a_sweep_inside_a_value_is_refused_with_the_key_to_write(tmp_path, override, sentence):
    assert sentence in report(tmp_path, SPEC, override)
    with pytest.raises(SpecError) as error:
        Space.of(load(tmp_path / "s.yaml"), [override])
    assert sentence in str(error.value)
    assert "Sweep" not in str(error.value)


@pytest.mark.parametrize(
    ("refused", "followed"),
    [
        ("train.batch_size=16,choice(32,64)", ["train.batch_size=choice(16,32,64)"]),
        ("vars.d=[choice(1,2),3]", ["vars.d=[1,3]", "vars.d.0=choice(1,2)"]),
        (
            "train={epochs: 1, optimizer: {adam: {lr: interval(0.1,1)}}}",
            ["train={epochs: 1, optimizer: {adam: {lr: 1}}}", "train.optimizer.adam.lr=interval(0.1,1)"],
        ),
    ],
)
def test_the_way_out_leads_there(tmp_path, refused, followed):
    assert followed[-1] in report(tmp_path, SPEC, refused)
    space, _ = Space.of(load(tmp_path / "s.yaml"), followed)
    assert [d.key for d in space.dimensions] == [followed[-1].partition("=")[0]]


def test_a_sweep_inside_a_list_of_the_spec_is_refused_with_what_to_write(tmp_path):
    spec = SPEC + "sweep:\n  space:\n    train.batch_size: [16, 'choice(32, 64)']\n    vars.d: [[range(1, 3)], [1]]\n"
    text = report(tmp_path, spec)
    assert "s.yaml:7:5  train.batch_size\n  `choice(32, 64)` stands inside a list, and a sweep is the whole" in text
    assert "Write `train.batch_size: choice(32, 64)` without a list, or every value by itself." in text


@pytest.mark.parametrize("text", ["a=" + "7" * 301, "a=" + "7" * 5000, "a=[1,{b: " + "7" * 400 + "}]"])
def test_a_long_whole_number_is_refused(tmp_path, text):
    with pytest.raises(SpecError) as error:
        apply(parse_yaml("a: 1", "s"), [text], tmp_path)
    assert "a whole number has at most 300 digits" in str(error.value)


@pytest.mark.parametrize("text", ["a=1e-2000", "a={b: [2, .3e-400]}", "a=1,1e-999"])
def test_a_number_that_would_become_0_is_refused(text):
    with pytest.raises(SpecError) as error:
        parse(text)
    assert "is nearer to 0 than any number but 0 itself: the smallest is 5e-324" in str(error.value)
    assert error.value.problems[0].hint == "Write 0, where that is meant."


def test_what_is_no_number_or_is_0_is_taken():
    values = {"a='1e-2000'": "1e-2000", "a=v1e-999": "v1e-999", "a=[0e-999]": [0.0], "a={b: 5e-324}": {"b": 5e-324}}
    assert {text: hydra_grammar.plain(parse(text).value()) for text in values} == values


def test_hydras_other_forms_are_as_hydra_has_them():
    """https://hydra.cc/docs/advanced/override_grammar/basic/: types, quotes, escapes and casts."""
    values = {"a=1_000": 1000, "a=1e3": 1000.0, "a='1'": "1", "a=[1,b]": [1, "b"], r"a=b\,c": "b,c", "a=int(3.7)": 3}
    assert {text: parse(text).value() for text in values} == values


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train.seed", 10**30, "is beyond 9,223,372,036,854,775,807 (2^63 - 1)"),
        ("train.epochs", 2**63, "is beyond 9,223,372,036,854,775,807 (2^63 - 1)"),
        ("data.digits.seed", 10**20, "is beyond 9,223,372,036,854,775,807 (2^63 - 1)"),
        ("train.seeds", 99_999_999_999, "`seeds` must be at most 10,000, not "),
        ("+sweep.seeds", 99_999_999_999, "`seeds` must be at most 10,000, not "),
    ],
)
def test_a_number_that_no_training_can_have_is_refused(tmp_path, key, value, sentence):
    assert sentence in report(tmp_path, SPEC.replace("data: digits", "data: {digits: {}}"), f"{key}={value}")


def test_a_rate_may_have_any_number_of_digits(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    assert load(tmp_path / "s.yaml", [f"train.optimizer={{sgd: {{lr: 1{'0' * 25}}}}}"]).train.optimizer.lr == 1e25


NUMBERS = (
    "0",
    "7",
    "-3",
    "64",
    "0.5",
    "-0.25",
    "1e-3",
    "2.5E+07",
    "1e10",
    "-0",
    "-0.0",
    "123456789012345",
    "0.1234567890123",
)
WORDS = ("adam", "true", "false", "null", "he_normal", "_x", "A1", "e5", "True", "NULL", "inf", "NaN", "no", "x_1e5")
ODD = (
    "01",
    "1_000",
    "+5",
    "1.",
    ".5",
    "1e400",
    "0x1",
    "a-b",
    "a b",
    "",
    "a/b",
    "a.b",
    "[1,2]",
    "{a: 1}",
    "'a'",
    "1,2",
    "a:b",
)
KEYS = (
    "a",
    "train.batch_size",
    "network.layers.1.linear",
    "vars.d.0",
    "_a.b_1",
    "a.01",
    "a-b.c",
    "1.a",
    "a/b",
    "a..b",
    "a@b",
)


def test_simple_overrides_are_read_as_hydra_reads_them():
    """Of all that both can read the key, the sign and the value are those of Hydra's parser, types and signs too."""
    simple = 0
    for key in KEYS:
        for sign in ("", "+", "++"):
            for value in (*NUMBERS, *WORDS, *ODD):
                text = f"{sign}{key}={value}"
                ours = hydra_grammar.simple(text)
                if ours is None:
                    continue
                theirs = hydra_grammar._reader()(text)
                assert repr(ours.value()) == repr(hydra_grammar.plain(theirs.value())), text
                asked = ("is_add", "is_force_add", "is_delete", "is_sweep_override")
                assert [getattr(ours, name)() for name in asked] == [getattr(theirs, name)() for name in asked], text
                assert (ours.key_or_group, ours.package) == (theirs.key_or_group, theirs.package), text
                simple += 1
    assert simple == 3 * 5 * (len(NUMBERS) + 10)


@pytest.mark.parametrize(
    "text", [f"a={value}" for value in ODD] + ["a=True", "a=inf", "~a", "a", "a=1 ", " a=1", "+++a=1"]
)
def test_other_overrides_are_left_to_hydra(text):
    assert hydra_grammar.simple(text) is None


def test_numbers_and_words_are_set_without_an_import_of_hydra(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC)
    script = (
        "import sys; from dlx.__main__ import run\n"
        "sys.argv = ['dlx', 'inspect', 's.yaml', 'train.batch_size=16', '+train.optimizer=adam', 'train.epochs=3']\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print('hydra' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.endswith("False\n")
