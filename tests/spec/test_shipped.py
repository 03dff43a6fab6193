"""Specs that dlx brings are found by name from any folder, and in a wheel too."""

import json
import shutil
from pathlib import Path

import pytest
from commands import dlx
from helpers import ROOT, SHIPPED

from dlx.claims.verify import find_specs
from dlx.errors import SpecError
from dlx.graph import trace_all
from dlx.spec import load, shipped

NETWORK = "dlx: 1\nnetwork: {inputs: [4], layers: [{linear: 3}]}\n"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Path:
    """A working directory outside the clone, that is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wheel(tmp_path_factory, monkeypatch) -> Path:
    """A package `dlx` that holds its specs, as an installed wheel does."""
    package = tmp_path_factory.mktemp("site-packages") / "dlx"
    shutil.copytree(ROOT / "specs", package / "specs")
    monkeypatch.setattr(shipped, "PACKAGE", package)
    for cached in (shipped.folder, shipped._everything):
        cached.cache_clear()
    yield package / "specs"
    for cached in (shipped.folder, shipped._everything):
        cached.cache_clear()


def refusal(name: str) -> str:
    with pytest.raises(SpecError) as refused:
        load(name)
    return str(refused.value)


def test_the_names_are_those_of_all_whole_specs():
    assert shipped.names() == sorted(SHIPPED)
    assert {name: shipped.find(name) for name in SHIPPED} == SHIPPED


@pytest.mark.parametrize("name", ["zoo/gpt2", "zoo/gpt2.yaml", "specs/zoo/gpt2.yaml", "./zoo/gpt2"])
def test_a_shipped_spec_is_found_from_anywhere(elsewhere, name):
    assert trace_all(load(name)).params == 124_439_808  # as transformers has it


def test_a_file_of_the_user_comes_first_with_and_without_its_suffix(elsewhere):
    (elsewhere / "zoo").mkdir()
    (elsewhere / "zoo/gpt2.toml").write_text("network = { inputs = [4], layers = [{ linear = 3 }] }")
    assert trace_all(load("zoo/gpt2")).params == 15
    (elsewhere / "zoo/gpt2.yaml").write_text(NETWORK.replace("3", "2"))
    assert trace_all(load("zoo/gpt2")).params == 10
    assert trace_all(load("zoo/gpt2.toml")).params == 15


def test_a_name_that_is_none_is_reported_with_the_ones_like_it(elsewhere):
    assert refusal("zoo/gpt3").startswith("zoo/gpt3\n  there is no such file\n  Did you mean `zoo/gpt`")
    assert "Did you mean `digits/lenet` or `ihler/lenet`, which dlx ships?" in refusal("lenet")
    (elsewhere / "lenets.yaml").write_text(NETWORK)
    assert refusal("lenet.yaml").endswith("Did you mean lenets.yaml? dlx ships `digits/lenet` or `ihler/lenet`.")
    assert refusal("nowhere/at_all.yaml").endswith("There is no folder nowhere either.")


def test_parts_and_folders_are_reported_for_what_they_are(elsewhere):
    assert refusal("zoo/parts/inverted").endswith(
        "is a part of the specs that dlx ships, and no spec: "
        "the specs of `zoo` bring it in by `defaults: [parts/inverted]`"
    )
    assert refusal("nielsen/data/mnist").endswith("the specs of `nielsen` take it as their data, `+data=mnist`")
    assert "is a folder of the specs that dlx ships, and no spec\n  It holds digits/lenet;" in refusal("digits")


def test_a_spec_of_the_user_builds_on_a_shipped_one(elsewhere):
    (elsewhere / "mine.yaml").write_text("dlx: 1\ndefaults: [digits/lenet]\nnetwork: {inputs: [1, 8, 8]}\n")
    assert trace_all(load("mine.yaml")).params == 44_426  # LeNet's, worked out in specs/digits


def test_verify_takes_names_of_specs_and_folders(elsewhere):
    assert find_specs([Path("mnist1d")]) == find_specs([ROOT / "specs/mnist1d"])
    assert find_specs([Path("digits/lenet")]) == [SHIPPED["digits/lenet"]]
    assert set(find_specs([])) == set(SHIPPED.values())
    (elsewhere / "specs").mkdir()
    (elsewhere / "specs/mine.yaml").write_text(NETWORK)
    assert find_specs([]) == [Path("specs/mine.yaml")]


def test_in_a_wheel_parts_are_found_in_it_and_data_in_the_working_directory(elsewhere, wheel):
    (wheel.parent.parent / "base.yaml").write_text("network: {}")  # of nobody's business
    (elsewhere / "data").mkdir()
    (elsewhere / "data/mine.yaml").write_text("idx: {images: here.gz, labels: there.gz}")
    assert load("mnist1d/gru").path == wheel / "mnist1d/gru.yaml"
    assert trace_all(load("mnist1d/gru")).params == 5134  # the authors' log
    read = load("nielsen/network-1", ["+data=mnist"])
    assert read.data.images == elsewhere / "mnist/train-images-idx3-ubyte.gz"
    assert load("nielsen/network-1", ["+data=mine"]).data.images == elsewhere / "data/here.gz"
    (wheel / "zoo/odd.yaml").write_text("defaults: [base]\n")
    with pytest.raises(SpecError, match=r"there is no file base\.yaml"):
        load(wheel / "zoo/odd.yaml")


def test_a_folder_called_specs_beside_an_install_is_not_of_dlx(tmp_path, monkeypatch):
    (tmp_path / "specs").mkdir()
    monkeypatch.setattr(shipped, "PACKAGE", tmp_path / "dlx")
    assert shipped.folder.__wrapped__() is None


def test_dlx_specs_lists_them_with_their_sources():
    document = json.loads(dlx("specs", "--json").stdout)
    listed = {one["name"]: one["source"] for one in document["specs"]}
    assert sorted(SHIPPED) == list(listed)
    assert listed["cs231n/resnet34"] == "He et al. 2015, arXiv:1512.03385, table 1"  # from its `defaults`
    assert all(listed.values())
    shown = dlx("specs", "zoo").stdout.splitlines()
    assert "zoo/gpt2" in [line.split()[0] for line in shown if line.strip()]
    wrong = dlx("specs", "zo")
    assert (wrong.returncode, wrong.stderr.split()[-1]) == (2, "`zoo`?")
