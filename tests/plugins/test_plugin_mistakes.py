"""What is said of a plugin that cannot be found, cannot run, or brings what cannot stand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugin_files import HEAD, dlx, layer, write

from dlx import plugins
from dlx.errors import SpecError
from dlx.graph import trace
from dlx.spec import load

SPEC = """plugins: [{}]
network:
  inputs: [8]
  layers: [{{linear: 4}}, part]
"""
CLASS = 'class Part(Layer):\n    """A part."""\n\n    kind: ClassVar[str] = "part"\n'
NAMED = "It is named at s.yaml:1:11."
OF_FILE = "The file is named at s.yaml:1:11."


@pytest.fixture(autouse=True)
def _leave_no_kinds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    plugins.use(())


def said(entry: str, **texts: str) -> list[str]:
    """The lines of an error about a spec, `s.yaml`, with this plugin."""
    write(Path(), **texts, s_yaml=SPEC.format(entry))
    with pytest.raises(SpecError) as error:
        trace(load("s.yaml"))
    return [line.strip() for line in str(error.value).splitlines()]


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ("nope.py", "there is no file nope.py", "a.py"),
        ("folder/", "folder/ is a folder, and a plugin is a file or a module", "Name a file of it: folder/b.py."),
        ("folder/b.txt", "folder/b.txt is no Python file", "The name of one ends in `.py`."),
        ("b.txt", "there is no module `b.txt` to import", "A plugin file ends in `.py`."),
        ("sys", "`sys` is no Python file, of which a run could keep a copy", ""),
        ("no_such.module", "there is no module `no_such.module` to import", "Is its package installed?"),
        ("a", "there is no module `a` to import", "Did you mean a.py?"),
        ("dlx.layers.conv", "dlx.layers.conv is dlx's own", "Its kinds are there without it."),
        ("torch.nn", "the package `torch` is too large to be kept with each run", "at most 1,000 files"),
        ('"${x}.py"', "`plugins` are read before `vars`, and take no ${...}", "Write the name of the file."),
        ("3", "an entry of `plugins` must be a file or a module, not 3", "Write `plugins: [my_layers.py]`"),
        ("{file: a.py, sha: x}", "an entry of `plugins` must be a file or a module, not {file:", "with a digest"),
    ],
)
def test_an_entry_that_is_no_plugin(entry, message, hint):
    write(Path(), a=HEAD + layer("part"), folder__b=HEAD, **{"folder/b.txt": "", "b.txt": ""})
    place, found, *more = said(entry)
    assert place == "s.yaml:1:11  plugins"
    assert found.startswith(message)
    assert hint in "".join(more)


def test_a_folder_without_init_is_refused_as_a_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = said("loose_folder.part", loose_folder__part=HEAD + layer("part"))
    assert lines[1] == "`loose_folder` is a folder without an `__init__.py`, of which a run could keep no copy"
    assert lines[2] == "Give it an `__init__.py`, or name the file: loose_folder/part.py."


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("def f(:\n", "p.py:7:7", "is not valid Python: invalid syntax", NAMED),
        ("def f():\npass\n", "p.py:8:1", "is not valid Python: expected an indented block", NAMED),
        ("def f():\n    1 / 0\n\n\nf()\n", "p.py:8", "raises ZeroDivisionError as it is imported", NAMED),
        (
            "import no_such\n",
            "p.py:7",
            "raises ModuleNotFoundError as it is imported: No module named",
            "Install `no_such`",
        ),
        (
            "from .b import x\n",
            "p.py:7",
            "raises ImportError as it is imported: attempted relative",
            "Give the folder an",
        ),
        (
            "import beside_it\n",
            "p.py:7",
            "raises ModuleNotFoundError",
            "beside_it.py lies beside it. A plugin file is run",
        ),
        ("raise SystemExit(3)\n", "p.py:7", "ends the program (sys.exit) as it is imported", NAMED),
        ("x = 1\n", "p.py", "defines no kind", "derives from one of dlx"),
        (
            layer("my part"),
            "p.py:7",
            "the kind of `Part` must be a word of letters, digits and `_`, not 'my part'",
            OF_FILE,
        ),
        (CLASS.replace('"part"', "3"), "p.py:7", "the kind of `Part` must be a word", OF_FILE),
        (
            CLASS.replace("ClassVar[str]", "str"),
            "p.py:7",
            "`kind` is a field of `Part`, and no kind",
            "Write `kind: Cl",
        ),
        (CLASS + "    size: 'Nope'\n", "p.py:7", "the fields of `Part` cannot be read: name 'Nope' is not", OF_FILE),
        (layer("repeat"), "p.py:7", "a layer cannot be called `repeat`, which means something else", OF_FILE),
        (
            layer("conv"),
            "p.py:7",
            "`Part` is called `conv`, and dlx has a layer of that kind (dlx.layers.conv)",
            OF_FILE,
        ),
        (
            layer("part") + layer("part", name="Other"),
            "p.py:19",
            "`Part` and `Other` are both called `part`",
            OF_FILE,
        ),
        (
            layer("part")
            + layer("q", name="Q").rstrip()
            + "\n\n    example: ClassVar[Example] = Example({}, [(3,)], shape=(4,))\n",
            "p.py:19",
            "`Q` has a wrong example: shape is (4,) by hand and (3,) by its plan",
            OF_FILE,
        ),
    ],
)
def test_a_plugin_that_cannot_stand_is_reported_of_at_its_own_line(text, place, message, hint):
    write(Path(), beside_it="")
    where, found, *more = said("p.py", p=HEAD + text)
    assert where == f"{place}  plugins"
    assert found.startswith(message)
    assert hint in "".join(more)


def test_all_mistakes_of_all_plugins_are_reported_at_once():
    lines = said("a.py, b.py", a=HEAD + layer("conv") + layer("1", name="Other"), b="def f(:\n")
    assert [line for line in lines if line.endswith("  plugins")] == [
        "a.py:7  plugins",
        "a.py:19  plugins",
        "b.py:1:7  plugins",
    ]


def test_two_plugins_with_one_kind_are_named_both():
    lines = said("a.py, b.py", a=HEAD + layer("part"), b=HEAD + "\n\n" + layer("part"))
    assert lines == ["b.py:9  plugins", "a layer `part` is defined here and at a.py:7", "Rename one of the two."]


@pytest.mark.parametrize(
    ("plan", "message", "hint"),
    [
        ("return 1 / 0", "`part` of p.py:7 raised ZeroDivisionError: division by zero", "It did so at p.py:13."),
        ("raise SystemExit(1)", "`part` of p.py:7 ends the program (sys.exit)", "It did so at p.py:13."),
        ("pass", "the plan of `part` of p.py:7 is nothing, and no `Plan`; what comes in is (4,)", "Return `Plan"),
        ("return Plan((x[0] / 2,))", "the plan of `part` of p.py:7 gives the shape [2.0]", "whole numbers from 1"),
        ("return Plan((0,))", "the plan of `part` of p.py:7 gives the shape [0]", "whole numbers from 1"),
        ("return Plan(x, {'w': 3})", "the plan of `part` of p.py:7 gives the weights {w: 3}", "a shape by name"),
        ("return Plan(x, macs=1.5)", "the plan of `part` of p.py:7 gives 1.5 MACs", "a whole number from 0"),
        (
            "return Plan(x, window='near')",
            'the plan of `part` of p.py:7 gives the window "near"',
            "pointwise, global",
        ),
    ],
)
def test_a_plan_that_is_none_is_reported_of_at_the_layer_in_the_spec(plan, message, hint):
    where, found, *more = said("p.py", p=HEAD + layer("part", plan))
    assert where == "s.yaml:4:25  network.layers.part_1"
    assert found.startswith(message)
    assert hint in "".join(more)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("return None", "`part` of p.py:7 raised TypeError: module() returned NoneType, and no torch.nn.Module"),
        ("return nn.Linear(x[7], 1)", "`part` of p.py:7 raised IndexError: tuple index out of range"),
        ("self.n = 3", "`part` of p.py:7 raised ValidationError: n: Instance is frozen"),
        ("return nn.Linear(9, 1)", "`part` of p.py:7 raised RuntimeError: "),
    ],
)
def test_a_module_that_cannot_be_measured_is_reported_of_as_well(module, message):
    text = CLASS + f"\n    def module(self, x):\n        {module}\n"
    where, found, *_ = said("p.py", p=HEAD + text)
    assert where == "s.yaml:4:25  network.layers.part_1"
    assert found.startswith(message)


TRAINED = """plugins: [p.py]
data: {{digits: {{train: 100}}}}
network: {{layers: [flatten, part, {{linear: 10}}]}}
train: {{steps: 2}}
track: {{mlflow: false}}
"""


CALLS = """

