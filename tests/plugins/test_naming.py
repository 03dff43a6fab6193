"""Which files `plugins` names: through `defaults`, groups, `--plugin` and overrides; and from where paths start."""

from __future__ import annotations

import hashlib
import json

import pytest
from plugin_files import HEAD, dlx, layer, write

from dlx import plugins
from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

ONES = '''from typing import ClassVar

from dlx.init import Initializer


class Ones(Initializer):
    """Ones."""

    kind: ClassVar[str] = "all_ones"

    def fill(self, weight):
        weight.fill_(1)
'''
MINE = '''from typing import ClassVar

from dlx.optim import Optimizer


class Mine(Optimizer):
    """Mine."""

    kind: ClassVar[str] = "mine"
    torch_name: ClassVar[str] = "SGD"
    lr: float = 0.1
'''
NET = "network: {{inputs: [4], layers: [{}]}}\n"


@pytest.fixture(autouse=True)
def _leave_no_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    plugins.use(())


def kinds(path, *more, **named) -> list[str]:
    return [node.kind for node in trace(load(path, *more, **named)).nodes]


def test_plugins_of_defaults_come_first_each_from_the_folder_of_its_file(tmp_path):
    write(tmp_path, parts__one=HEAD + layer("one"), two=HEAD + layer("two"), parts__base_yaml="plugins: [one.py]\n")
    spec = write(tmp_path, s_yaml="defaults: [parts/base]\nplugins: [two.py]\n" + NET.format("one, two"))
    assert kinds(spec) == ["one", "two"]
    assert [one.name for one in load(spec).plugins] == ["one.py", "two.py"]


def test_self_before_a_default_puts_the_spec_s_own_first(tmp_path):
    write(tmp_path, one=HEAD + layer("one"), two=HEAD + layer("two"), base_yaml="plugins: [one.py]\n")
    spec = write(tmp_path, s_yaml="defaults: [_self_, base]\nplugins: [two.py]\n" + NET.format("one, two"))
    assert [one.name for one in load(spec).plugins] == ["two.py", "one.py"]


def test_a_file_of_a_group_brings_its_plugins_in_defaults_and_as_an_override(tmp_path):
    write(tmp_path, init__ones=ONES, init__mine_yaml="plugins: [ones.py]\nall_ones: {}\n")
    first = write(tmp_path, a_yaml="defaults: [{init: mine}]\n" + NET.format("linear: 2"))
    second = write(tmp_path, b_yaml=NET.format("linear: 2"))
    for found in (load(first), load(second, ["init=mine"])):
        assert found.init.kind == "all_ones"
        assert [one.name for one in found.plugins] == ["ones.py"]


def test_kinds_of_plugins_decide_what_a_default_replaces(tmp_path):
    """A section that holds no kind joins: the plugin has run before `base` and the spec meet."""
    write(tmp_path, mine=MINE)
    write(tmp_path, base_yaml=NET.format("linear: 2") + "train: {epochs: 1, optimizer: {sgd: {momentum: 0.9}}}\n")
    spec = write(tmp_path, s_yaml="defaults: [base]\nplugins: [mine.py]\ntrain: {optimizer: {mine: {lr: 0.5}}}\n")
    found = load(spec)
    assert not found.problems
    assert (found.train.optimizer.kind, found.train.optimizer.lr) == ("mine", 0.5)
    assert load(spec, ["train.optimizer.mine.lr=0.25"]).train.optimizer.lr == 0.25


def test_plugin_options_and_overrides_start_at_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, here__one=HEAD + layer("one"), here__two=HEAD + layer("two"), away__three=HEAD + layer("three"))
    spec = write(tmp_path, away__s_yaml="plugins: [three.py]\n" + NET.format("three"))
    monkeypatch.chdir(tmp_path / "here")
    assert [one.name for one in load(spec, plugins=["one.py", "two.py"]).plugins] == ["three.py", "one.py", "two.py"]
    found = load(spec, ["plugins=[two.py]", "network.layers.0=two"])
    assert [one.name for one in found.plugins] == ["two.py"]
    assert [one.name for one in load(spec, ["plugins.0=one.py"]).plugins] == ["one.py"]
    assert load(spec, ["~plugins"]).plugins == ()


def test_one_file_by_several_names_runs_once(tmp_path):
    path = write(tmp_path, one=HEAD + "print('it runs')\n\n\n" + layer("one"))
    (tmp_path / "link.py").symlink_to(path)
    write(tmp_path, copy__one=path.read_text())
    names = ["one.py", "./one.py", str(path), "link.py", "copy/one.py"]
    spec = write(tmp_path, s_yaml=f"plugins: {json.dumps(names)}\n" + NET.format("one"))
    status, out, err = dlx("inspect", spec)
    assert status == 0
    assert "it runs" not in out
    assert err.count("it runs") == 1
    assert err.count("runs the code of") == 1


