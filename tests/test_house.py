"""The house stands: floors import downward only, guests stay in their rooms, light commands stay light."""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dlx"
PAGE = PACKAGE.parent / "docs" / "architecture.md"


def floors(page: str) -> dict[str, int]:
    """Each room's floor, from the table of rooms: rows of a number, then rooms in backticks, a folder with `/`."""
    found: dict[str, int] = {}
    for number, rooms in re.findall(r"^\| (\d+) \| ((?:`[\w/]+`,? ?)+)\|", page, re.MULTILINE):
        for name in re.findall(r"`([\w/]+)`", rooms):
            assert name.removesuffix("/") not in found, f"{PAGE.name} has {name} twice"
            found[name.removesuffix("/")] = int(number)
            there = PACKAGE / (name if name.endswith("/") else f"{name}.py")
            assert there.exists(), f"{PAGE.name} has {name} in the table of rooms, and there is no {there}"
    return found


FLOORS = floors(PAGE.read_text())
GUESTS = {
    "mlflow": ["track"],
    "torchmetrics": [],
    "sklearn": ["analysis", "baselines", "experiment"],
    "scipy": ["analysis", "baselines", "data", "experiment", "sweeps", "trained", "utils"],
    "hydra": ["spec"],
    "omegaconf": ["spec"],
    "rich": ["show"],
    "typer": ["cli"],
    "yaml": ["spec"],
    "tomllib": ["spec"],
    "PIL": ["data"],
    "pyarrow": ["data", "report"],
    "optuna": ["sweeps"],
    "cmaes": ["sweeps"],
    "ray": ["sweeps"],
    "tensorboard": ["track"],
    "matplotlib": ["sheets", "sweeps", "trained"],
    "pandas": ["api", "track"],
    "tokenizers": ["text"],
    "graphlay": ["report"],
    "vl_convert": ["report"],
    "contourpy": ["report"],
    "IPython": ["show"],
}
PACKED = ("stack", "rules", "convolution", "cross_entropy", "strip_convolution", "pair_pooling", "batch_last")
REPLAY = ("tape", "flat_step", "script", "operations")
BELOW_AUTOGRAD = [f"training/replay/{name}.py" for name in REPLAY] + [f"training/packed/{name}.py" for name in PACKED]
"""They extend what torch calls below autograd, and are imported by a training that uses them."""
HEAVY = ["torch", "torchmetrics", "mlflow", "numpy", "scipy", "pandas", "sklearn", "hydra", "optuna"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


MODULES = {
    ".".join(["dlx", *p.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): p for p in FILES
}


@cache
def imports(path: Path) -> list[tuple[str, str]]:
    """Modules that a file imports, absolute, and when: at the "top", "later" in a function, or only for "types"."""
    package = ["dlx", *path.relative_to(PACKAGE).parent.parts]
    tree = ast.parse(path.read_text())
    when = dict.fromkeys(map(id, tree.body), "top")
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            when |= dict.fromkeys(map(id, node.body), "types")
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, when.get(id(node), "later")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            inner = [f"{module}.{alias.name}" for alias in node.names]
            names = {name if name in MODULES else module for name in inner}
            found += [(name, when.get(id(node), "later")) for name in sorted(names)]
    return found


def run_by(path: Path) -> set[str]:
    """The modules of dlx that run for what a file imports now or later: those, and the packages that they are in."""
    named = [module.split(".") for module, when in imports(path) if when != "types"]
    every = {".".join(parts[:n]) for parts in named for n in range(2, len(parts) + 1)}
    own = ".".join(["dlx", *path.relative_to(PACKAGE).parts])
    return {name for name in every & MODULES.keys() if not own.startswith(f"{name}.")}


def glossary() -> list[tuple[list[str], list[str]]]:
    """The terms of each row of the glossary, and the places that it names."""
    text = PAGE.read_text().partition("\n## Glossary\n")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in text.splitlines() if row.startswith("| ")][1:]
    return [(terms.split(", "), re.findall(r"`([\w./]+)`", places)) for terms, _, places in rows]


def test_no_two_files_of_tests_have_one_name():
    """Where two have, no test is run: each file is imported by its name alone."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_glossary_has_each_term_once():
    terms = [term for row, _ in glossary() for term in row]
    assert [term for term in terms if terms.count(term) > 1] == []
    assert len(terms) > 100


def test_each_place_of_the_glossary_is_there():
    for terms, places in glossary():
        assert places, terms
        for place in places:
            module, _, name = place.partition(".")
            path = PACKAGE / module if module.endswith("/") else PACKAGE / f"{module}.py"
            assert path.exists() or (PACKAGE / module).is_dir(), f"{terms}: there is no {path}"
            assert not name or re.search(rf"\b{name}\b", path.read_text()), f"{terms}: {module} has no {name}"


def test_no_circle_of_imports_not_even_inside_functions():
    graph = {name: run_by(path) for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}; move what both need to a third")


def test_every_room_has_a_floor_in_the_table_of_the_architecture_page():
    assert {room(p) for p in FILES} == set(FLOORS)
    assert set(FLOORS.values()) == set(range(max(FLOORS.values()) + 1))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_only_from_its_own_floor_or_lower_ones(path):
    here = FLOORS[room(path)]
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "dlx" and len(parts) > 1 and parts[1] in FLOORS:
            there = FLOORS[parts[1]]
            assert there <= here, f"{path.name} (floor {here}) imports {module} (floor {there})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_guests_stay_in_their_rooms(path):
    for module, _ in imports(path):
        guest = module.split(".")[0]
        assert room(path) in GUESTS.get(guest, [room(path)]), f"{guest} is imported in {path.name}"


def test_each_dependency_is_in_the_table_of_the_architecture_page():
    """With what it is for; a package that stands there and is none, too."""
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    needed = [re.split(r"[<>=!~\[ ]", each)[0] for each in project["dependencies"]]
    section = PAGE.read_text().partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) == sorted(needed)


def test_torch_is_imported_at_the_top_only_by_the_modules_that_extend_it():
    for path in FILES:
        tops = {module.split(".")[0] for module, when in imports(path) if when == "top"}
        if room(path) != "modules" and path.relative_to(PACKAGE).as_posix() not in BELOW_AUTOGRAD:
            assert not tops & {"torch", "numpy", "mlflow", "scipy"}, path


def loaded_by(code: str) -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in result.stderr.split()}


@pytest.mark.parametrize(
    "argv",
    [["--help"], ["layers"], ["schema"], ["inspect", str(PACKAGE.parent / "specs/cs231n/resnet50.yaml")]],
    ids=lambda argv: argv[0],
)
def test_light_commands_load_no_heavy_guest(argv):
    code = (
        "import sys; from dlx.cli import app\n"
        f"sys.argv = ['dlx', *{argv!r}]\n"
        "try: app()\nexcept SystemExit as end: assert not end.code, end.code"
    )
    assert not loaded_by(code) & set(HEAVY)


def test_a_value_goes_the_way_that_the_architecture_page_lists():
    text = PAGE.read_text().partition("The way of one value")[2].partition("`tests/test_house.py`")[0]
    steps = re.findall(r"^\d+\. `([\w.]+)`", text, re.MULTILINE)
    code = f"""
        import sys, tempfile
        from pathlib import Path
        from dlx import spec
        from dlx.experiment import runner
        steps, called = {steps!r}, []
        def see(frame, event, _):
            if event == "call" and (module := frame.f_globals.get("__name__", "")).startswith("dlx."):
                name = f"{{module}}.{{frame.f_code.co_qualname}}".removeprefix("dlx.")
                if name in steps and name not in called:
                    called.append(name)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "s.yaml")
            path.write_text("data: digits\\nnetwork: {{layers: [flatten, {{linear: 10}}]}}\\n"
                            "train: {{steps: 2, optimizer: {{adam: 1e-3}}}}\\ntrack: {{mlflow: false}}\\n")
            sys.setprofile(see)
            runner.run(spec.load(path, ["train.optimizer.adam.lr=0.01"]), Path(folder, "runs"))
            sys.setprofile(None)
        assert called == steps, called
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(steps) == 10
