"""What an update is: which weights move how, by which gradients, from how many batches."""

import json
from pathlib import Path

import pytest
import torch
from commands import dlx
from helpers import experiment_of

from dlx.errors import RunError, SpecError
from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.network import build
from dlx.spec import Experiment, objective_of
from dlx.training import parameter_groups
from dlx.training.batches.on_device import on_device
from dlx.training.fit import Job, fit

SPEC = """
name: small
data: {{synthetic: {{shape: [5], classes: 3, train: 70, valid: {valid}, test: null, seed: 1}}}}
network:
  layers:
    - layers: [{{linear: 8}}, layer_norm, tanh]
      name: body
    - linear: 3
objective: {{classification: {{loss: {loss}}}}}
train:
  {train}
track: {{mlflow: false}}
"""
WEIGHTS = ["body.linear_1.weight", "body.linear_1.bias", "body.layer_norm_1.weight", "body.layer_norm_1.bias"]
WEIGHTS += ["linear_1.weight", "linear_1.bias"]


def spec(train: str, loss: str = "cross_entropy", valid: str = "20") -> Experiment:
    return experiment_of(SPEC.format(train=train, loss=loss, valid=valid))


def job(train: str, loss: str = "cross_entropy", valid: str = "20") -> Job:
    loaded = spec(train, loss, valid)
    torch.manual_seed(0)
    network = build(trace(loaded), loaded.init)
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), torch.device("cpu")))


def run(train: str, **more) -> Job:
    done = job(train, **more)
    for _ in fit(done):
        pass
    return done


def moved(done: Job) -> dict[str, float]:
    """How far each weight went from where it began."""
    start = dict(job("steps: 1").network.named_parameters())
    return {name: (p - start[name]).norm().item() for name, p in done.network.named_parameters()}


def same(a: Job, b: Job) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.network.parameters(), b.network.parameters(), strict=True))


# --- groups ---------------------------------------------------------------------------------------------------------


def rates(train: str) -> dict[str, tuple[float, float]]:
    """The learning rate and the decay of each weight."""
    made = job(train)
    names = {p: name for name, p in made.network.named_parameters()}
    found = {names[p]: (g["lr"], g["weight_decay"]) for g in made.learner.optimizer.param_groups for p in g["params"]}
    assert list(names.values()) == WEIGHTS
    return {name: found[name] for name in WEIGHTS}


def test_pretrained_layers_can_learn_at_a_tenth_of_the_rate():
    found = rates(
        "{steps: 1, optimizer: {sgd: {lr: 0.5, weight_decay: 0.1}}, groups: [{match: body, lr_scale: 0.1}]}"
    )
    assert list(found.values()) == [(pytest.approx(0.05), 0.1)] * 4 + [(0.5, 0.1)] * 2


def test_the_first_group_that_matches_counts():
    groups = "[{match: '*/bias', lr: 2, weight_decay: 0}, {match: [body/linear_*, nothing*, linear_1], lr: 3}]"
    found = rates(f"{{steps: 1, optimizer: {{sgd: {{lr: 1, weight_decay: 0.1}}}}, groups: {groups}}}")
    assert found == {
        "body.linear_1.weight": (3, 0.1),
        "body.linear_1.bias": (2, 0),
        "body.layer_norm_1.weight": (1, 0.1),
        "body.layer_norm_1.bias": (2, 0),
        "linear_1.weight": (3, 0.1),
        "linear_1.bias": (2, 0),
    }


def test_decay_can_be_for_weights_alone():
    found = rates("{steps: 1, optimizer: {adamw: {lr: 1, weight_decay: 0.1}}, decay: weights}")
    assert [name for name, (_, decay) in found.items() if decay] == [
        "body.linear_1.weight",
        "linear_1.weight",
    ]


def test_the_scales_of_a_norm_are_spared_where_they_have_several_axes():
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm([3, 4]))
    train = spec("{steps: 1, optimizer: {adamw: {weight_decay: 0.1}}, decay: weights}").train
    spared = {
        p.shape for group in parameter_groups.split(network, train) if group.weight_decay == 0 for p in group.params
    }
    assert spared == {(2,), (3, 4)}