def test_two_files_of_one_name_are_two_plugins_with_copies_of_their_own(tmp_path):
    write(tmp_path, a__part=HEAD + layer("one"), b__part=HEAD + layer("two"))
    spec = write(tmp_path, s_yaml="plugins: [a/part.py, b/part.py]\n" + NET.format("one, two"))
    found = load(spec)
    found.keep_plugins(tmp_path / "run")
    (tmp_path / "run" / "spec.yaml").write_text(found.resolved())
    assert sorted(p.name for p in (tmp_path / "run/plugins").iterdir()) == ["part.py", "part_2.py"]
    again = load(tmp_path / "run" / "spec.yaml")
    assert again.resolved() == found.resolved()
    assert kinds(tmp_path / "run" / "spec.yaml") == ["one", "two"]


def test_toml_names_plugins_too(tmp_path):
    write(tmp_path, one=HEAD + layer("one"))
    spec = write(tmp_path, s_toml='plugins = ["one.py"]\n[network]\ninputs = [4]\nlayers = ["one"]\n')
    assert kinds(spec) == ["one"]


def test_a_package_s_module_is_named_as_python_imports_it_and_kept_whole(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    write(tmp_path, **{"kindpack/__init__.py": "", "kindpack/sub/__init__.py": "", "kindpack/data.txt": "not kept"})
    write(tmp_path, kindpack__sub__helper="FACTOR = 3\n")
    text = HEAD + "from .sub.helper import FACTOR\nfrom kindpack.sub import helper\n\n\n" + layer("packed")
    write(tmp_path, kindpack__parts=text)
    spec = write(tmp_path, s_yaml="plugins: [kindpack.parts]\n" + NET.format("packed"))
    found = load(spec)
    found.keep_plugins(tmp_path / "run")
    (tmp_path / "run" / "spec.yaml").write_text(found.resolved())
    files = {str(p.relative_to(tmp_path / "run/plugins")) for p in (tmp_path / "run").rglob("*.py")}
    assert files == {
        "kindpack/__init__.py",
        "kindpack/parts.py",
        "kindpack/sub/__init__.py",
        "kindpack/sub/helper.py",
    }
    status, out, _ = dlx("inspect", tmp_path / "run" / "spec.yaml", "--json")
    assert status == 0
    assert json.loads(out)["plugins"][0]["name"] == "kindpack/parts.py"
    by_path = write(tmp_path, t_yaml="plugins: [kindpack/parts.py]\n" + NET.format("packed"))
    assert load(by_path).plugins == found.plugins


def test_a_digest_in_a_spec_is_that_of_sha256sum_and_refuses_another_text(tmp_path):
    path = write(tmp_path, one=HEAD + layer("one"))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    spec = write(tmp_path, s_yaml=f"plugins: [{{file: one.py, sha256: {digest}}}]\n" + NET.format("one"))
    assert kinds(spec) == ["one"]
    spec.write_text(spec.read_text().replace(digest, "a" * 64))
    with pytest.raises(SpecError) as refused:
        load(spec)
    assert str(refused.value) == (
        f"{spec}:1:11  plugins\n  the plugin one.py has changed: its digest was aaaaaaaaaaaa, and is {digest[:12]}\n"
        "  Bring the old file back, or train anew."
    )


def test_a_spec_without_the_plugin_does_not_know_its_kinds_afterwards(tmp_path):
    write(tmp_path, one=HEAD + layer("one"))
    spec = write(tmp_path, s_yaml="plugins: [one.py]\n" + NET.format("one"))
    bare = write(tmp_path, t_yaml=NET.format("one"))
    with_it, without = load(spec), load(bare)
    with pytest.raises(SpecError, match="there is no layer or block `one`"):
        trace(without)
    assert [node.kind for node in trace(with_it).nodes] == ["one"]


def test_two_versions_of_one_plugin_stand_beside_each_other(tmp_path):
    write(tmp_path, a__part=HEAD + layer("one", "return Plan((2 * x[0],))"))
    write(tmp_path, b__part=HEAD + layer("one", "return Plan((3 * x[0],))"))
    a = write(tmp_path, a__s_yaml="plugins: [part.py]\n" + NET.format("one"))
    b = write(tmp_path, b__s_yaml="plugins: [part.py]\n" + NET.format("one"))
    status, out, _ = dlx("diff", a, b, "--json")
    document = json.loads(out)
    assert status == 0
    assert document["layers"][0]["shape"] == {"a": [8], "b": [12]}
    (setting,) = document["settings"]
    assert setting["key"] == "plugins"
    assert setting["a"][0].startswith("part.py ")
    assert setting["a"] != setting["b"]
    assert dlx("diff", a, a)[1] == dlx("diff", a, a, "--plugin", tmp_path / "a" / "part.py")[1]


def test_why_tells_where_a_plugin_is_named(tmp_path):
    write(tmp_path, one=HEAD + layer("one"), two=HEAD + layer("two"))
    spec = write(tmp_path, s_yaml="plugins: [one.py]\n" + NET.format("one"))
    status, out, _ = dlx("why", spec.name, "plugins", "--plugin", "two.py")
    assert status == 0
    assert f'0.file    "{tmp_path}'[:60] in out
    assert "s.yaml:1:11" in out
    assert "--plugin two.py" in out
