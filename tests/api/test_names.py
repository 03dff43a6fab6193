"""`import dlx` is light, offers one list of names, and no module of it takes the place of one."""

import ast
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import dlx

PACKAGE = Path(dlx.__file__).parent


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)


def test_import_takes_neither_torch_nor_numpy_nor_pandas_nor_pydantic():
    done = run("import dlx, sys; dir(dlx); print(*sys.modules)")

    assert not {"torch", "numpy", "pandas", "pydantic", "pyarrow", "yaml"} & set(done.stdout.split()), done.stderr


def test_a_spec_is_inspected_without_torch_and_numpy():
    done = run(
        f"import dlx, sys; dlx.inspect({str(PACKAGE.parent / 'specs/digits/lenet.yaml')!r}); print(*sys.modules)"
    )

    assert done.returncode == 0, done.stderr
    assert not {"torch", "numpy", "pandas"} & set(done.stdout.split())


def test_every_name_of_the_list_is_there_documented_and_shown_by_dir():
    for name in dlx.__all__:
        assert getattr(dlx, name).__doc__ or name == "__version__", name
    assert set(dlx.__all__) <= set(dir(dlx))
    assert dlx.__all__ == sorted(dlx.__all__)


def test_type_checkers_are_shown_the_names_that_a_program_gets():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    shown = {f"{node.module}.{alias.name}" for node in block.body for alias in node.names}

    assert shown == {f"{module}.{name}" for module, names in dlx._MODULES.items() for name in names}
    assert {name.rpartition(".")[2] for name in shown} | {"__version__"} == set(dlx.__all__)


def test_no_module_takes_the_place_of_a_name_whichever_is_imported_first():
    """`import dlx.train` would set the attribute `train` of the package to the module."""
    modules = [one.name for one in pkgutil.iter_modules([str(PACKAGE)], "dlx.") if one.name != "dlx.__main__"]
    assert not {f"dlx.{name}" for name in dlx.__all__} & set(modules)
    assert len(modules) > 20
    code = (
        "import dlx, importlib, types\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert not [name for name in dlx.__all__ if isinstance(getattr(dlx, name), types.ModuleType)]\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error_with_the_nearest_one():
    with pytest.raises(AttributeError, match=r"^module 'dlx' has no attribute 'trian'\. Did you mean `train`\?$"):
        _ = dlx.trian
    with pytest.raises(AttributeError, match=r"^module 'dlx' has no attribute 'nonsense'$"):
        _ = dlx.nonsense
    assert not hasattr(dlx, "__wrapped__")


SCRIPT = """\
from pathlib import Path

import dlx
from torch import Tensor, nn

experiment: dlx.Experiment = dlx.load({"network": {"layers": ["relu"]}}, {"train.epochs": 2})
found: dlx.Inspection = dlx.inspect(experiment, batch=32)
params: int = found.params
network: nn.Module = dlx.build(Path("spec.yaml"), ["train.epochs=2"], seed=1)
run: dlx.Run = dlx.train("spec.yaml", quiet=True)
accuracy: float = run.result["test/accuracy"]
weights: dict[str, Tensor] = run.weights
members: tuple[dlx.Run, ...] = run.runs
answers: dlx.Predictions = dlx.predict(run, [[1.0, 2.0]])
measured: dlx.Evaluation = dlx.evaluate([run, "last"], parts="test")
best: dlx.Run = dlx.sweep("spec.yaml", ["train.seed=1,2"], jobs="auto").best
dlx.resume(run)


class Doubled(dlx.Layer):
    kind = "doubled"

    def plan(self, *xs: dlx.Shape) -> dlx.Plan:
        return dlx.Plan(xs[0])
"""


@pytest.mark.slow
def test_a_strictly_typed_script_passes_and_its_mistakes_are_found(tmp_path):
    (tmp_path / "good.py").write_text(SCRIPT)
    (tmp_path / "bad.py").write_text(
        'import dlx\n\nwidth: str = dlx.inspect("s.yaml").params\ndlx.train(3)\ndlx.trian\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "good.py", "bad.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"MYPYPATH": str(PACKAGE.parent), "PATH": ""},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("good", "bad"))]

    assert [line.rsplit("[")[-1] for line in lines] == ["assignment]", "arg-type]", "attr-defined]"], done.stdout
    assert all(line.startswith("bad.py:") for line in lines)