@pytest.mark.parametrize("decay", ["all", "weights"])
def test_the_slopes_of_prelu_do_not_decay_unless_asked(decay):
    """As torch's documentation of PReLU advises, against what its optimizers do."""
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.PReLU(), torch.nn.PReLU(2))
    train = f"{{steps: 1, optimizer: {{adamw: {{weight_decay: 0.1}}}}, decay: {decay}"
    slopes = {network[1].weight, network[2].weight}
    assert {
        p
        for group in parameter_groups.split(network, spec(train + "}").train)
        if group.weight_decay == 0
        for p in group.params
    } == (slopes if decay == "all" else slopes | {network[0].bias})
    asked = spec(train + ", groups: [{match: '1', weight_decay: 0.2}]}").train
    assert [g.params for g in parameter_groups.split(network, asked) if g.weight_decay == 0.2] == [
        [network[1].weight]
    ]


def test_muon_leaves_the_rows_of_embeddings_to_its_rest():
    network = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 3))
    train = spec("{steps: 1, optimizer: {muon: {lr: 0, rest: {sgd: 1}}}}").train
    optimizer = train.optimizer.build(parameter_groups.split(network, train))
    before = [p.detach().clone() for p in network.parameters()]
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    assert [bool((p != was).any()) for p, was in zip(network.parameters(), before, strict=True)] == [
        True,
        False,
        True,
    ]


def test_the_schedule_moves_the_rate_of_every_group():
    train = "{steps: 2, log_every: 1, optimizer: {sgd: 1}, schedule: {step: {step_size: 1, gamma: 0.5, unit: step}}"
    done = run(train + ", groups: [{match: body, lr_scale: 0.1}]}")
    assert [g["lr"] for g in done.supervised.optimizer.param_groups] == [pytest.approx(0.05), 0.5]
    assert done.learner.rates() == {"lr": 0.5}


def test_a_rate_of_zero_moves_nothing():
    done = moved(run("{epochs: 1, optimizer: {sgd: 1}, groups: [{match: body, lr: 0}]}"))
    assert [name for name in WEIGHTS if done[name] == 0] == WEIGHTS[:4]


# --- batches --------------------------------------------------------------------------------------------------------


def but_rests(one):
    """All records but the rests, which come as fast as the machine is."""
    return [record for record in fit(one) if record.record != "safe_point"]


