"""`dlx runs`: seeds are one row with their mean, what differs is shown, and what is asked for is sorted and found."""

import csv
import io
import json
import subprocess

import pytest
from commands import dlx
from report.made_runs import made_run
from scipy import stats

from dlx.errors import DlxError
from dlx.runs.folder import RunFolder
from dlx.show import run_list as shown
from dlx.sweeps.study import Study
from dlx.trained.run_list import Asked, listed


def end(error, **more):
    return {"metrics": {"valid/error": error, "train/loss": 1.0}, **more}


@pytest.fixture
def root(tmp_path):
    """Three seeds of one spec, two runs of others under the same name, and one run of another name."""
    for seed, error in enumerate((0.1, 0.2, 0.3)):
        made_run(tmp_path, seed=seed, number=seed, rate=0.01, end=end(error))
    made_run(tmp_path, seed=0, number=10, rate=0.1, end=end(0.4))
    made_run(tmp_path, seed=0, number=11, rate=0.1, width=64)  # has died
    made_run(tmp_path, "narrow", number=12, width=8, end=end(0.25))
    return tmp_path


def numbers_of(found):
    return [[one.run.id[13:15] for one in row.runs] for row in found.rows]


def test_seeds_of_a_spec_are_a_row_with_the_interval_of_student_s_t(root):
    found = listed(root, Asked(("wide",)))
    assert numbers_of(found) == [["11"], ["10"], ["02", "01", "00"]]
    mean, half = found.rows[2].metrics["valid/error"]
    assert mean == pytest.approx(0.2)
    assert half == pytest.approx(stats.t.ppf(0.975, 2) * 0.1 / 3**0.5)
    assert found.rows[2].members == "3: seeds 0 to 2"
    assert found.rows[1].metrics["valid/error"] == (0.4, None)


def test_what_differs_between_the_specs_of_a_name_is_shown_and_nothing_else(root):
    found = listed(root, Asked())
    widths = {row.first.run.id[13:15]: apart for row, apart in zip(found.rows, found.differs, strict=True)}
    assert widths["10"] == {"adam": "0.1", "linear": "32"}
    assert widths["02"] == {"adam": "0.01", "linear": "32"}
    assert widths["12"] == {}


def test_each_run_has_a_row_of_its_own_where_that_is_asked_for(root):
    assert numbers_of(listed(root, Asked(each=True))) == [["12"], ["11"], ["10"], ["02"], ["01"], ["00"]]


def test_rows_are_sorted_by_their_means_and_those_without_are_last(root):
    assert numbers_of(listed(root, Asked(sort="valid/error"))) == [["02", "01", "00"], ["12"], ["10"], ["11"]]
    assert numbers_of(listed(root, Asked(sort="-valid/error")))[0] == ["10"]
    assert numbers_of(listed(root, Asked(sort="-valid/error")))[-1] == ["11"]
    with pytest.raises(DlxError, match="no run has `valid/eror`, which `--sort` names"):
        listed(root, Asked(sort="valid/eror"))


def test_a_filter_chooses_runs_before_they_are_grouped(root):
    assert numbers_of(listed(root, Asked(filter="valid/error < 0.25"))) == [["01", "00"]]
    assert numbers_of(listed(root, Asked(filter="adam = 0.1 and status = died"))) == [["11"]]
    assert numbers_of(listed(root, Asked(filter="params > 2000 and name = wide")))[0] == ["11"]


def test_runs_of_a_spec_are_found_by_their_own_seeds(tmp_path):
    text = "name: s\ntrain:\n  steps: 5\n  seed: {}\n"
    for seed in range(3):
        made_run(tmp_path, "s", seed=seed, end=end(0.1)).write_text("spec.yaml", text.format(seed))
    found = listed(tmp_path, Asked(filter="train.seed=1"))
    assert [one.run.id[13:15] for one in found.runs] == ["01"]
    assert len(listed(tmp_path, Asked()).rows) == 1


def test_a_limit_says_how_many_rows_are_beyond_it(root, capsys):
    found = listed(root, Asked(limit=1))
    shown.run_list(found, [], root, "table")
    output = capsys.readouterr()
    assert (found.beyond, len(output.out.splitlines())) == (3, 2)
    assert "3 rows more" in output.err


def test_members_are_in_the_row_of_their_ensemble(tmp_path):
    whole = made_run(tmp_path, number=1, end=end(0.1))
    member = made_run(tmp_path, number=2, end=end(0.2))
    whole.write_json("ensemble.json", {"members": [member.key]})
    (row,) = listed(tmp_path, Asked()).rows
    assert (row.first.run.key, row.members) == (whole.key, "1 member")


