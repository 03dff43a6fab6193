"""Weights that are frozen for a while: what moves when, and that nothing else follows from it."""

import pytest
import torch
from helpers import experiment_of
from safetensors.torch import load_file

from dlx.errors import SpecError
from dlx.experiment import runner
from dlx.graph import trace, trace_all
from dlx.network import build
from dlx.training.checkpoints import checkpoint
from dlx.training.freezing import Freezing
from dlx.training.prepared import ready

SPEC = """\
name: f
data: {synthetic: {shape: [6], classes: 3, train: 96, valid: 32}}
network:
  layers:
    - {name: trunk, layers: [{linear: 8}, batch_norm, relu, {dropout: 0.3}]}
    - {name: body, layers: [{linear: 8}, tanh]}
    - {linear: 3, name: head}
freeze: FREEZE
train: {epochs: 6, batch_size: 16, save_every: 1, log_every: 1}
track: {mlflow: false}
"""
GRADUAL = "[{match: body, until: {epoch: 2}}, {match: trunk, until: {step: 20}, mode: eval}]"
"""The body moves after 12 steps of 36, the trunk after 20."""


def spec(freeze=GRADUAL, *changes):
    return experiment_of(SPEC.replace("FREEZE", freeze)).changed(changes)


def trained(tmp_path, *args, callback=None):
    """The folder of a training."""
    return runner.run(spec(*args), tmp_path / "runs", callback).results[0].run.dir


def final(folder):
    return load_file(folder / "checkpoints" / "final.safetensors")


def stopped_after(step):
    def callback(event):
        if getattr(event, "record", "") == "step" and event.step == step:
            raise KeyboardInterrupt

    return callback


def state_at(tmp_path, step):
    """The newest training state of a run that is stopped after `step`."""
    folder = trained(tmp_path, callback=stopped_after(step))
    newest = sorted((folder / "checkpoints").glob("step-*.safetensors"))[-1]
    return int(newest.stem[5:]), load_file(newest)


@pytest.mark.parametrize(("step", "body", "trunk"), [(11, False, False), (15, True, False), (26, True, True)])
def test_weights_move_from_the_update_after_the_end_of_their_freeze_on(tmp_path, step, body, trunk):
    found, state = state_at(tmp_path, step)
    assert step - 3 <= found <= step
    torch.manual_seed(0)
    start = build(trace(spec())).state_dict()
    moved = {name for name in start if not torch.equal(start[name], state[name])}
    assert ("body.linear_1.weight" in moved, "trunk.linear_1.weight" in moved) == (body, trunk)
    assert "head.weight" in moved
    # in evaluation mode its statistics do not follow the batches either
    assert ("trunk.batch_norm_1.running_mean" in moved) == trunk
    assert int(state["trunk.batch_norm_1.num_batches_tracked"]) == max(0, found - 20)


def test_up_to_the_end_of_the_freeze_it_is_the_training_of_weights_that_never_move(tmp_path):
    gradual = "[{match: body, until: {step: 12}}]"
    for_good = final(trained(tmp_path, "[body]", "train.epochs=2"))
    a_step_short = final(trained(tmp_path, gradual, "train.epochs=2"))
    longer = final(trained(tmp_path, gradual, "train.epochs=3"))
    assert all(torch.equal(for_good[name], a_step_short[name]) for name in for_good)
    assert not torch.equal(for_good["body.linear_1.weight"], longer["body.linear_1.weight"])


@pytest.mark.parametrize("optimizer", ["adam", "{sgd: {lr: 0.1, momentum: 0.9}}", "rmsprop", "nadam", "muon"])
def test_replayed_or_not_the_bits_are_the_same(tmp_path, optimizer):
    changes = ["train.epochs=8", f"train.optimizer={optimizer}"]
    plain, replayed = (final(trained(tmp_path, GRADUAL, *changes, f"+train.trace={on}")) for on in ("false", "true"))
    assert all(torch.equal(plain[name], replayed[name]) for name in plain)


def test_the_moments_of_adam_begin_when_its_weights_move(tmp_path):
    found, state = state_at(tmp_path, 30)
    name = f"step-{found:09d}"
    (folder,) = (tmp_path / "runs" / "f").iterdir()
    assert checkpoint.facts(folder / "checkpoints", name)["step"] == found
    counts = sorted({int(one) for key, one in state.items() if key.startswith("state/") and key.endswith("/step")})
    assert counts == [found - 20, found - 12, found]


