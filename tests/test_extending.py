"""docs/extending.md, run: each file of it is written, and each spec is trained or searched."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from plugin_files import dlx

from dlx import plugins
from dlx.registry import FAMILIES

TEXT = (Path(__file__).parent.parent / "docs" / "extending.md").read_text()
FENCES = re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", TEXT)
NAMED = [(match[1], text) for _, text in FENCES if (match := re.match(r"# ([\w.]+\.(?:py|yaml))\n", text))]
SPECS = [name for name, _ in NAMED if name.endswith(".yaml")]


@pytest.fixture(autouse=True)
def _written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in NAMED:
        (tmp_path / name).write_text(text)
    yield
    plugins.use(())


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_of_the_page_runs(spec):
    text = dict(NAMED)[spec]
    command = "sweep" if "\nsweep:" in text else "baseline" if "\nbaselines:" in text else "train"
    status, out, err = dlx(command, spec, "--json")
    assert status == 0, out + err
    assert json.loads(out)
    status, out, err = dlx("inspect", spec, "--json")
    (plugin,) = json.loads(out)["plugins"]
    (kinds,) = plugin["kinds"].values()
    status, out, err = dlx("layers", kinds[0], spec)
    assert status == 0
    assert out.startswith(f"{kinds[0]}\n")


def test_the_page_has_one_of_each_family(tmp_path):
    found = set()
    for name in SPECS:
        _, out, _ = dlx("inspect", name, "--json")
        found |= {family for plugin in json.loads(out)["plugins"] for family in plugin["kinds"]}
    assert found == set(FAMILIES)


def test_the_page_names_all_entry_points():
    groups = re.findall(r"`(dlx\.\w+)`", TEXT.partition("The groups are")[2].partition(".\n")[0])
    assert groups == [registry.plugins for registry in FAMILIES.values()]


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["signs.yaml", "denoiser.yaml", "last.yaml", "gained.yaml"])
def test_what_a_kind_of_the_page_remembers_is_there_after_a_kill(spec):
    status, out, err = dlx("prove-resume", spec, "--kills", "2", "--json")
    assert status == 0, out + err
    assert json.loads(out)["equal"]
