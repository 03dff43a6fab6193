"""A light start: a spec imports what it names, however many kinds there are."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlx.registry import FAMILIES
from dlx.spec import load
from dlx.spec.sections.kinds import choice_at

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dlx"
MOST = 61
"""Pydantic classes that a net of three layers may build."""
COUNT = """
import sys
from pydantic import BaseModel
from dlx.cli import app
{before}
sys.argv = ["dlx", "inspect", {spec!r}]
try: app()
except SystemExit as end: assert not end.code, end.code
except Exception as error: print(error)
def below(cls):
    return set().union({{cls}}, *map(below, cls.__subclasses__()))
print(*sorted(f"{{c.__module__}}.{{c.__name__}}" for c in below(BaseModel) if c.__module__ != "pydantic.main"),
      file=sys.stderr)
"""
SPECS = {
    "network": "network: {inputs: [784], layers: [{linear: 100}, relu, {linear: 10}]}\n",
    "everything": "data: digits\n"
    "network: {layers: [flatten, {linear: 100}, relu, {linear: 10}]}\n"
    "objective: {classification: {loss: focal}}\n"
    "init: he_normal\n"
    "train: {epochs: 3, optimizer: {sgd: 0.1}, schedule: cosine, average: ema, augment: [shift]}\n",
}
ROOTS = {
    "layer": "dlx.layers.base.Layer",
    "data": "dlx.data.base.Dataset",
    "preprocess": "dlx.data.preprocess.base.Preprocess",
    "objective": "dlx.objectives.base.Objective",
    "loss": "dlx.losses.base.Loss",
    "metric": "dlx.metrics.base.Metric",
    "init": "dlx.init.base.Initializer",
    "optimizer": "dlx.optim.base.Optimizer",
    "schedule": "dlx.schedules.base.Schedule",
    "average": "dlx.averages.base.Average",
    "augmentation": "dlx.augment.base.Augmentation",
    "view": "dlx.augment.base.View",
    "baseline": "dlx.baselines.base.Baseline",
    "sampler": "dlx.spec.strategies.Sampler",
    "scheduler": "dlx.spec.strategies.Scheduler",
    "analysis": "dlx.spec.analyses.Analysis",
}


def module_of(name: str, count: int) -> str:
    """The text of a module with so many more kinds of one family."""
    module, _, root = ROOTS[name].rpartition(".")
    kind = f'class M{{i}}({root}):\n    """One more."""\n\n    kind: ClassVar[str] = "more_{{i}}"\n\n\n'
    head = f"from typing import ClassVar\nfrom {module} import {root}\n\n\n"
    return head + "".join(kind.format(i=i) for i in range(count))


def built(tmp_path: Path, text: str, before: str = "") -> set[str]:
    """The pydantic classes of a fresh process that inspects a spec, by name."""
    spec = tmp_path / "s.yaml"
    spec.write_text(text)
    result = subprocess.run(
        [sys.executable, "-c", COUNT.format(before=before, spec=str(spec))],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )
    return set(result.stderr.split())


def installed(folder: Path, count: int) -> None:
    """A package in `folder` that brings so many kinds of each family by entry points."""
    info = folder / "more-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more\nVersion: 1.0\n")
    groups = (f"[{registry.plugins}]\nmore = more_{name}\n" for name, registry in FAMILIES.items())
    (info / "entry_points.txt").write_text("\n".join(groups))
    for name in FAMILIES:
        (folder / f"more_{name}.py").write_text(module_of(name, count))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> dict[str, set[str]]:
    """What each spec builds where there is nothing but dlx."""
    return {name: built(tmp_path_factory.mktemp(name), text) for name, text in SPECS.items()}


@pytest.mark.parametrize("spec", SPECS)
def test_a_net_of_three_layers_builds_few_classes_and_no_more_of_them_with_more_kinds(tmp_path, plain, spec):
    assert "dlx.layers.linear.Linear" in plain[spec]
    assert len(plain[spec]) <= MOST

    installed(tmp_path, 4)  # 56 of them
    assert built(tmp_path, SPECS[spec]) == plain[spec]


def test_kinds_in_a_new_module_of_a_family_cost_no_class_until_one_is_named(tmp_path, plain):
    home = tmp_path / "home"
    home.mkdir()
    (home / "more_layers.py").write_text(module_of("layer", 50))
    grown = f"import dlx.layers; dlx.layers.__path__.append({str(home)!r})"
    assert built(tmp_path, SPECS["network"], grown) == plain["network"]

    registered = built(tmp_path, SPECS["network"].replace("relu", "more_7"), grown)
    assert len(registered - plain["network"]) == 50, "the new module is where the registry looks"


def test_of_several_packages_only_that_of_the_kind_named_is_imported(tmp_path):
    installed(tmp_path, 2)
    for name in ("theirs", "others"):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[dlx.layers]\n{name} = {name}\n")
        (tmp_path / f"{name}.py").write_text(module_of("layer", 1).replace("more_", f"{name}_"))
    named = built(tmp_path, SPECS["network"].replace("relu", "theirs_0"))
    assert {name for name in named if not name.startswith("dlx.")} == {"theirs.M0"}


def test_what_is_misspelt_is_reported_without_an_import_of_all_that_there_is(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text("network: {inputs: [8], layers: [{lineer: 2}, leaky_relo]}\ntrain: {epochs: 1, optimizer: adm}\n")
    script = (
        "import sys; from dlx.cli import main\nsys.argv = ['dlx', 'inspect', sys.argv[1]]\n"
        "try: main()\nexcept SystemExit as end: assert end.code == 2, end.code\n"
        "print(*(m for m in sys.modules if m.startswith(('dlx.layers.', 'dlx.optim.'))))"
    )
    result = subprocess.run([sys.executable, "-c", script, str(spec)], capture_output=True, text=True, check=True)
    sentences = [line.strip() for line in result.stderr.splitlines() if line.startswith("  ")]
    assert sentences == [
        *("there is no layer or block `lineer`", "Did you mean `linear`?"),
        *("there is no layer or block `leaky_relo`", "Did you mean `leaky_relu`?"),
        *("there is no optimizer `adm`", "Did you mean `adam` or `radam`?"),
    ]
    assert not {"dlx.layers.conv", "dlx.layers.linear", "dlx.optim.sgd"} & set(result.stdout.split())


def test_a_command_reads_no_options_of_the_others(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text(SPECS["network"])
    script = (
        "import sys; from dlx import cli\n"
        "def run(*words): sys.argv = ['dlx', *words]; cli.exit_status.run(lambda: cli.app(standalone_mode=False))\n"
        "run('inspect', sys.argv[1]); print(*cli.COMMANDS.built, file=sys.stderr)\n"
        "run('--help'); print(*cli.COMMANDS.built, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(spec)], capture_output=True, text=True, check=True)
    one, every = (line.split() for line in result.stderr.splitlines())
    assert one == ["inspect"]
    assert "  Write a spec to start from.\n" in result.stdout
    assert {"train", "runs"} < set(every)


def test_inspect_in_a_pipe_loads_only_what_it_uses_and_leaves_the_collector_on(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text("blocks: {one: {layers: [relu]}}\n" + SPECS["network"].replace("relu", "one"))
    script = (
        "import gc, sys; from dlx.__main__ import run\nsys.argv = ['dlx', 'inspect', sys.argv[1]]\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(gc.isenabled(), *sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(spec)], capture_output=True, text=True, check=True)
    collected, *modules = result.stderr.split()
    assert collected == "True"
    assert "79,510 parameters" in result.stdout
    unused = {"rich", "tomllib", "dlx.spec.sections.train", "dlx.spec.sections.sweep", "dlx.optim", "dlx.data"}
    unused |= {"importlib.metadata", "email"}
    assert not unused & set(modules)


def test_inspect_of_a_spec_with_analyses_loads_nothing_that_runs_them(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text("network: {inputs: [1], layers: [{linear: 3}, relu, {linear: 1}]}\nanalyses: {here: joints}\n")
    script = (
        "import sys; from dlx.__main__ import run\nsys.argv = ['dlx', 'inspect', sys.argv[1]]\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script, str(spec)], capture_output=True, text=True, check=True)
    modules = set(result.stderr.split())
    assert "dlx.analysis.kinds.joints" in modules
    rooms = {".".join(name.split(".")[:2]) for name in modules}
    assert not {"dlx.experiment", "dlx.training", "dlx.trained", "dlx.runs", "dlx.claims", "dlx.objectives"} & rooms


def test_help_loads_no_pydantic():
    script = (
        "import sys; from dlx.__main__ import run\nsys.argv = ['dlx', '--help']\n"
        "try: run()\nexcept SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "Show shapes, parameters, MACs and receptive fields." in result.stdout
    assert not {"pydantic", "dlx.registry", "dlx.spec.sections", "numpy", "torch"} & set(result.stderr.split())


TEARDOWN = """
import atexit, sys, threading
from dlx.__main__ import main
class Left:
    def __del__(self): sys.__stderr__.write("taken apart\\n")
