"""`dlx runs rm`, `prune` and `tag`: what is removed, what has to stay and why, and the disk that is free."""

import json
import os
import shutil
from datetime import timedelta

import pytest
from commands import dlx
from report.made_runs import made_run

from dlx.errors import DlxError
from dlx.runs.lookup import all_runs
from dlx.trained import removal
from dlx.trained.run_list import Asked, listed

END = {"metrics": {"valid/error": 0.1}}


@pytest.fixture
def root(tmp_path):
    """A finished run with a training state, one that failed, one that died, and one that runs."""
    made_run(tmp_path, number=1, end=END)
    made_run(tmp_path, number=2, end={**END, "status": "failed"})
    made_run(tmp_path, number=3)
    running = made_run(tmp_path, number=4)
    running.write_json("lock.json", {"seed": 0, "pid": os.getpid()})
    folder = of(tmp_path, 1).dir / "checkpoints"
    for name, size in (("final", 50_000), ("step-000000100", 200_000)):
        (folder / f"{name}.safetensors").write_bytes(b"x" * size)
        (folder / f"{name}.json").write_text("{}")
    return tmp_path


def of(root, number):
    return next(run for run in all_runs(root) if run.id[13:15] == f"{number:02d}")


def numbers(removals):
    return sorted(one.run.id[13:15] for one in removals)


def used(folder):
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def test_a_run_is_removed_and_its_disk_is_free(root):
    run, other = of(root, 1), made_run(root, "alone", number=5, end=END)
    held = used(root)
    (one,) = removal.whole_runs([run.key], root)
    folders = [run.dir, run.dir / "checkpoints"]
    assert one.bytes == used(run.dir) >= 250_000
    freed = removal.remove([one], root)
    assert freed == held - used(root)
    assert not any(folder.exists() for folder in folders)

    removal.remove(removal.whole_runs(["alone"], root), root)
    assert not other.dir.parent.exists()


def test_a_running_run_stays(root):
    with pytest.raises(DlxError, match=r"wide/20260101-000004-0000 is running\n  Stop it first"):
        removal.whole_runs([of(root, 4).key], root)


@pytest.mark.parametrize(
    "section",
    [
        "weights: {{from: {source}}}",
        "weights: {{from: {source}/checkpoints/final.safetensors}}",
        "networks: {{teacher: {{from: {source}}}}}",
        "stages: [{{name: a, weights: {{from: {source}}}}}]",
    ],
)
def test_a_run_stays_that_another_takes_weights_of_until_both_go(root, section):
    source, user = of(root, 1), made_run(root, "user", number=6, end=END)
    text = (user.dir / "spec.yaml").read_text()
    user.write_text("spec.yaml", text + section.format(source=source.dir.absolute()) + "\n")
    with pytest.raises(DlxError, match=rf"{source.key} is needed by {user.key}\n  Remove those first, or with it"):
        removal.whole_runs([source.key], root)
    assert numbers(removal.whole_runs([source.key, user.key], root)) == ["01", "06"]


def test_members_go_with_their_ensemble_and_not_without_it(root):
    whole = made_run(root, "both", number=6, end=END)
    member = made_run(root, "both", number=7, end=END)
    whole.write_json("ensemble.json", {"members": [member.key]})
    assert numbers(removal.whole_runs([whole.key], root)) == ["06", "07"]
    with pytest.raises(DlxError, match=f"{member.key} is needed by {whole.key}"):
        removal.whole_runs([member.key], root)


def test_a_name_of_several_runs_and_a_trial_are_refused(root):
    with pytest.raises(DlxError, match="`wide` is the name of 4 runs, and what is removed is not there again"):
        removal.whole_runs(["wide"], root)
    trial = made_run(root, number=8, end=END)
    trial.dir.rename(root / "wide" / "trial-0123456789abcdef")
    with pytest.raises(DlxError, match="is of a trial of a study"):
        removal.whole_runs([str(root / "wide" / "trial-0123456789abcdef")], root)


def test_a_folder_that_is_no_run_is_never_removed(root, tmp_path):
    mine = tmp_path / "project"
    mine.mkdir()
    (mine / "lock.json").write_text("{}")
    with pytest.raises(DlxError, match="project is no run folder"):
        removal.whole_runs([str(mine)], root)


