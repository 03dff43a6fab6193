"""`dlx analyze` of a kind that trains variants, killed in the middle and given again."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from commands import dlx, started

SPEC = """
dlx: 1
name: killed
data: {synthetic: {shape: [6], classes: 3, train: 400, valid: 0, test: 100}}
vars: {width: 4}
network: {layers: [{linear: "${width}"}, relu, {linear: 3}]}
objective: classification
train: {steps: 4000, batch_size: 20, save_every: 200, optimizer: {adam: 0.01}}
"""
COMMAND = (
    "analyze",
    "capacity",
    "killed.yaml",
    "--set",
    "over=vars.width",
    "--set",
    "values=[3,5,7]",
    "--set",
    "seeds=1",
)


@pytest.mark.slow
def test_a_killed_command_goes_on_with_what_is_finished_and_comes_to_the_same_figures(tmp_path: Path) -> None:
    whole, cut = (tmp_path / name for name in ("whole", "cut"))
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "killed.yaml").write_text(SPEC)
    figures = json.loads(dlx(*COMMAND, "--json", cwd=whole).stdout)["figures"]
    command = started(*COMMAND, "--json", cwd=cut)
    until = time.monotonic() + 300
    while not ends(cut) and time.monotonic() < until:
        time.sleep(0.02)
    command.kill()
    command.wait()
    done = ends(cut)
    assert 1 <= len(done) < 3, "killed too early or too late"
    again = dlx(*COMMAND, "--json", cwd=cut)

    assert json.loads(again.stdout)["figures"] == figures
    assert len(ends(cut)) == 3
    assert all(records(run).count("start") == 1 for run in done), "what was finished is read back"


def records(run: Path) -> list[str]:
    """What the lines of a run are, of which the last may be half written."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["record"] for line in lines if line.endswith("}")]


def ends(folder: Path) -> list[Path]:
    """The runs that came to their end."""
    return [path.parent for path in folder.glob("runs/killed/*/metrics.jsonl") if "end" in records(path.parent)]