def test_a_study_is_a_row_with_its_best_trial(root):
    (root / "wide" / "sweep-0123abcd").mkdir()
    study = Study.begin(root / "wide" / "sweep-0123abcd", {"metrics": ["valid/error"], "rising": [False]})
    trial = {"number": 0, "point": {"train.optimizer.adam.lr": 0.5}, "params": 1, "macs": 1, "runs": {"0": "x"}}
    study.record({"fact": "generation", "generation": 0, "trials": [trial], "refused": []})
    reached = {"trial": 0, "step": 5, "metrics": {"0": {"valid/error": 0.07}}, "steps": {"0": 5}, "seconds": 2.0}
    study.record({"fact": "reached", **reached, "state": "finished"})
    study.close()
    found = shown.as_json(listed(root, Asked(("wide",))))
    (one,) = found["studies"]
    assert one["study"] == "wide/sweep-0123abcd"
    assert (one["status"], one["trials"]) == ("finished", {"finished": 1})
    assert one["best"] == {"train.optimizer.adam.lr": 0.5}
    assert one["metrics"] == {"valid/error": 0.07}
    assert len(found["groups"]) == 3


def test_one_damaged_run_hides_no_other(tmp_path, capsys):
    whole, bad = RunFolder.create(tmp_path, "a"), made_run(tmp_path, "b", end=end(0.1))
    whole.append({"record": "start", "time": 1.0})
    whole.close()
    (bad.dir / "metrics.jsonl").write_text('{"record":"end","step":[]}\n')
    found = listed(tmp_path, Asked())
    shown.run_list(found, [], tmp_path, "table")
    output = capsys.readouterr()
    assert sorted(line.split()[1] for line in output.out.splitlines()) == ["died", "status", "unreadable"]
    sentence = f"{bad.dir / 'metrics.jsonl'} is damaged: its last line is no record of a run"
    assert output.err == f"{sentence}\n"
    (as_json,) = [one for one in shown.as_json(found)["runs"] if one["status"] == "unreadable"]
    assert as_json["error"] == sentence


def test_the_list_is_a_table_of_a_document_too(root, capsys):
    found = listed(root, Asked(("wide", "narrow"), sort="valid/error"))
    shown.run_list(found, ["valid/error"], root, "markdown")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| run | of | status | differs | steps | seconds | valid/error |"
    assert lines[1] == "| --- | --- | --- | --- | ---: | ---: | ---: |"
    assert "| 0.2 ± 0.25 |" in lines[2]

    shown.run_list(found, ["valid/error"], root, "latex")
    latex = capsys.readouterr().out
    assert r"\begin{tabular}{llllrrr}" in latex
    assert r"0.2 \ensuremath{\pm} 0.25 \\" in latex

    shown.run_list(found, ["valid/error"], root, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(rows[0]["valid/error"]) == pytest.approx(0.2)
    assert float(rows[0]["± valid/error"]) == pytest.approx(0.2484, abs=1e-4)
    assert rows[0]["steps"] == "100"


def test_the_folder_of_runs_may_stand_before_the_command(root):
    def removed(*argv):
        return dlx("runs", *argv, "narrow", "--dry-run").stdout

    assert removed("--runs", root, "rm") == removed(f"--runs={root}", "rm") == removed("rm", "--runs", root)
    assert "would be free" in removed("--runs", root, "rm")
    assert dlx("runs", "--json", "--runs", root, "list").stdout == dlx("runs", "--json", "--runs", root).stdout
    assert "there is no run `syn` in" in dlx("runs", "--runs", root, "syn").stderr


def test_the_command_lists_by_default_and_takes_names_and_options(root):
    def runs(*argv):
        return dlx("runs", *argv, "--runs", root)

    assert runs().stdout == runs("list").stdout
    assert json.loads(runs("--json").stdout) == json.loads(runs("--format", "json").stdout)
    found = json.loads(runs("wide", "--tag", "keep", "--json").stdout)
    assert (found["runs"], found["groups"]) == ([], [])
    both: subprocess.CompletedProcess[str] = runs("--json", "--format", "csv")
    assert (both.returncode, "`--json` and `--format csv` ask for two forms" in both.stdout + both.stderr) == (
        2,
        True,
    )
    assert "there is no run `wid0`" in runs("wid0").stderr
