"""The house stands: floors import downward only, guests stay in their rooms, light commands stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dlx"
FLOORS = [
    ["documents", "errors", "files", "lazy", "rational", "registry", "secrets", "shapes"],
    [
        "augment",
        "averages",
        "layers",
        "data",
        "init",
        "optim",
        "schedules",
        "strategies",
        "losses",
        "metrics",
        "objectives",
        "modules",
        "vocabulary",
        "reference",
    ],
    ["spec"],
    ["graph"],
    ["network"],
    ["train"],
    ["runs", "track"],
    [
        "compare",
        "confusion",
        "course",
        "ensemble",
        "evaluate",
        "exact",
        "experiment",
        "lock",
        "packs",
        "predict",
        "proof",
        "receipts",
        "reproduce",
        "results",
        "resumable",
    ],
    ["sweep"],
    ["analysis"],
    ["show"],
    ["cli", "guard", "__main__"],
]
GUESTS = {
    "mlflow": ["track"],
    "torchmetrics": ["metrics"],
    "hydra": ["spec"],
    "omegaconf": ["spec"],
    "rich": ["show"],
    "typer": ["cli", "guard"],
    "yaml": ["spec"],
    "tomllib": ["spec"],
    "PIL": ["data"],
    "pyarrow": ["data"],
    "optuna": ["sweep"],
    "cmaes": ["sweep"],
    "ray": ["sweep"],
    "matplotlib": ["sweep"],
}
BELOW_AUTOGRAD = [f"train/{name}.py" for name in ("tape", "stack", "columns", "classes", "script")]
"""They extend what torch calls below autograd, and are imported by a training that uses them."""
HEAVY = ["torch", "torchmetrics", "mlflow", "numpy", "scipy", "pandas", "sklearn", "hydra", "optuna"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [p for p in sorted(PACKAGE.rglob("*.py")) if p != PACKAGE / "__init__.py"]


def imports(path: Path) -> list[tuple[str, bool]]:
    """Modules that a file imports, absolute, and whether at its top level."""
    package = ["dlx", *path.relative_to(PACKAGE).parent.parts]
    tree = ast.parse(path.read_text())
    top = set(map(id, tree.body))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) in top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names] if module == "dlx" else [module]
            found += [(name, id(node) in top) for name in names]
    return found


def test_every_room_has_a_floor():
    assert {room(p) for p in FILES} == {name for floor in FLOORS for name in floor}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_only_from_its_own_floor_or_lower_ones(path):
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    here = floor[room(path)]
    for module, _ in imports(path):
        parts = module.split(".")
        if parts[0] == "dlx" and len(parts) > 1 and parts[1] in floor:
            assert floor[parts[1]] <= here, f"{path.name} (floor {here}) imports {module} (floor {floor[parts[1]]})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_guests_stay_in_their_rooms(path):
    for module, _ in imports(path):
        guest = module.split(".")[0]
        assert room(path) in GUESTS.get(guest, [room(path)]), f"{guest} is imported in {path.name}"


def test_torch_is_imported_at_the_top_only_by_the_modules_that_extend_it():
    for path in FILES:
        tops = {module.split(".")[0] for module, top in imports(path) if top}
        if room(path) != "modules" and path.relative_to(PACKAGE).as_posix() not in BELOW_AUTOGRAD:
            assert not tops & {"torch", "numpy", "mlflow", "scipy"}, path


def loaded_by(code: str) -> set[str]:
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in told.stderr.split()}


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