@pytest.mark.parametrize("loss", ["cross_entropy", "{cross_entropy: {reduction: sum}}"])
def test_four_batches_of_8_are_one_of_32(loss):
    train = "epochs: 3, log_every: 1, optimizer: {sgd: {lr: 0.01, momentum: 0.9}}"
    pieces = but_rests(one := job(f"{{{train}, batch_size: 8, accumulate: 4}}", loss=loss))
    whole = but_rests(other := job(f"{{{train}, batch_size: 32}}", loss=loss))
    assert [(r.record, r.step, r.epoch) for r in pieces] == [(r.record, r.step, r.epoch) for r in whole]
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    losses = [[r.metrics["train/running_loss"] for r in records if r.record == "step"] for records in (pieces, whole)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_all_of_the_training_set_is_one_batch():
    done = job("{epochs: 3, batch_size: all}")
    assert (done.span.per_epoch, done.total_steps) == (1, 3)
    assert same(
        run("{epochs: 3, batch_size: all, shuffle: false}"), run("{epochs: 3, batch_size: 70, shuffle: false}")
    )


def test_gradient_descent_takes_the_whole_training_set():
    descent = run("{epochs: 3, optimizer: {gradient_descent: 0.1}, shuffle: false}")
    assert descent.progress.step == 3
    assert same(descent, run("{epochs: 3, optimizer: {sgd: 0.1}, batch_size: all, shuffle: false}"))


# --- clipping -------------------------------------------------------------------------------------------------------


def test_gradients_are_clipped_by_their_common_norm():
    """Plain SGD with lr 1 moves the weights by the gradient itself, here of norm 0.01."""
    done = moved(run("{steps: 1, optimizer: {sgd: 1}, clip_norm: 0.01}"))
    assert sum(d**2 for d in done.values()) ** 0.5 == pytest.approx(0.01, rel=1e-3)


def test_gradients_are_clipped_by_value():
    done = run("{steps: 1, optimizer: {sgd: 1}, clip_value: 1e-3}")
    start = dict(job("steps: 1").network.named_parameters())
    largest = max((p - start[name]).abs().max().item() for name, p in done.network.named_parameters())
    assert largest == pytest.approx(1e-3, rel=1e-3)


def test_what_is_small_is_not_clipped():
    train = "steps: 5, optimizer: {sgd: 0.1}"
    assert same(run(f"{{{train}, clip_norm: 1e6, clip_value: 1e6}}"), run(f"{{{train}}}"))


# --- optimizers that look at the loss itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer", ["lbfgs", "{newton: {damping: 1}}", "{random_search: 0.1}", "rprop", "muon", "{momentum: 0.1}"]
)
def test_every_way_to_step_learns_in_the_loop(optimizer):
    batch = "" if optimizer in {"lbfgs"} or ":" in optimizer else ", batch_size: all"
    records = list(fit(job(f"{{steps: 12, log_every: 1, optimizer: {optimizer}{batch}}}")))
    losses = [r.metrics["train/running_loss"] for r in records if r.record == "step"]
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_what_moves_by_the_whole_set_takes_a_part_where_the_spec_says_so():
    assert job("{epochs: 1, optimizer: lbfgs}").total_steps == 1
    assert job("{epochs: 1, optimizer: lbfgs, batch_size: 35}").total_steps == 2


# --- a metric that stands still -------------------------------------------------------------------------------------


def test_a_plateau_lowers_the_rate_after_evaluations_without_progress():
    """At a rate of 0 nothing becomes better: after the first evaluation and one more, each drops it by half."""
    train = "{epochs: 5, batch_size: 70, log_every: 1, schedule: {plateau: {factor: 0.5, patience: 0}}, optimizer: "
    done = run(train + "{sgd: 0}}")
    assert done.supervised.optimizers["network"].watch.state() == {
        "factor": 0.125,
        "best": done.supervised.optimizers["network"].watch.best,
        "bad": 0,
        "rest": 0,
    }
    rated = [r.metrics["lr"] for r in fit(job(train + "{sgd: 1e-9}}")) if r.record == "step"]
    assert rated == pytest.approx([1e-9, 1e-9, 5e-10, 2.5e-10, 1.25e-10])


@pytest.mark.parametrize(("metric", "mode"), [("loss", "min"), ("accuracy", "max"), ("error", "min")])
def test_a_plateau_knows_which_way_its_metric_is_better(metric, mode):
    assert (
        job(f"{{epochs: 1, schedule: {{plateau: valid/{metric}}}}}").supervised.optimizers["network"].watch.mode
        == mode
    )
    assert (
        job(f"{{epochs: 1, schedule: {{plateau: {{metric: valid/{metric}, mode: max}}}}}}")
        .supervised.optimizers["network"]
        .watch.mode
        == "max"
    )


def test_a_plateau_of_what_is_not_measured_is_refused_before_the_start(tmp_path):
    with pytest.raises(SpecError, match="`schedule` follows valid/acuracy, which is not measured"):
        experiments.run(spec("{epochs: 2, schedule: {plateau: valid/acuracy}}"), tmp_path)


@pytest.mark.parametrize(
    ("metric", "valid", "sentence"),
    [
        ("valid/acuracy", "20", "the schedule follows valid/acuracy, and there are valid/loss, valid/accuracy"),
        ("valid/loss", "null", "the schedule follows valid/loss, and the data has no `valid` part"),
    ],
)
def test_a_metric_that_is_not_there_is_said(metric, valid, sentence):
    with pytest.raises(RunError, match=sentence):
        run(f"{{epochs: 2, schedule: {{plateau: {metric}}}}}", valid=valid)