kept = Left()
kept.itself = kept
atexit.register(lambda: sys.stderr.write("exit function\\n"))
{before}
sys.argv = ["dlx", *sys.argv[1:]]
main()
"""
GPU = """
from types import SimpleNamespace
sys.modules["torch"] = SimpleNamespace(cuda=SimpleNamespace(is_initialized=lambda: True))
"""
THREAD = """
def beyond():
    threading.main_thread().join()
    sys.stderr.write("thread\\n")
threading.Thread(target=beyond).start()
"""


@pytest.mark.parametrize(
    ("before", "words", "status", "said"),
    [
        ("", [], 0, "exit function\n"),
        ("", ["--no-such-option"], 2, "exit function\n"),
        (GPU, [], 0, "exit function\ntaken apart\n"),
        (THREAD, [], 0, "thread\nexit function\ntaken apart\n"),
        ("sys.setprofile(slice)", [], 0, "exit function\ntaken apart\n"),
    ],
)
def test_a_process_is_taken_apart_only_where_more_than_its_output_may_hang_on_it(
    tmp_path, before, words, status, said
):
    spec = tmp_path / "s.yaml"
    spec.write_text(SPECS["network"])
    command = [sys.executable, "-c", TEARDOWN.format(before=before), "inspect", str(spec), *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == status
    assert result.stderr.endswith(said)
    assert result.stderr.count("taken apart") == said.count("taken apart")
    assert ("79,510 parameters" in result.stdout) == (status == 0)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_names_read_from_the_texts_are_the_kinds_that_there_are(name):
    registry = FAMILIES[name]
    registry.load()
    at_home = {kind for kind, cls in registry._classes.items() if cls.__module__.startswith(f"{registry.package}")}
    assert at_home == set(registry.modules) <= set(registry)


def test_the_list_of_families_is_the_only_one():
    """No file but the registry's makes a registry, or lists more than two of them."""
    texts = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
    made = [path.name for path, text in texts.items() if re.search(r"\bRegistry(\[\w+\])?\(", text)]
    assert made == ["registry.py"]
    taken = [
        hit
        for text in texts.values()
        for hit in re.findall(r"^(\w+): Registry\[\w+\] = FAMILIES\[\"(\w+)\"\]", text, re.M)
    ]
    assert sorted(family for _, family in taken) == sorted(FAMILIES)
    constants = {constant for constant, _ in taken}
    for path, text in texts.items():
        if len(constants & set(re.findall(r"\b[A-Z]+\b", text))) <= 2:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
                named = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & constants
                assert len(named) <= 2, f"{path}:{node.lineno} lists families: {named}"