@pytest.mark.parametrize("step", [5, 12, 16, 20, 27])
def test_stopped_at_any_moment_it_goes_on_to_the_same_bits(tmp_path, step):
    whole = final(trained(tmp_path))
    cut = runner.run(spec(), tmp_path / "runs", stopped_after(step)).results[0]
    assert cut.status == "stopped"
    _, ended = runner.resume(cut.run)
    again = final(ended.results[0].run.dir)
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_seeds_side_by_side_are_those_of_each_alone(tmp_path):
    by = "train.optimizer={sgd: {lr: 0.05, momentum: 0.9}}"  # Adam makes much of a last bit of small gradients
    alone = [final(trained(tmp_path, GRADUAL, by, f"+train.seed={seed}")) for seed in (0, 1)]
    packed = runner.run(spec(GRADUAL, by, "+train.seeds=2"), tmp_path / "runs").results
    assert all(one.run.lock()["way"]["step"] == "packed" for one in packed)
    for mine, one in zip(alone, packed, strict=True):
        together = final(one.run.dir)
        for name, value in mine.items():
            assert torch.allclose(value, together[name], rtol=1e-4, atol=1e-5), name


def test_packed_seeds_that_are_stopped_at_different_steps_go_on_to_the_same_bits(tmp_path):
    whole = [final(one.run.dir) for one in runner.run(spec(GRADUAL, "+train.seeds=2"), tmp_path / "runs").results]
    cut = runner.run(spec(GRADUAL, "+train.seeds=2"), tmp_path / "runs", stopped_after(17)).results
    for mine, one in zip(whole, cut, strict=True):
        _, ended = runner.resume(one.run)
        again = final(ended.results[0].run.dir)
        assert all(torch.equal(mine[name], again[name]) for name in mine)


def test_of_items_that_match_a_node_the_first_one_counts(tmp_path):
    graph = trace(spec("[trunk/linear_1, {match: [trunk, body], until: {epoch: 3}}]"))
    by_name = graph.by_name
    assert (by_name["trunk/linear_1"].frozen, by_name["trunk/linear_1"].frozen_until) == (True, None)
    assert str(by_name["body/linear_1"].frozen_until) == "epoch 3"
    # what moves in the end counts as trainable: all but 6 * 8 + 8
    assert graph.params - graph.trainable == 56


def test_of_several_networks_one_that_never_moves_is_in_evaluation():
    text = """\
    networks:
      teacher: {inputs: {image: [4]}, layers: [{linear: 4}, {dropout: 0.5}]}
      student: {inputs: {image: [4]}, layers: [{linear: 4}, {dropout: 0.5}]}
    freeze: [teacher]
    """
    graphs = trace_all(experiment_of(text))
    networks = {name: build(graph).train() for name, graph in graphs.items()}
    Freezing.of(graphs, networks).hold(0)
    assert (networks["teacher"].dropout_1.training, networks["student"].dropout_1.training) == (False, True)


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ("[{match: body, until: {step: 5, epoch: 1}}]", "give one of the two, `step` or `epoch`"),
        ("[{match: body, until: {}}]", "give one of the two, `step` or `epoch`"),
        ("[{match: body, until: 5}]", "`until` must be a mapping, not 5"),
        ("[{match: body, until: {epoch: 0}}]", "`epoch` must be above 0, not 0"),
        ("[{until: {step: 5}}]", "`match` is missing"),
        ("[{match: body, mode: evaluation}]", '`mode` must be "train" or "eval", not "evaluation"'),
        ("[{match: bodi}]", '`freeze` matches no node: "bodi"'),
        ("[5]", "`freeze` takes names of nodes, with `*`, not 5"),
        ("[{match: '*', until: {step: 5}}]", "all weights that may move are frozen at the start, until step 5"),
    ],
)
def test_a_wrong_freeze_is_a_sentence_at_its_place(freeze, message):
    with pytest.raises(SpecError) as told:
        ready(spec(freeze))
    assert [one.message for one in told.value.problems] == [message]
    assert told.value.problems[0].mark.line == 8


def test_an_optimizer_that_looks_at_the_loss_is_refused():
    with pytest.raises(SpecError, match="lbfgs moves all weights by one look at the loss"):
        ready(spec(GRADUAL, "train.optimizer=lbfgs"))


@pytest.mark.parametrize(
    ("until", "length"), [("epoch: 9", "6 epochs"), ("epoch: 6", "6 epochs"), ("step: 99", "36 steps")]
)
def test_a_freeze_that_does_not_end_before_the_training_is_told_once(tmp_path, until, length):
    notes = []
    late = spec(f"[{{match: body, until: {{{until}}}}}]")
    (warning,) = trace(late).warnings
    runner.run(late, tmp_path / "runs", lambda event: notes.extend(getattr(event, "notes", ())))
    assert f" the {length} of the training: `body` never moves" in warning.message
    assert not [note for note in notes if "never moves" in note or "freeze" in note]
