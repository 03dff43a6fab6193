"""What `dlx train` says of seeds: a line for each of a few, and of many what does not hide the result."""

import json
import re
from typing import NamedTuple

import pytest
from typer.testing import CliRunner

from dlx import cli
from dlx.show.several import SideBySide

SPEC = """\
name: s
network: {layers: [{linear: 3}]}
data: {blobs: {train: 60, valid: 20}}
train: {steps: 2, optimizer: {sgd: {lr: 0.0001}}}
track: {mlflow: false}
"""


@pytest.fixture
def train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SPEC)

    def trained(*arguments):
        found = CliRunner().invoke(cli.app, ["train", "s.yaml", *arguments])
        assert found.exit_code == 0, found.output
        return found

    return trained


@pytest.fixture
def many(train):
    return train("train.seeds=12", "train.seed=5")


def starts(found):
    return re.findall(r"^s: .*, (seeds? .*)$", found.stderr, re.M)


def test_few_seeds_have_a_line_each(train):
    found = train("train.seeds=10")
    assert starts(found) == [f"seed {seed}" for seed in range(10)]
    assert len(re.findall(r"^run     ", found.stdout, re.M)) == 10
    assert "more" not in found.stdout


def test_many_seeds_have_one_line_at_the_start_and_three_folders_at_the_end(many, tmp_path):
    assert starts(many) == ["seeds 5 to 16"]
    folders = re.findall(r"^run     (.*)\n", many.stdout, re.M)
    assert len(folders) == 3
    assert f"run     {folders[-1]}\n        ... and 9 more\n" in many.stdout
    seeds = [json.loads((tmp_path / one / "lock.json").read_text())["seed"] for one in folders]
    assert seeds == [5, 6, 7]


def test_evaluations_of_many_seeds_side_by_side_are_one_line_with_their_means(train, tmp_path):
    found = train("train.seeds=12", "train.seed=5", "+train.evaluate_every=1")
    lines = [line.split("  ") for line in found.stderr.splitlines() if "  step " in line]
    assert [line[:2] for line in lines] == [["mean of 12 seeds, 5 to 16", f"step {n}"] for n in (1, 2)]
    losses = []
    for run in (tmp_path / "runs" / "s").iterdir():
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        at_end = [one for one in records if one["record"] == "evaluation" and one["step"] == 2]
        losses += [one["metrics"]["valid/loss"] for one in at_end]
    assert f"valid/loss {sum(losses) / 12:.4g}" in lines[1]


def test_a_seed_that_ends_early_is_waited_for_no_longer():
    class Run(NamedTuple):
        dir: str

    class Event(NamedTuple):
        record: str
        step: int
        run: Run
        metrics: dict[str, float] | None = None
        epoch: int = 1

    runs, together = [Run(name) for name in "abc"], SideBySide()
    for seed, run in enumerate(runs):
        together.begin(run, seed)
    assert together.line(Event("evaluation", 1, runs[0], {"loss": 1.0, "own": 3.0})) == ""
    assert together.line(Event("evaluation", 1, runs[2], {"loss": 3.0})) == ""
    all_three = together.line(Event("evaluation", 1, runs[1], {"loss": 5.0}))
    assert all_three == "mean of 3 seeds, 0 to 2  step 1  epoch 1  loss 3"
    assert together.line(Event("evaluation", 2, runs[0], {"loss": 1.0})) == ""
    assert together.line(Event("evaluation", 2, runs[2], {"loss": 2.0})) == ""
    without = together.line(Event("end", 1, runs[1]))
    assert without == "mean of 2 seeds, 0 to 2  step 2  epoch 1  loss 1.5"
    together.line(Event("end", 2, runs[0]))
    assert together.line(Event("evaluation", 3, runs[2], {"loss": 4.0})) == "seed 2  step 3  epoch 1  loss 4"


def test_of_many_members_of_an_ensemble_the_first_are_shown(train):
    found = train("+train.ensemble.members=12")
    assert re.findall(r"^seed \d+", found.stdout, re.M)[:3] == ["seed 0", "seed 1", "seed 2"]
    assert found.stdout.count("... and 9 more") == 2  # of the rows of the table, and of the folders
    assert len(re.findall(r"^member  ", found.stdout, re.M)) == 3
    few = train("+train.ensemble.members=3")
    assert len(re.findall(r"^member  ", few.stdout, re.M)) == 3
    assert "more" not in few.stdout


def test_many_seeds_that_are_trained_in_turn_have_one_line_at_the_start_too(train):
    found = train("train.seeds=11", "train.optimizer={lbfgs: {}}")
    assert starts(found) == ["seeds 0 to 10"]
    lines = [line for line in found.stderr.splitlines() if "step 2 " in line]
    assert [line.split("  ")[0] for line in lines] == [f"seed {seed}" for seed in range(11)]


def test_notes_of_many_seeds_that_differ_in_numbers_are_said_once(many, train):
    assert many.stdout.count("no better than guessing") == 1
    each = [train("train.seeds=6", f"train.seed={seed}").stdout.splitlines() for seed in (5, 11)]
    first, *others = (line for lines in each for line in lines if "no better than guessing" in line)
    whose, note = first.split(": ", 1)
    assert f"\n{whose} and {len(others)} more: {note}\n" in many.stdout


def test_quiet_and_json_have_each_of_many_runs(train):
    assert len(train("train.seeds=12", "--quiet").stdout.splitlines()) == 13
    assert len(json.loads(train("train.seeds=12", "--json").stdout)["seeds"]) == 12