def test_the_page_on_architecture_names_all_entry_points():
    page = (ROOT / "docs/architecture.md").read_text()
    listed = re.search(r"adds its own through an entry point: (.*?);", page, re.DOTALL)
    assert listed is not None
    assert re.findall(r"`(dlx\.\w+)`", listed[1]) == [registry.plugins for registry in FAMILIES.values()]


@pytest.mark.parametrize(
    ("path", "family"),
    {
        "data": "data",
        "objective": "objective",
        "objective.classification.loss": "loss",
        "init": "init",
        "init.by_name.default": "init",
        "init.by_name.match.stem": "init",
        "train.optimizer": "optimizer",
        "train.optimizer.muon.rest": "optimizer",
        "train.schedule": "schedule",
        "train.schedule.warmup.then": "schedule",
        "train.test_time": "view",
        "train.average": "average",
        "sweep.sampler": "sampler",
        "sweep.scheduler": "scheduler",
        "train": None,
        "train.augment": None,
        "train.batch_size": None,
        "init.by_name.match": None,
        "network.layers": None,
        "loss": None,
        "no_such_section": None,
        "train.optimizer.no_such_kind.rest": None,
    }.items(),
)
def test_sections_that_choose_a_kind_are_known_from_their_fields(path, family):
    assert choice_at(tuple(path.split("."))) is (FAMILIES[family] if family else None)


NET = "network: {inputs: [2], layers: [{linear: 1}]}\n"


def test_another_average_replaces_the_whole_section_as_every_choice_does(tmp_path):
    (tmp_path / "base.yaml").write_text(NET + "train: {epochs: 1, average: {ema: {decay: 0.9}}}\n")
    (tmp_path / "s.yaml").write_text("defaults: [base]\ntrain: {average: {swa: {start: 0.5}}}\n")
    average = load(tmp_path / "s.yaml").train.average
    assert (average.kind, average.start) == ("swa", 0.5)

    (tmp_path / "word.yaml").write_text(NET + "train: {epochs: 1, average: ema}\n")
    assert load(tmp_path / "word.yaml", ["train.average.ema.decay=0.5"]).train.average.decay == 0.5
    (problem,) = load(tmp_path / "word.yaml", ["train.average.swa.start=0.5"]).problems
    assert problem.message == "`train.average` holds `ema`, and no `swa` beside it"
    assert problem.hint == "Another kind is set whole: `train.average={swa: {start: ...}}`."
