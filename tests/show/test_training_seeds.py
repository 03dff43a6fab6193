"""What `dlx train` says of seeds: a line for each of a few, and of many what does not hide the result."""

import json
import re

import pytest
from typer.testing import CliRunner

from dlx import cli

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


def test_each_evaluation_of_many_seeds_says_whose_it_is(many):
    lines = [line for line in many.stderr.splitlines() if "step 2 " in line]
    assert sorted(line.split("  ")[0] for line in lines) == sorted(f"seed {seed}" for seed in range(5, 17))


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