# --- mistakes -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "{steps: 1, groups: [{match: bdy, lr: 1}]}": "`groups` matches no weight: `bdy`\n"
    "  `dlx inspect` shows the names of the nodes; a weight is NODE/weight or NODE/bias.",
    "{steps: 1, groups: [{match: body, lrr: 1}]}": "`groups[0]` has no field `lrr`\n  Did you mean `lr`?",
    "{steps: 1, groups: [{match: body}]}": "a group wants something of its own: `lr`, `lr_scale` or `weight_decay`",
    "{steps: 1, groups: [{match: body, lr: 1, lr_scale: 1}]}": "`lr` and `lr_scale` both say the rate",
    "{steps: 1, groups: [3]}": "`groups[0]` must be a mapping, not 3",
    "{steps: 1, groups: {match: body, lr: 1}}": "`groups` must be a list, not {match:",
    "{steps: 1, optimizer: rprop, groups: [{match: body, weight_decay: 1}]}": "rprop has no weight_decay, and one of",
    "{steps: 1, optimizer: lbfgs, groups: [{match: body, lr: 1}]}": "lbfgs moves all weights together, and takes no",
    "{steps: 1, optimizer: lbfgs, clip_norm: 1}": "lbfgs looks at the loss more than once a step, and its gradients",
    "{steps: 1, optimizer: gradient_descent, batch_size: 8}": "gradient_descent takes the whole training set",
    "{steps: 1, batch_size: some}": '`batch_size` must be a whole number or "all", not "some"',
    "{steps: 1, clip_norm: 0}": "`clip_norm` must be above 0, not 0",
}


@pytest.mark.parametrize("train", MISTAKES)
def test_a_mistake_is_reported_in_a_sentence(train, tmp_path):
    with pytest.raises(SpecError) as error:
        experiments.run(spec(train), tmp_path)
    assert len(error.value.problems) == 1
    assert MISTAKES[train] in str(error.value)
    assert error.value.problems[0].mark.line >= 10


def test_a_network_too_large_for_its_hessian_is_said_before_training(tmp_path):
    text = SPEC.format(train="{steps: 1, optimizer: newton}", loss="cross_entropy", valid=20)
    with pytest.raises(SpecError) as error:
        experiments.run(experiment_of(text.replace("linear: 8", "linear: 500")), tmp_path)
    ran = "newton is for at most 4,000 weights, and the network has 5,503: its Hessian would have 30,283,009 values"
    assert error.value.problems[0].message == ran


# --- the curve of the rate ------------------------------------------------------------------------------------------


def shown(tmp_path: Path, *more: str) -> str:
    path = tmp_path / "s.yaml"
    train = "{epochs: 4, batch_size: 7, optimizer: {sgd: 0.1}}"
    path.write_text(SPEC.format(train=train, loss="cross_entropy", valid=20))
    completed = dlx("train", path, "--plot-schedule", *more, "--runs", tmp_path / "runs", check=True)
    assert not (tmp_path / "runs").exists()
    return completed.stdout


def test_the_rate_over_time_is_shown_without_training(tmp_path):
    lines = shown(tmp_path, "+train.schedule={linear: {start_factor: 1, end_factor: 0.5}}").splitlines()
    assert lines[0] == "linear: 40 steps, 10 an epoch"
    assert lines[1] == "".join(sorted(lines[1], reverse=True))
    assert (lines[1][0], lines[1][-1], len(lines[1])) == ("█", "▄", 40)
    assert lines[3].split() == ["1", "1", "0.1"]
    assert lines[-1].split() == ["40", "4", "0.05125"]


def test_the_rate_over_time_is_one_document_for_machines(tmp_path):
    document = json.loads(shown(tmp_path, "+train.schedule={step: {step_size: 2, gamma: 0.5}}", "--json"))
    assert (document["schedule"], document["steps"], document["steps_per_epoch"]) == ("step", 40, 10)
    points = document["points"]
    assert [p["step"] for p in points] == list(range(1, 41))
    assert [p["lr"] for p in points] == pytest.approx([0.1] * 20 + [0.05] * 20)
