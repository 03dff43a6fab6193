"""A smoke test of what is published: `make smoke`, which continuous integration runs.

Builds the source distribution, makes the wheel of it, installs that with the constraints into an empty environment,
and runs the commands that a newcomer would in an empty folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from zipfile import ZipFile

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IN_SOURCE = ("README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "docs/spec.md", "tests/helpers.py")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def specs_of(names: list[str], folder: str) -> set[str]:
    """The files below a folder `specs` of an archive."""
    return {name.removeprefix(folder) for name in names if name.startswith(folder) and not name.endswith("/")}


@contextmanager
def timed(what: str) -> Iterator[None]:
    start = perf_counter()
    yield
    print(f"{perf_counter() - start:6.1f} s  {what}", flush=True)


def run(*command: str | Path, status: int = 0, cwd: Path, **environment: str) -> str:
    """What a command prints; both streams where its exit status is another one."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV") and "DLX" not in k}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=clean | environment, capture_output=True, text=True, check=False
    )
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout if status == 0 else done.stderr


def built(home: Path) -> Path:
    """The wheel, made of the source distribution; both hold what they should."""
    tools, dist = home / "tools", home / "dist"
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    run(sys.executable, *PIP, "install", "--target", tools, *backend, cwd=home)
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", dist, cwd=ROOT, PYTHONPATH=str(tools))
    (source,) = dist.glob("*.tar.gz")
    run(sys.executable, *PIP, "wheel", "--no-deps", "-w", dist, source, cwd=home)
    (wheel,) = dist.glob("*.whl")
    wanted = {str(path.relative_to(ROOT / "specs")) for path in (ROOT / "specs").rglob("*") if path.is_file()}
    with tarfile.open(source) as archive:
        names = [name.partition("/")[2] for name in archive.getnames() if archive.getmember(name).isfile()]
    assert specs_of(names, "specs/") == wanted
    assert set(IN_SOURCE) <= set(names), set(IN_SOURCE) - set(names)
    with ZipFile(wheel) as archive:
        names = archive.namelist()
    assert specs_of(names, "dlx/specs/") == wanted
    assert "dlx/py.typed" in names
    for wanted in ("/digits.npz", "/licenses/LICENSE"):
        assert any(name.endswith(wanted) for name in names), wanted
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"dlx"}
    return wheel


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """All files below a folder, each with its size and the time of its last change."""
    return {path: (s.st_size, s.st_mtime_ns) for path in folder.rglob("*") if (s := path.stat()) and path.is_file()}


def check(python: Path, work: Path) -> None:
    """What a newcomer does after `pip install`."""
    dlx = python.parent / "dlx"
    assert (
        run(dlx, "--version", cwd=work)
        == run(python, "-m", "dlx", "--version", cwd=work)
        == f"dlx {PROJECT['version']}\n"
    )
    heavy = "import dlx, sys; print(*{'torch', 'numpy', 'mlflow'} & set(sys.modules)); print(dlx.__file__)"
    loaded, _, place = run(python, "-c", heavy, cwd=work).partition("\n")
    assert not loaded, loaded
    package = Path(place.strip()).parent
    assert package.is_relative_to(python.parent.parent), package
    before = files(package)
    assert json.loads(run(dlx, "inspect", "zoo/gpt2", "--json", cwd=work))["params"] == 124_439_808
    assert "Did you mean `zoo/gpt2`" in run(dlx, "inspect", "zoo/gtp2", cwd=work, status=2)
    assert "LeNet" in run(dlx, "specs", "digits", cwd=work)
    assert "conv" in run(dlx, "layers", cwd=work)
    assert json.loads(run(dlx, "schema", cwd=work))["$schema"]
    assert "0 FAILS" not in run(dlx, "verify", "mnist1d", cwd=work)
    assert not list(work.iterdir())
    with timed("dlx train digits/lenet train.epochs=1"):
        assert "test/accuracy" in run(dlx, "train", "digits/lenet", "train.epochs=1", cwd=work)
    with timed("dlx runs sync"):  # until all has arrived
        run(dlx, "runs", "sync", cwd=work)
    (trained,) = (work / "runs").glob("lenet-digits/*/spec.yaml")
    assert (work / "runs/mlflow.db").is_file()
    assert "test/accuracy" in run(dlx, "evaluate", trained.parent, cwd=work)
    run(dlx, "new", "first.yaml", cwd=work)
    assert "test" in run(dlx, "train", "first.yaml", "train.epochs=1", "track.mlflow=false", cwd=work)
    assert {path.name for path in work.iterdir()} == {"runs", "first.yaml"}
    assert files(package) == before, "something was written into the install"


def main() -> None:
    with timed("in all"), tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        with timed("source distribution and wheel"):
            wheel = built(home)
        with timed("empty environment"):
            venv.create(home / "venv", with_pip=True)
        python = home / "venv/bin/python"
        with timed("install with the constraints"):
            run(python, *PIP, "install", "-c", ROOT / "constraints.txt", wheel, cwd=home)
        (home / "work").mkdir()
        with timed("commands"):
            check(python, home / "work")
        print(f"{wheel.name} holds, {wheel.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
