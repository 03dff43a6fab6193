"""Imports without the garbage collector, and beside other work: in processes of dlx's own alone."""

import gc
import subprocess
import sys

import pytest

from dlx.utils import imports


@pytest.fixture
def own(monkeypatch):
    """This process is dlx's own for a test, and nothing stays out of the collector's sight after it."""
    monkeypatch.setattr(imports, "_OWN", [])
    imports.own_process()
    yield
    gc.unfreeze()
    gc.enable()


def test_the_collector_does_not_look_at_what_is_imported_and_looks_again_after_it(own):
    before, looks = gc.get_freeze_count(), []
    gc.callbacks.append(lambda phase, about: looks.append(phase))
    try:
        with imports.uncollected():
            stay = [[] for _ in range(100_000)]
        assert looks == []
        assert gc.get_freeze_count() >= before + len(stay)
        more = [[] for _ in range(100_000)]
    finally:
        gc.callbacks.pop()
    assert looks, len(more)


def test_an_import_that_fails_leaves_the_collector_at_work(own):
    with pytest.raises(ImportError), imports.uncollected():
        raise ImportError("no such package")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off(own):
    gc.disable()
    with imports.uncollected():
        pass
    assert not gc.isenabled()


def test_in_the_process_of_a_user_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(imports, "_OWN", [])
    before = gc.get_freeze_count()
    with imports.uncollected():
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_command_that_trains_imports_torch_out_of_the_collector_s_sight(tmp_path):
    spec = tmp_path / "s.yaml"
    spec.write_text(
        "dlx: 1\nname: s\ndata: {synthetic: {shape: [4], train: 8, test: 4}}\nnetwork: {layers: [linear: 10]}\n"
    )
    code = (
        "import gc, sys\n"
        "from dlx.__main__ import run\n"
        f"sys.argv = ['dlx', 'train', {str(spec)!r}, 'train.epochs=1', 'track.mlflow=false']\n"
        "try:\n    run()\nexcept SystemExit as end:\n    print(end.code, gc.isenabled(), gc.get_freeze_count())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    status, at_work, count = done.stdout.splitlines()[-1].split()
    assert (status, at_work) == ("0", "True"), done.stderr
    assert int(count) > 50_000


SLOW = "import time\ntime.sleep(0.2)\nfinished = True\n"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that takes a while to import."""
    (tmp_path / "slowly_imported.py").write_text(SLOW)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "_BESIDE", [])
    monkeypatch.setattr(imports, "cores", lambda: 2)
    yield "slowly_imported"
    for thread in imports._BESIDE:
        thread.join()
    sys.modules.pop("slowly_imported", None)


def test_a_package_is_imported_while_a_block_runs_and_is_there_behind_it(own, package):
    with imports.beside(package):
        assert imports.unfinished() == 1
    assert imports.unfinished() == 0
    assert sys.modules[package].finished


def test_nobody_waits_for_an_import_beside_a_block_that_fails(own, package):
    with pytest.raises(OSError, match="no such file"), imports.beside(package):
        raise OSError("no such file")
    assert imports.unfinished() == 1


def test_an_import_that_fails_beside_a_block_leaves_its_error_to_the_first_use(own, package, tmp_path):
    (tmp_path / "slowly_imported.py").write_text("raise ImportError('too old')")
    with imports.beside(package):
        pass
    with pytest.raises(ImportError, match="too old"):
        __import__(package)


@pytest.mark.parametrize("cores", [1, 2])
def test_nothing_is_imported_beside_on_one_core_or_in_the_process_of_a_user(package, monkeypatch, cores):
    monkeypatch.setattr(imports, "_OWN", [True] if cores == 1 else [])
    monkeypatch.setattr(imports, "cores", lambda: cores)
    with imports.beside(package):
        assert imports.unfinished() == 0
    assert package not in sys.modules
