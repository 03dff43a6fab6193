"""Several files to one: what is on top, where each value was written, and what is missing."""

from pathlib import Path

import pytest
from complaints import lines

from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load
from dlx.spec.compose import compose, find

NET = "network: {inputs: [1, 8, 8], layers: [flatten, {linear: 10}]}\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that nothing outside is found from."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    """`data__m="..."` is the file `data/m.yaml`."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def composed(folder: Path, text: str) -> dict:
    write(folder, s=text)
    return compose(folder / "s.yaml").plain()


def refused(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as error:
        composed(folder, text)
    return str(error.value).replace(f"{folder}/", "").replace(str(folder), "HERE")


def test_a_spec_without_defaults_is_itself(folder):
    assert composed(folder, "vars: {a: 1}\n") == {"vars": {"a": 1}}


def test_this_file_goes_on_top_unless_self_says_otherwise(folder):
    write(folder, base="vars: {a: 1, b: 1}\nname: base\n")
    assert composed(folder, "defaults: [base]\nvars: {b: 2, c: 2}\n") == {
        "vars": {"a": 1, "b": 2, "c": 2},
        "name": "base",
    }
    assert composed(folder, "defaults: [base, _self_]\nvars: {b: 2}\n")["vars"] == {"a": 1, "b": 2}
    assert composed(folder, "defaults: [_self_, base]\nvars: {b: 2}\n")["vars"] == {"a": 1, "b": 1}


def test_what_stands_below_in_the_list_goes_on_top(folder):
    write(folder, one="vars: {a: 1, b: 1, c: 1}\n", two="vars: {b: 2, c: 2}\n")
    text = "vars: {c: 3}\n"
    assert composed(folder, f"defaults: [one, two]\n{text}")["vars"] == {"a": 1, "b": 2, "c": 3}
    assert composed(folder, f"defaults: [two, one]\n{text}")["vars"] == {"a": 1, "b": 1, "c": 3}
    assert composed(folder, f"defaults: [one, _self_, two]\n{text}")["vars"] == {"a": 1, "b": 2, "c": 2}


def test_defaults_may_have_defaults(folder):
    write(folder, ground="vars: {a: 0, b: 0, c: 0}\n", base="defaults: [ground]\nvars: {b: 1, c: 1}\n")
    assert composed(folder, "defaults: [base]\nvars: {c: 2}\n") == {"vars": {"a": 0, "b": 1, "c": 2}}


def test_a_group_is_a_section_from_a_file_of_its_own(folder):
    write(folder, data__small="digits: {valid: 0.1}\n", train__optimizer__fast="sgd: {lr: 0.5}\n", data__none="")
    text = "defaults: [{data: small}, {train/optimizer: fast}, {objective: null}]\ntrain: {steps: 3}\n"
    assert composed(folder, text) == {
        "data": {"digits": {"valid": 0.1}},
        "train": {"optimizer": {"sgd": {"lr": 0.5}}, "steps": 3},
    }


def test_files_are_found_beside_the_spec_above_it_and_under_specs(folder):
    write(folder, near="vars: {a: near}\n", deep__near="vars: {a: deep}\n", specs__far="vars: {a: far}\n")
    (folder / "deep/er").mkdir()
    (folder / "deep/tune.toml").write_text("vars = {a = 'toml'}\n")
    spec = folder / "deep/er/s.yaml"
    found = {name: find(name, spec) for name in ("near", "far", "tune", "tune.toml", "nowhere", "n" * 300)}
    assert {name: str(path.relative_to(folder)) for name, path in found.items() if path} == {
        "near": "deep/near.yaml",
        "far": "specs/far.yaml",
        "tune": "deep/tune.toml",
        "tune.toml": "deep/tune.toml",
    }


def test_lists_and_single_values_are_replaced_whole(folder):
    write(folder, base="vars: {a: [1, 2, 3], b: {c: 1}}\nfreeze: [x]\n")
    text = "defaults: [base]\nvars: {a: [9], b: 7}\nfreeze: [y]\n"
    assert composed(folder, text) == {"vars": {"a": [9], "b": 7}, "freeze": ["y"]}


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ("data: {digits: {valid: 0.1}}", "data: {mnist1d: {seed: 1}}", {"data": {"mnist1d": {"seed": 1}}}),
        ("data: digits", "data: {digits: {valid: 0.1}}", {"data": {"digits": {"valid": 0.1}}}),
        (
            "data: {digits: {valid: 0.1}}",
            "data: {digits: {test: 0.2}}",
            {"data": {"digits": {"valid": 0.1, "test": 0.2}}},
        ),
        (
            "train: {steps: 1, optimizer: {sgd: {lr: 1}}}",
            "train: {optimizer: {adam: {}}}",
            {"train": {"steps": 1, "optimizer": {"adam": {}}}},
        ),
        (
            "objective: {classification: {loss: {cross_entropy: {reduction: sum}}}}",
            "objective: {classification: {loss: {squared_error: {}}}}",
            {"objective": {"classification": {"loss": {"squared_error": {}}}}},
        ),
        ("init: {he_normal: {mode: fan_out}}", "init: {glorot_normal: {}}", {"init": {"glorot_normal": {}}}),
    ],
)
def test_another_kind_replaces_a_section_that_holds_one_and_the_same_kind_joins_it(folder, base, over, merged):
    write(folder, base=base)
    assert composed(folder, f"defaults: [base]\n{over}\n") == merged


def test_every_value_keeps_the_place_where_it_was_written(folder):
    write(folder, base=f"vars:\n  a: 1\n{NET}", data__small="\n\ndigits:\n  valid: 0.1\n")
    write(folder, s="defaults:\n  - base\n  - data: small\nvars:\n  b: 2\n")
    root = compose(folder / "s.yaml")
    places = {
        ("vars", "a"): "base.yaml:2:3",
        ("vars", "b"): "s.yaml:5:3",
        ("data", "digits", "valid"): "data/small.yaml:4:3",
        ("network", "layers", 1, "linear"): "base.yaml:3:49",
    }
    for path, place in places.items():
        assert str(root.at(*path).mark) == f"{folder}/{place}", path


def test_a_mistake_of_a_base_is_reported_there_and_one_of_the_spec_here(folder):
    write(folder, base=NET.replace("flatten", "flaten"), data__small="digits: {vlid: 0.1}\n")
    write(folder, s="defaults: [base, {data: small}]\ntrain: {epohs: 3}\n")
    with pytest.raises(SpecError) as error:
        trace(load(folder / "s.yaml"))
    assert [str(p.mark).replace(f"{folder}/", "") for p in error.value.problems] == [
        "base.yaml:1:39",
        "data/small.yaml:1:10",
        "s.yaml:2:9",
    ]


def test_all_defaults_that_are_missing_are_reported_at_once(folder):
    write(folder, base=NET, data__small="digits: {}\n")
    assert refused(folder, "defaults:\n  - bsae\n  - data: smal\n  - nothing\n") == lines(
        """
        s.yaml:2:5  defaults
          there is no file bsae.yaml or bsae.toml
          Did you mean `base`? Looked in HERE, the folders above it, ./specs, and the specs that dlx ships.
        s.yaml:3:5  defaults
          there is no file data/smal.yaml or data/smal.toml
          Did you mean `small`? Looked in HERE, the folders above it, ./specs, and the specs that dlx ships.
        s.yaml:4:5  defaults
          there is no file nothing.yaml or nothing.toml
          There is base. Looked in HERE, the folders above it, ./specs, and the specs that dlx ships.
        """
    ).replace("There is base. ", refused_hint(folder))


def refused_hint(folder: Path) -> str:
    """The names that a file could be meant by, in the folders that were looked in."""
    text = refused(folder, "defaults: [nothing]\n").splitlines()[2].strip()
    return text.partition("Looked in")[0]


def test_a_default_that_is_broken_is_reported_where_it_breaks(folder):
    write(folder, base="network: [\n")
    assert refused(folder, "defaults: [base]\n").startswith("base.yaml:1:10\n  is not valid YAML")


@pytest.mark.parametrize(
    ("files", "text", "place", "chain"),
    [
        ({}, "defaults: [s]\n", "s.yaml:1:12", "s.yaml -> s.yaml"),
        (
            {"a": "defaults: [b]\n", "b": "defaults: [a]\n"},
            "defaults: [a]\n",
            "b.yaml:1:12",
            "s.yaml -> a.yaml -> b.yaml -> a.yaml",
        ),
    ],
)
def test_defaults_that_run_in_a_circle_say_so_where_it_closes(folder, files, text, place, chain):
    write(folder, **files)
    assert refused(folder, text) == (
        f"{place}  defaults\n  `defaults` run in a circle: {chain}\n  Take one of them out."
    )


def test_defaults_that_double_end_in_an_error(folder):
    write(folder, **{f"f{i}": f"defaults: [f{i + 1}, f{i + 1}]\n" for i in range(40)}, f40="vars: {a: 1}\n")
    assert "`defaults` name more than 100 files in all" in refused(folder, "defaults: [f0]\n")


@pytest.mark.parametrize(
    ("defaults", "sentence"),
    [
        ("base", '`defaults` must be a list, not "base"\n  Write `- base` or `- data: mnist1d`.'),
        ("{data: small}", '`defaults` must be a list, not {data: "small"}'),
        ("", "`defaults` must be a list, not nothing"),
        ("[3]", "an entry of `defaults` must be a file or `group: option`, not 3"),
        ("['']", 'an entry of `defaults` must be a file or `group: option`, not ""'),
        ("[[base]]", 'must be a file or `group: option`, not ["base"]'),
        ("[{data: small, train: fast}]", 'must be a file or `group: option`, not {data: "small", train: "fast"}'),
        ("[{data: [small]}]", "must be a file or `group: option`"),
        ("[{override data: small}]", 'must be a file or `group: option`, not {override data: "small"}'),
        ("[_self_, _self_]", "`defaults` names _self_ twice, first on line 1\n  Keep one of the two."),
    ],
)
def test_defaults_of_another_form_are_refused_in_a_sentence(folder, defaults, sentence):
    text = refused(folder, f"defaults: {defaults}\n")
    assert text.startswith("s.yaml:1:")
    assert sentence in text


def test_a_file_that_is_a_circle_of_links_cannot_be_read(tmp_path):
    (tmp_path / "s.yaml").symlink_to("s.yaml")
    with pytest.raises(SpecError, match=r"s.yaml\n  cannot be read: too many levels of symbolic links"):
        load(tmp_path / "s.yaml")


@pytest.mark.parametrize("entry", ["a" * 300, "data: " + "a" * 300, f"{'a' * 300}/b: c"])
def test_a_name_that_no_file_can_have_is_refused_like_one_that_is_not_there(tmp_path, entry):
    (tmp_path / "s.yaml").write_text(f"defaults: [{{{entry}}}]\n" if ":" in entry else f"defaults: [{entry}]\n")
    with pytest.raises(SpecError) as error:
        load(tmp_path / "s.yaml")
    assert "there is no file" in str(error.value)


@pytest.mark.parametrize("own", ["", "dlx: 1\n"])
def test_a_file_of_another_version_is_refused_below_one_of_this_version_too(tmp_path, own):
    (tmp_path / "base.yaml").write_text("dlx: 99\nnetwork: {inputs: [4], layers: [{linear: 2}]}\n")
    (tmp_path / "s.yaml").write_text(f"{own}defaults: [base]\n")
    with pytest.raises(SpecError) as error:
        load(tmp_path / "s.yaml")
    (problem,) = error.value.problems
    assert str(problem.mark) == f"{tmp_path / 'base.yaml'}:1:1"
    assert problem.message == "`dlx: 99` is a version of the format that this dlx does not read"
    assert problem.hint == "It reads `dlx: 1`."


def test_data_of_no_kind_that_a_spec_replaces_is_told_where_it_stands(tmp_path):
    (tmp_path / "base.yaml").write_text("data: {digitss: {test: 0.5}}\nnetwork: {layers: [flatten, {linear: 10}]}\n")
    (tmp_path / "s.yaml").write_text("defaults: [base]\ndata: {digits: {valid: 0.1}}\n")
    (problem,) = load(tmp_path / "s.yaml").problems
    assert str(problem.mark) == f"{tmp_path / 'base.yaml'}:1:8"
    assert (problem.message, problem.hint) == (
        "there is no data set `digitss`",
        "Did you mean `digits` or `digit_strokes`?",
    )
