"""A run records how it came about: the overrides of its spec, and the runs that are trained with it."""

import pytest

from dlx.errors import DlxError
from dlx.experiment import runner
from dlx.experiment.extension import extended
from dlx.runs import origin
from dlx.runs.folder import RunFolder
from dlx.runs.lookup import all_runs
from dlx.spec import load
from dlx.spec.overrides import values_of

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [6], classes: 4, train: 32, valid: 16, test: 16}}
network: {layers: [linear: 8, relu, linear: 4]}
init: he_normal
train: {epochs: 1, batch_size: 16, save_every: 1}
track: {mlflow: false}
"""


@pytest.fixture
def trained(tmp_path):
    def run(*changes, text=SPEC):
        path = tmp_path / "s.yaml"
        path.write_text(text)
        return [result.run for result in runner.run(load(path, changes), tmp_path / "runs").results]

    return run


def test_overrides_are_values_by_key_and_the_last_of_a_key_counts():
    texts = ["train/epochs=2", "++train.epochs=3", "~init", "+vars.w=[1,2]", "track.uri=http://me:secret@host"]

    assert values_of(texts) == {
        "train.epochs": 3,
        "~init": None,
        "vars.w": [1, 2],
        "track.uri": "http://me:***@host",
    }
    assert values_of(["~init", "init=zeros"]) == {"init": "zeros"}


def test_a_run_has_its_overrides_and_one_without_has_no_file(trained):
    (changed,) = trained("train.optimizer={sgd: {lr: 0.1}}", "~init")
    (plain,) = trained()

    assert origin.overrides_of(changed) == {"train.optimizer": {"sgd": {"lr": 0.1}}, "~init": None}
    assert origin.group_of(changed) is None
    assert not (plain.dir / origin.ORIGIN).exists()
    assert origin.overrides_of(plain) == {}


@pytest.mark.parametrize("how", ["train.trace=true", "train.trace=false"])  # packed, and one after the other
def test_seeds_know_each_other_and_are_no_overrides(trained, how):
    runs = trained(how, "train.seeds=3", "train.epochs=2")

    assert [origin.group_of(run) for run in runs] == [origin.Group("seeds", 3, tuple(run.key for run in runs))] * 3
    assert origin.overrides_of(runs[1]) == {"train.trace": how.endswith("true"), "train.epochs": 2}


def test_seeds_of_a_spec_with_stages_know_each_other(trained):
    text = SPEC.replace(
        "train: {epochs: 1, ", "stages: [{name: a, train: {epochs: 1}}, {name: b}]\ntrain: {epochs: 2, "
    )

    runs = trained("train.seeds=2", "init=zeros", text=text)

    assert [origin.group_of(run).runs for run in runs] == [tuple(run.key for run in runs)] * 2
    assert origin.overrides_of(runs[0]) == {"init": "zeros"}


def test_members_know_their_ensemble(trained, tmp_path):
    members = trained("+train.ensemble={members: 2}")

    (whole,) = [run for run in all_runs(tmp_path / "runs") if run.members()]
    assert [origin.group_of(run) for run in members] == [origin.Group("members", of=whole.key)] * 2
    assert origin.overrides_of(whole) == {"train.ensemble": {"members": 2}}
    assert origin.group_of(whole) is None


def test_a_longer_run_has_the_overrides_of_the_first_but_its_length(trained, tmp_path):
    (first,) = trained("train.epochs=2", "init=zeros")

    extended(first, ["train.epochs=3"], tmp_path / "runs")

    (longer,) = [run for run in all_runs(tmp_path / "runs") if run.key != first.key]
    assert origin.overrides_of(longer) == {"init": "zeros", "train.epochs": 3}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('{"overrides": [1]}', "overrides"),
        ('{"group": {"kind": "seeds", "count": 2, "runs": [1]}}', "group"),
        ('{"group": "seeds"}', "group"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, text, key):
    run = RunFolder.create(tmp_path, "s")
    run.write_text(origin.ORIGIN, text)

    with pytest.raises(DlxError, match=f"origin.json is damaged: `{key}` is not what dlx writes there"):
        origin.overrides_of(run) if key == "overrides" else origin.group_of(run)
