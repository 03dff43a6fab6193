"""Entry points of installed packages: those that `importlib.metadata` finds, without its import."""

import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from dlx.utils import installed

ROOT = Path(__file__).parents[2]
THEIRS = """\
# a comment
[console_scripts]
theirs = theirs.cli:main [extra]

[dlx.layers]
one = theirs.layers
# no = such.thing
other=theirs.layers : Layers.One
"""


def expected(group: str) -> list[tuple[str, str]]:
    return [(one.module, one.attr or "") for one in metadata.entry_points(group=group)]


def package(place: Path, folder: str, text: str = THEIRS) -> None:
    (place / folder).mkdir(parents=True)
    (place / folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (place / folder / "entry_points.txt").write_text(text)


@pytest.mark.parametrize("group", ["console_scripts", "pytest11", "dlx.layers", "dlx.initializers", "no.such.group"])
def test_the_packages_here_announce_what_the_standard_library_finds(group):
    assert [tuple(one) for one in installed.entry_points(group)] == expected(group)


def test_of_two_installations_of_a_package_the_first_on_the_path_counts(tmp_path, monkeypatch):
    package(tmp_path / "a", "the_irs-1.0.dist-info")
    package(tmp_path / "b", "The.Irs-2.0.egg-info", THEIRS.replace("theirs", "older"))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none"), *sys.path])
    found = [tuple(one) for one in installed.entry_points("dlx.layers")]
    assert found == expected("dlx.layers")
    assert found[:2] == [("theirs.layers", ""), ("theirs.layers", "Layers.One")]
    assert "older.layers" not in dict(found)


def test_packages_in_an_archive_are_found_too(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("theirs-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
        archive.writestr("theirs-1.0.dist-info/entry_points.txt", THEIRS)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "all.zip"), *sys.path])
    assert ("theirs.layers", "Layers.One") in [tuple(one) for one in installed.entry_points("dlx.layers")]


def test_a_place_on_the_path_that_the_system_does_not_let_see_has_no_packages(monkeypatch):
    # of a folder without permission root sees all; of a name that is too long nobody does
    monkeypatch.setattr(sys, "path", ["x" * 300, *sys.path])
    with pytest.raises(OSError, match="too long"):
        Path(sys.path[0]).is_file()
    assert [tuple(one) for one in installed.entry_points("pytest11")] == expected("pytest11") != []


def test_an_entry_is_a_module_or_a_name_in_it():
    assert installed.EntryPoint("os.path", "").load() is os.path
    assert installed.EntryPoint("os", "path.join").load() is os.path.join


SCRIPT = """
import sys
from dlx.utils.installed import without_pydantic_plugins
without_pydantic_plugins()
from pydantic import BaseModel
class One(BaseModel):
    value: int
print(One(value=1), "importlib.metadata" in sys.modules)
from pydantic.plugin import _loader
print(list(_loader.get_plugins()), _loader.PYDANTIC_ENTRY_POINT_GROUP)
"""


@pytest.mark.parametrize(("wanted", "searches"), [(None, "False"), ("", "True")])
def test_pydantic_looks_for_plugins_only_where_the_user_wants_them(wanted, searches):
    others = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
    env = others | ({} if wanted is None else {"PYDANTIC_DISABLE_PLUGINS": wanted}) | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=env)
    first, second = result.stdout.splitlines()
    assert first == f"value=1 {searches}"
    assert second == "[] pydantic"
