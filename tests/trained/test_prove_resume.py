"""`dlx prove-resume`: two real trainings, one of them killed, and all that they left behind."""

import json

import pytest
from helpers import SHIPPED

from dlx import cli
from dlx.errors import DlxError, RunError
from dlx.experiment import runner
from dlx.optim import OPTIMIZERS
from dlx.spec import load
from dlx.trained import prove_resume

SPEC = """\
dlx: 1
name: s
data: {{synthetic: {{shape: [1, 6, 6], classes: 4, train: 160, valid: 40, test: 40}}}}
network:
  layers: [{{conv: {{out_channels: 3, kernel_size: 3}}}}, batch_norm, relu, {{dropout: 0.3}}, flatten, {{linear: 4}}]
train: {{epochs: {epochs}, batch_size: {batch}, optimizer: {optimizer}, schedule: {{exponential: {{gamma: 0.95}}}}}}
"""


@pytest.fixture
def spec(tmp_path):
    def written(optimizer: str = "adam", epochs: int = 20, batch: int | str = 32):
        path = tmp_path / "s.yaml"
        path.write_text(SPEC.format(optimizer=optimizer, epochs=epochs, batch=batch))
        return path

    return written


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status of a command, and what it says."""
    try:
        status = cli.app([str(word) for word in arguments], standalone_mode=False) or 0
    except SystemExit as end:
        status = end.code
    output = capsys.readouterr()
    return status, output.out, output.err


def test_a_killed_training_leaves_the_same_bits_and_the_command_says_so(spec, capsys):
    status, out, err = run(capsys, "prove-resume", spec(), "--kills", 1, "--steps", 40)

    assert status == 0, out + err
    assert out.startswith("s: 40 steps, killed at step ")
    assert "\nbit-equal: 49 records of the curve, " in out
    assert err.splitlines()[0] == "s: 40 steps without a kill"


def test_as_a_document(spec, capsys, copied_trainings):
    status, out, _ = run(capsys, "prove-resume", spec(), "--kills", 0, "--steps", 20, "--json")

    document = json.loads(out)
    assert (status, document["equal"], document["steps"]) == (0, True, 20)
    assert (document["kills"], document["first"], document["differing"]) == ([], None, {})
    assert document["values"] > 50


def test_the_training_is_cut_and_all_else_is_as_it_is_written(spec):
    more = ["train.log_every=50", "+train.seeds=3", "+train.max_time=2h"]
    found, total = prove_resume.shortened_spec(spec(epochs=500), more, 60)

    train = found.train
    assert total == train.steps == 60
    assert (train.epochs, train.log_every, train.save_every, train.seeds) == (None, 50, 3, 3)
    assert (train.max_time, found.track.mlflow) == (None, False)


@pytest.mark.parametrize(
    ("change", "steps"), [("train.epochs=500", 60), ("train.steps=90", 60), ("train.steps=40", 40)]
)
def test_a_length_that_an_override_sets_is_cut_too(spec, change, steps):
    found, total = prove_resume.shortened_spec(spec(), [change], 60)
    assert (total, found.train.steps, found.train.epochs, found.problems) == (steps, steps, None, ())


@pytest.mark.parametrize(("said", "comes_to"), [(7, 7), (30, 30), (31, 3)])
def test_it_saves_when_the_spec_says_so_where_that_is_twice(spec, said, comes_to):
    found, _ = prove_resume.shortened_spec(spec(epochs=500), [f"+train.save_every={said}"], 60)
    assert found.train.save_every == comes_to


def test_members_stay_and_snapshots_that_are_cut_off_ask_for_more_steps(spec):
    found, _ = prove_resume.shortened_spec(spec(), ["+train.ensemble={members: 3, bootstrap: true}"], 60)
    assert (found.train.ensemble.members, found.train.ensemble.bootstrap) == (3, True)
    more = ["+train.ensemble={snapshots: 2}", "train.schedule={cosine_restarts: {T_0: 10}}"]
    with pytest.raises(DlxError) as refused:
        prove_resume.shortened_spec(spec(), more, 60)
    assert "2 snapshots want 2 cycles" in refused.value.problems[0].message
    assert refused.value.problems[0].hint == "`--steps N` proves more than 60 of its 100 steps."


def test_a_short_training_is_left_as_long_as_it_is(spec):
    found, total = prove_resume.shortened_spec(spec(epochs=4), [], 60)
    assert (total, found.train.epochs, found.train.steps) == (20, 4, None)


def test_one_step_is_nothing_to_cut(spec):
    with pytest.raises(DlxError, match="s trains for one step, and nothing can be cut off"):
        prove_resume.shortened_spec(spec(epochs=1, batch="all"), [], 60)


def test_what_differs_is_named(spec, tmp_path, capsys):
    """Two seeds, as a stand-in for a training that forgets something."""
    path = spec(epochs=2)
    changes = ["+train.save_every=5", "+train.log_every=1", "+track.mlflow=false"]
    one, other = (
        runner.run(load(path, [*changes, f"+train.seed={seed}"]), tmp_path / str(seed)).results[0].run
        for seed in (1, 2)
    )
    found = prove_resume.compare_trainings({"": one}, {"": other}, 10, 3, (4,))

    assert not found.equal
    assert (found.difference.record, found.difference.step, found.difference.metric) == (
        "step",
        1,
        "train/running_loss",
    )
    assert {name for name, what in found.differing.items() if what} == {
        *("final", "step-000000005", "step-000000010", "end")
    }
    assert found.differing["end"] == ["metrics"]
    assert "conv_1.weight" in found.differing["final"]
    names = {"state/progress/random/python/1", "state/progress/random/torch", "state/feed/order"}
    assert names <= set(found.differing["step-000000005"])
    assert not {"state/progress/step", "facts/step"} & set(found.differing["step-000000005"])

    from dlx.show.prove_resume import proof as show

    show(found)
    output = capsys.readouterr().out.splitlines()
    assert output[:2] == ["s: 10 steps, killed at step 4", "  1 of 3 kills: the training ended before the others"]
    losses = [
        next(r for r in run.records() if r["record"] == "step")["metrics"]["train/running_loss"]
        for run in (one, other)
    ]
    assert output[2] == f"differs first in train/running_loss at step 1: {losses[0]!r} and {losses[1]!r}"
    assert any(line.startswith("differs in step-000000005: ") for line in output)


def test_a_training_that_fails_is_reported_and_what_it_left_stays(
    spec, tmp_path, monkeypatch, capfd, copied_trainings
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(RunError, match=r"are not finite|the loss is"), prove_resume.retained_on_failure() as home:
        prove_resume.prove(spec("{sgd: 1e12}"), [], home)
    assert f"what the trainings left is in {home}" in capfd.readouterr().err
    assert (home / "spec.yaml").exists()


def test_a_spec_that_cannot_be_trained_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(DlxError, match="there is no `data` to train with"),
        prove_resume.retained_on_failure() as home,
    ):
        prove_resume.prove(SHIPPED["ihler/lenet"], [], home)
    assert not home.exists()


def test_a_shipped_spec_goes_on_to_the_same_bits(tmp_path, copied_trainings):
    found = prove_resume.prove(SHIPPED["digits/lenet"], [], tmp_path, kills=1, steps=20)
    assert found.equal, found.as_json()
    assert found.killed


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("cs231n/two-layer-adam", "cs231n/two-layer-minibatch", "digits/lenet", "mnist1d/cnn", "mnist1d/logistic"),
        *("mnist1d/mlp", "udl/linear-regression", "udl/mnist1d-conv", "udl/mnist1d-dense"),
    ],
)
def test_every_shipped_spec_that_trains_here_survives_five_kills(name, tmp_path):
    found = prove_resume.prove(SHIPPED[name], [], tmp_path, steps=200)
    assert found.equal, found.as_json()
    assert found.killed


PHASED = {
    **dict.fromkeys(("gan", "wgan-gp", "dcgan", "conditional-gan", "made", "flow", "vae", "diffusion"), "packed"),
    **dict.fromkeys(("wgan", "gan-1d", "pixelcnn", "sparse-autoencoder", "contractive-autoencoder"), "packed"),
    **dict.fromkeys(("realnvp-digits", "cycle", "rotation", "simclr"), "plain"),
}
"""Zoo specs of objectives with phases, and how two seeds of a hundred steps are trained."""


@pytest.mark.slow
@pytest.mark.parametrize("name", PHASED)
def test_two_seeds_of_objectives_with_phases_survive_two_kills(name, tmp_path):
    moments = [] if "stages:" in SHIPPED[f"zoo/{name}"].read_text() else ["++train.evaluate_every=40"]
    found = prove_resume.prove(SHIPPED[f"zoo/{name}"], ["train.seeds=2", *moments], tmp_path, kills=2)
    assert found.equal, found.as_json()
    assert (len(found.killed), found.trainings) == (2, 2)
    assert {ways_of(run) for run in (tmp_path / "whole").glob("*/*")} == {PHASED[name]}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan", "wgan-gp", "vae"])
def test_phases_that_are_replayed_survive_two_kills(name, tmp_path):
    changes = ["train.trace=true", "train.evaluate_every=40"]
    found = prove_resume.prove(SHIPPED[f"zoo/{name}"], changes, tmp_path, kills=2)
    assert found.equal, found.as_json()
    assert {ways_of(run) for run in (tmp_path / "whole").glob("*/*")} == {"replayed"}


def ways_of(run):
    return json.loads((run / "lock.json").read_text())["way"]["step"]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_every_optimizer_survives_three_kills(optimizer, spec, tmp_path):
    whole = optimizer in {"gradient_descent", "newton", "lbfgs"}
    written = "{newton: {damping: 0.1}}" if optimizer == "newton" else optimizer
    path = spec(written, epochs=40, batch="all" if whole else 32)
    found = prove_resume.prove(path, [], tmp_path / "proof", kills=3, steps=40)
    assert found.equal, found.as_json()
    assert found.killed


KINDS = {
    "packed": "batch_schedule: {milestones: [2, 5]}, seeds: 3",
    "sequential": "augment: [{gaussian_noise: 0.1}, horizontal_flip], average: {ema: 0.9}, seeds: 3",
    "ensemble": "batch_schedule: {milestones: [2]}, ensemble: {members: 3, bootstrap: true}",
    "augmented": "augment: [horizontal_flip, {mixup: 0.4}, {rotate: 10}], average: {swa: {start: 0.3}}",
    "recurrent": "accumulate: 2, clip_norm: 0.5, keep_best: 2, log_every: 3, early_stopping: {patience: 30}",
}
"""What is proved by eight kills each, forty in all."""


@pytest.fixture
def kind(tmp_path):
    def written(name: str):
        path = tmp_path / "s.yaml"
        text = SPEC.format(optimizer="adam", epochs=12, batch=32).replace("}}}\n", f"}}}}, {KINDS[name]}}}\n")
        if name == "recurrent":
            first = text.index("  layers:")
            text = (
                text[:first]
                + "  layers: [{lstm: 8}, {dropout: 0.2}, flatten, {linear: 4}]\n"
                + text[text.index("train: {") :]
            )
            text = text.replace("[1, 6, 6]", "[5, 6]").replace(
                "{exponential: {gamma: 0.95}}", "{plateau: {patience: 1}}"
            )
        path.write_text(text)
        return path

    return written


def test_the_members_of_an_ensemble_that_are_killed_go_on_to_the_same_bits(kind, tmp_path, copied_trainings):
    found = prove_resume.prove(kind("ensemble"), [], tmp_path / "proof", kills=1, steps=20)

    assert found.equal, found.as_json()
    assert (found.trainings, len(found.killed)) == (3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_eight_kills_at_random_moments_do_not_change_a_bit(name, kind, tmp_path):
    found = prove_resume.prove(kind(name), [], tmp_path / "proof", kills=8, steps=60)

    assert found.equal, found.as_json()
    assert len(found.killed) == 8


@pytest.mark.slow
@pytest.mark.parametrize("fold", range(2))
def test_a_fold_survives_three_kills(fold, tmp_path):
    path = tmp_path / "f.yaml"
    layers = "[{conv: {out_channels: 4, kernel_size: 3}}, batch_norm, relu, flatten, {linear: 10}]"
    path.write_text(
        f"name: f\ndata: {{digits: {{folds: 4, fold: {fold}}}}}\nnetwork: {{layers: {layers}}}\n"
        "train: {epochs: 3, schedule: {cosine_restarts: {T_0: 1}}, ensemble: {snapshots: 2}}\n"
    )
    found = prove_resume.prove(path, [], tmp_path / "proof", kills=3, steps=200)

    assert found.equal, found.as_json()
    assert len(found.killed) == 3


@pytest.mark.slow
def test_fifty_kills_do_not_change_a_bit(spec, tmp_path):
    found = prove_resume.prove(spec(epochs=400), [], tmp_path / "proof", kills=50, steps=2000)
    assert found.equal, found.as_json()
    assert len(found.killed) == 50