def Module(function):
    class Calls(nn.Module):
        def forward(self, x):
            return function(x)

    return Calls()
"""


@pytest.mark.parametrize(
    ("plan", "module", "message"),
    [
        ("Plan(x)", "nn.Linear(64, 32)", "its plan has the weights none, and its module weight (32, 64), bias (32,)"),
        (
            "Plan((8,), {'weight': (8, 64), 'bias': (8,)})",
            "nn.Linear(64, 9)",
            "its plan has the weights weight (8, 64), bias (8,), and its module weight (9, 64), bias (9,)",
        ),
        ("Plan((8,))", "nn.Identity()", "its plan gives (8,) a sample, and its module (64,)"),
        ("Plan(x)", "Module(lambda y: y.double())", "its plan gives values of float32, and its module of float64"),
        ("Plan(x)", "Module(lambda y: y > 0)", "its plan gives values of float32, and its module of bool"),
        (
            "Plan(x)",
            "Module(lambda y: y[:1])",
            "its module gives (1, 64) for a batch of 2, and the first axis is the",
        ),
        ("Plan(x)", "lambda y: y", "its module() returned function, and no torch.nn.Module"),
        ("Plan(x)", "1 / 0", "raised ZeroDivisionError: division by zero"),
    ],
)
def test_a_plan_that_its_module_does_not_keep_is_refused_before_training_with_both(plan, module, message):
    text = layer("part", f"return {plan}").replace("return nn.Identity()", f"return {module}") + CALLS
    write(Path(), p=HEAD + text, s_yaml=TRAINED.format())
    assert dlx("inspect", "s.yaml")[0] == 0, "torch is not asked by `inspect`"
    status, out, _ = dlx("train", "s.yaml", "--json")
    (error,) = json.loads(out)["errors"]
    assert status == 2
    assert message in error["message"]
    assert "`part` of p.py:7" in error["message"]
    assert (error["file"], error["line"]) == ("s.yaml", 3)


def test_an_error_in_the_forward_pass_is_one_sentence_with_the_line_of_the_plugin():
    text = layer("part").replace(
        "return nn.Identity()",
        "class Module(nn.Module):\n            def forward(self, x):\n                if x.mean() > 0:\n"
        "                    raise ValueError('too bright')\n                return x\n\n        return Module()",
    )
    write(Path(), p=HEAD + text, s_yaml=TRAINED.format())
    status, out, err = dlx("train", "s.yaml")
    assert (status, out) == (1, "")
    assert "p.py:19  plugins\n  raised ValueError: too bright" in err
    assert "Traceback" not in err


def test_what_a_plugin_prints_leaves_a_json_document_alone():
    text = HEAD + "print('at import')\n\n\n" + layer("part", "print('in plan')\n        return Plan(x)")
    write(Path(), p=text, s_yaml=SPEC.format("p.py"))
    status, out, err = dlx("inspect", "s.yaml", "--json")
    assert status == 0
    assert json.loads(out)["plugins"][0]["kinds"] == {"layer": ["part"]}
    assert "at import" in err
    assert "in plan" in err
    assert "runs the code" not in err
    status, out, err = dlx("inspect", "s.yaml")
    assert err.startswith("runs the code of p.py (plugins, s.yaml:1:11)\n")


FAMILIES = {
    "layers": ("Layer", "module"),
    "losses": ("Loss", "wants"),
    "metrics": ("Metric", "meter"),
    "data": ("Dataset", "facts"),
    "data.preprocess": ("Preprocess", "apply"),
    "objectives": ("Objective", "needs"),
    "init": ("Initializer", "fill"),
    "schedules": ("Schedule", "at"),
    "averages": ("Average", "share"),
    "augment": ("Augmentation", "apply"),
    "augment.base": ("View", "of"),
    "spec.strategies": ("Sampler", "ask"),
}


@pytest.mark.parametrize("home", FAMILIES)
def test_a_class_without_what_its_family_is_about_is_reported_of(home):
    name, missing = FAMILIES[home]
    text = (
        f'from typing import ClassVar\nfrom dlx.{home} import {name}\n\n\nclass Part({name}):\n    """A part."""\n\n'
    )
    lines = said("p.py", p=text + '    kind: ClassVar[str] = "part"\n')
    assert lines == ["p.py:5  plugins", f"`Part` has no `{missing}`", OF_FILE]


def test_an_optimizer_names_a_class_of_torch():
    text = "from typing import ClassVar\nfrom dlx.optim import Optimizer\n\n\nclass Part(Optimizer):\n"
    lines = said("p.py", p=text + '    kind: ClassVar[str] = "part"\n')
    assert lines[1] == "`Part` has neither `torch_name` nor `made_of`"


DATA = """from typing import ClassVar