def test_failed_and_died_runs_are_pruned_but_not_what_others_need(root):
    assert numbers(removal.unfinished(root)) == ["02", "03"]
    user = made_run(root, "user", number=6, end=END)
    text = (user.dir / "spec.yaml").read_text()
    user.write_text("spec.yaml", f"{text}weights: {{from: {of(root, 2).dir}}}\n")
    assert numbers(removal.unfinished(root)) == ["03"]


def test_training_states_are_pruned_and_weights_stay(root):
    (one,) = removal.states(root)
    removal.remove([one], root)
    assert sorted(path.name for path in (of(root, 1).dir / "checkpoints").iterdir()) == [
        "final.json",
        "final.safetensors",
    ]
    assert 200_000 <= one.bytes < 250_000
    assert removal.states(root) == []


def test_an_age_keeps_what_is_younger(root):
    young = made_run(root, number=9)
    young.dir.rename(young.dir.with_name("29990101-000000-0000"))
    assert numbers(removal.unfinished(root, timedelta(days=1))) == ["02", "03"]
    assert removal.span_of("2w") == timedelta(days=14)
    assert removal.span_of("12h") == timedelta(hours=12)
    with pytest.raises(DlxError, match="`--older-than soon` is no time"):
        removal.span_of("soon")


def test_what_a_kill_left_half_removed_is_no_run_and_goes_with_the_next(root):
    run = of(root, 1)
    run.dir.rename(run.dir.with_name(f".{run.id}.removed"))
    assert numbers(removal.states(root)) == []
    assert removal.remove([], root) >= 250_000
    assert not list(root.glob("*/.*"))


def test_a_tag_is_found_by_the_list_and_can_be_taken_away(root):
    removal.tag(["last"], ["keep=yes", "paper=table 3"], root)
    assert [row.tags for row in listed(root, Asked(tags=("keep",))).rows] == [{"keep": "yes", "paper": "table 3"}]
    assert listed(root, Asked(tags=("keep=no",))).rows == ()
    assert len(listed(root, Asked(filter="paper = 'table 3'")).rows) == 1
    removal.tag(["last"], ["keep-"], root)
    assert of(root, 4).tags() == {"paper": "table 3"}
    with pytest.raises(DlxError, match=r"has no tag `papr`"):
        removal.tag(["last"], ["papr-"], root)
    with pytest.raises(DlxError, match=r"`yes` is no tag\n  Write `KEY=VALUE`"):
        removal.tag(["last"], ["yes"], root)


def test_tags_arrive_in_mlflow(root, empty_store):
    from mlflow.tracking import MlflowClient

    from dlx import track

    shutil.copy(empty_store, root / "mlflow.db")
    uri = f"sqlite:///{root / 'mlflow.db'}"
    run = of(root, 2)
    removal.tag([run.key], ["paper=table 3"], root)
    first = track.sync(run, uri)
    removal.tag([run.key], ["paper=table 4"], root)
    assert first.complete, str(first)
    assert track.sync(run, uri).complete
    assert MlflowClient(uri).get_run(first.run_id).data.tags["paper"] == "table 4"


def test_the_commands_ask_say_and_remove(root):
    def runs(*argv):
        return dlx("runs", *argv, "--runs", root)

    key = of(root, 2).key
    dry = runs("rm", key, "--dry-run")
    assert (dry.returncode, "would be free" in dry.stdout) == (0, True)
    refused = runs("rm", key)
    assert (refused.returncode, "nobody can be asked" in refused.stderr) == (2, True)
    assert (root / key).is_dir()
    done = json.loads(runs("rm", key, "--yes", "--json").stdout)
    assert (done["runs"], done["removed"], done["bytes"] > 0) == ([key], True, True)
    assert not (root / key).exists()

    pruned = runs("prune", "--failed", "--checkpoints", "--yes")
    assert (pruned.returncode, " are free" in pruned.stdout) == (0, True)
    assert {run.id[13:15] for run in all_runs(root)} == {"01", "04"}
    nothing = runs("prune")
    assert (nothing.returncode, "Say what: `--failed`, `--checkpoints`" in nothing.stderr) == (2, True)
    assert runs("tag", of(root, 1).key, "keep=yes").stdout == f"{of(root, 1).key}  keep=yes\n"