from dlx.data import Dataset, Facts, Sets, Split
from dlx.lazy import np


class Part(Dataset):
    kind: ClassVar[str] = "part"

    def facts(self):
        return Facts((3,), classes=2)

    def load(self):
        x, y = np.zeros((4, 3), np.float32), np.array([0, 1, 0, 1])
        return {}
"""


@pytest.mark.parametrize(
    ("returned", "messages"),
    [
        ("x, y", ["returned tuple, and no `Sets`"]),
        ("Sets((x, y), None, None, '', '')", ["`train` is tuple, and no `Split`"]),
        ("Sets(Split(x * 1.0, y), None, None, '', '')", []),
        (
            "Sets(Split(x.astype(float), y[:3]), None, None, '', '')",
            [
                "inputs of `train` are float64, and float32 is wanted",
                "targets of `train` are 3, and there are 4 inputs",
            ],
        ),
        (
            "Sets(Split(x[:, :2], y * 2), None, None, '', '')",
            [
                "inputs of `train` have the shape (2,) each, and facts() says (3,)",
                "targets of `train` go from 0 to 2, and facts() says 2 classes",
            ],
        ),
        (
            "Sets(Split(x, y[:, None].astype(np.float32)), None, None, '', '')",
            [
                "targets of `train` are float32, and int64 is wanted for class numbers",
                "targets of `train` have the shape (1,) each, and facts() says ()",
            ],
        ),
    ],
)
def test_what_data_loads_is_held_against_its_facts(returned, messages):
    spec = (
        "plugins: [p.py]\ndata: part\nnetwork: {layers: [{linear: 2}]}\ntrain: {steps: 1}\ntrack: {mlflow: false}\n"
    )
    write(Path(), p=DATA.format(returned), s_yaml=spec)
    status, out, _ = dlx("train", "s.yaml", "--json")
    message = [error["message"].partition("p.py:7")[2].lstrip(": ") for error in json.loads(out).get("errors", ())]
    assert message == messages
    assert status == (2 if messages else 0)


def test_what_dlx_cannot_use_ends_in_a_sentence_that_names_the_plugin(monkeypatch):
    loss = """from typing import ClassVar

from dlx.losses import Loss


class Part(Loss):
    kind: ClassVar[str] = "part"
    wants: ClassVar[str] = "classes"

    def function(self):
        return lambda output, target: 3.0
"""
    spec = TRAINED.format().replace("part, ", "") + "objective: {classification: {loss: part}}\n"
    write(Path(), p=loss, s_yaml=spec)
    status, out, err = dlx("train", "s.yaml")
    assert (status, out) == (1, "")
    assert "raised TypeError: 'float' object is not iterable, probably for what a kind of p.py returned" in err
    monkeypatch.setenv("DLX_TRACEBACK", "1")
    with pytest.raises(TypeError, match="not iterable"):
        dlx("train", "s.yaml")
