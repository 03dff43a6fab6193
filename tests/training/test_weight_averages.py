"""Averages of weights are what a loop by hand gives, bit for bit; they are what is evaluated and kept."""

import pytest
import torch
from helpers import experiment_of
from torch import nn

from dlx.averages import AVERAGES
from dlx.experiment import runner as experiments
from dlx.graph import trace
from dlx.network import build
from dlx.schedules import Timeline
from dlx.spec import objective_of
from dlx.training.batches.on_device import on_device
from dlx.training.checkpoints.checkpoint import read, restore
from dlx.training.fit import Job, evaluate, fit

SPEC = """
name: small
data: {{synthetic: {{shape: [5], classes: 3, train: 70, valid: 20, test: 30, seed: 1}}}}
network:
  layers: {layers}
{more}
train: {{{train}}}
track: {{mlflow: false}}
"""
LAYERS = "[{linear: 8}, tanh, {linear: 3}]"
NORMED = "[{linear: 8}, batch_norm, tanh, {linear: 8}, batch_norm, {linear: 3}]"
TRAIN = "steps: 12, batch_size: 16, optimizer: {sgd: {lr: 0.1, momentum: 0.9}}"


def job(train: str, layers: str = LAYERS, more: str = "") -> Job:
    loaded = experiment_of(SPEC.format(train=train, layers=layers, more=more))
    torch.manual_seed(0)
    network = build(trace(loaded), loaded.init)
    return Job(network, objective_of(loaded), loaded.train, on_device(loaded.data.load(), torch.device("cpu")))


def path_of(train: str, layers: str = LAYERS, more: str = "") -> list[dict[str, torch.Tensor]]:
    """The weights and statistics after each update, without any average."""
    one = job(f"{train}, save_every: 1", layers, more)
    return [
        {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
        for record in fit(one)
        if record.record == "step"
    ]


def averaged(train: str, layers: str = LAYERS, more: str = "") -> Job:
    done = job(train, layers, more)
    for _ in fit(done):
        pass
    return done


def ema(path, decays):
    mean = {name: tensor.clone() for name, tensor in path[0].items()}
    for now, decay in zip(path[1:], decays, strict=True):
        for name, tensor in now.items():
            mean[name].lerp_(tensor, 1 - decay)
    return mean


def plain(path):
    mean = {name: torch.zeros_like(tensor) for name, tensor in path[0].items()}
    for n, now in enumerate(path, 1):
        for name, tensor in now.items():
            mean[name] += (tensor - mean[name]) / n
    return mean


def same(network: nn.Module, mean: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, mean[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("average", "decays"),
    [
        ("{ema: 0.9}", [0.9] * 11),
        ("ema", [0.999] * 11),
        ("{ema: {decay: 0.3, warmup: true}}", [min(0.3, (1 + n) / (10 + n)) for n in range(1, 12)]),
    ],
)
def test_an_exponential_average_is_that_of_a_loop_by_hand_to_the_bit(average, decays):
    path = path_of(f"{TRAIN}, log_every: 1")
    assert same(averaged(f"{TRAIN}, average: {average}").network, ema(path, decays))


@pytest.mark.parametrize(
    ("average", "steps"),
    [
        ("polyak", range(1, 13)),
        ("{polyak: 0.5}", range(6, 13)),
        ("{polyak: 0.7}", range(9, 13)),  # 8.4 updates
        ("swa", [9]),  # 5 updates an epoch: 9, then 14
        ("{swa: {start: 0.25, every: 4}}", [3, 7, 11]),
        ("{swa: {start: 0, every: 5}}", [5, 10]),
        ("{swa: {start: 0.99}}", [12]),
    ],
)
def test_a_plain_average_is_the_mean_of_the_weights_that_count(average, steps):
    path = path_of(f"{TRAIN}, log_every: 1")
    done = averaged(f"{TRAIN}, average: {average}")
    by_hand = plain([path[step - 1] for step in steps])

    assert done.supervised.average.count == len(steps)
    for name, tensor in done.network.state_dict().items():
        torch.testing.assert_close(tensor, by_hand[name])
    running = {name: torch.zeros_like(tensor) for name, tensor in path[0].items()}
    for n, step in enumerate(steps, 1):
        for name, tensor in path[step - 1].items():
            running[name].lerp_(tensor, 1 / n)
    assert same(done.network, running)


def test_torchs_averaged_model_gives_the_same():
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    net = job(TRAIN).network
    theirs = {
        "ema": AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(0.9)),
        "polyak": AveragedModel(net),
    }
    for now in path_of(f"{TRAIN}, log_every: 1"):
        net.load_state_dict(now)
        for model in theirs.values():
            model.update_parameters(net)
    for kind, model in theirs.items():
        mine = averaged(f"{TRAIN}, average: {'{ema: 0.9}' if kind == 'ema' else kind}").network
        for (name, a), b in zip(mine.named_parameters(), model.module.parameters(), strict=True):
            torch.testing.assert_close(a, b, msg=f"{kind} {name}")


def test_averaging_does_not_change_the_training_itself():
    train = f"{TRAIN}, evaluate_every: 3, log_every: 1"
    path = path_of(train, NORMED)
    for average in ("ema", "polyak", "{swa: {start: 0.2, every: 2}}"):
        for step, now in enumerate(path_of(f"{train}, average: {average}", NORMED)):
            assert all(torch.equal(tensor, path[step][name]) for name, tensor in now.items()), (average, step)


def test_evaluations_are_of_the_average_and_so_is_what_stays():
    train = f"{TRAIN}, evaluate_every: 3, log_every: 1"
    path = path_of(train)
    one, probe = job(f"{train}, average: {{ema: 0.9}}"), job(train)
    seen = {}
    for record in fit(one):
        if record.record in {"evaluation", "end"}:
            seen[record.step] = record.metrics
    for step in (3, 6, 9, 12):
        probe.network.load_state_dict(ema(path[:step], [0.9] * (step - 1)))
        for name in ("valid", "train", "test") if step == 12 else ["valid"]:
            assert evaluate(probe, name).items() <= seen[step].items()


def test_the_raw_weights_are_judged_until_the_average_begins():
    train = f"{TRAIN}, evaluate_every: 3"
    raw = [r.metrics for r in fit(job(train)) if r.record == "evaluation"]
    evaluations = [r.metrics for r in fit(job(f"{train}, average: {{polyak: 0.5}}")) if r.record == "evaluation"]
    assert evaluations[0] == raw[0]
    assert evaluations[1] == raw[1]  # the first that counts is alone
    assert evaluations[2] != raw[2]


def test_frozen_weights_stay_as_they_are_and_tied_ones_are_averaged_once():
    layers = "[{linear: {out_features: 5, bias: false}, name: a}, tanh, {share: a}, {linear: 3, name: last}]"
    done = averaged(f"{TRAIN}, average: {{ema: 0.5}}", layers, "freeze: [last]")
    begun, path = job(TRAIN, layers, "freeze: [last]"), path_of(f"{TRAIN}, log_every: 1", layers, "freeze: [last]")

    assert len(done.supervised.average.tensors) == 1
    assert torch.equal(done.network.get_parameter("last.weight"), begun.network.get_parameter("last.weight"))
    assert torch.equal(done.network.get_parameter("a.weight"), ema(path, [0.5] * 11)["a.weight"])


def test_a_batch_norm_has_the_same_average_of_its_statistics():
    path = path_of(f"{TRAIN}, log_every: 1", NORMED)
    done = averaged(f"{TRAIN}, average: {{ema: 0.8}}", NORMED)
    by_hand = ema([{n: t for n, t in now.items() if t.is_floating_point()} for now in path], [0.8] * 11)
    for name, tensor in done.network.state_dict().items():
        assert torch.equal(tensor, by_hand.get(name, path[-1][name])), name


@pytest.mark.parametrize(
    ("train", "anew"),
    [
        (f"{TRAIN}, average: polyak", True),
        (f"{TRAIN}, average: {{swa: {{start: 0.5, every: 1}}}}", True),
        (f"{TRAIN}, average: polyak, recompute_statistics: false", False),
        (f"{TRAIN}, average: ema", False),
        (f"{TRAIN}, average: ema, recompute_statistics: true", True),
        (f"{TRAIN}, recompute_statistics: true", True),
        (TRAIN, False),
    ],
)
def test_statistics_are_those_of_the_training_set_where_they_are_computed_anew(train, anew):
    done = averaged(train, NORMED)
    x = done.network.linear_1(done.parts["train"].x)
    first = done.network.batch_norm_1
    whole = torch.allclose(first.running_mean, x.mean(0), atol=1e-6) and torch.allclose(
        first.running_var, x.var(0), atol=1e-6
    )
    assert whole == anew
    assert done.network.training


def test_lbfgs_is_averaged_after_each_step():
    train = "steps: 4, optimizer: {lbfgs: {max_iter: 3}}"
    assert same(
        averaged(f"{train}, average: {{ema: 0.5}}").network, ema(path_of(f"{train}, log_every: 1"), [0.5] * 3)
    )


def test_the_final_checkpoint_has_the_average_and_the_state_to_go_on_from_the_raw_weights_too(tmp_path):
    train = f"{TRAIN}, save_every: 12, average: {{ema: 0.9}}"
    loaded = experiment_of(SPEC.format(train=train, layers=LAYERS, more=""))
    result = experiments.run(loaded, tmp_path).results[0]
    path = path_of(f"{TRAIN}, log_every: 1")
    final, _ = restore(result.run.dir)
    _, state = read(result.run.dir / "checkpoints", "step-000000012")

    assert same(final, ema(path, [0.9] * 11))
    assert all(torch.equal(state[name], tensor) for name, tensor in path[-1].items())
    assert result.outcome["average"] == {"kind": "ema", "updates": 12}
    assert result.notes == (
        "the weights are averaged, ema over 12 updates: evaluations and checkpoints are of the average",
    )


def test_it_is_said_where_the_training_ended_before_the_average_began(tmp_path):
    train = "steps: 40, evaluate_every: 2, optimizer: {sgd: 0}, average: swa, early_stopping: {patience: 2}"
    loaded = experiment_of(SPEC.format(train=train, layers=LAYERS, more=""))
    result = experiments.run(loaded, tmp_path).results[0]
    assert result.steps == 6
    assert "no update was as late as the start of swa: the weights are the last ones" in result.notes


def test_shares_follow_from_the_step_alone():
    span = Timeline(100, 10)
    swa, polyak, warm = AVERAGES["swa"](), AVERAGES["polyak"](start=0.98), AVERAGES["ema"](warmup=True)
    assert [s for s in range(1, 101) if swa.share(s, 0, span) is not None] == [75, 85, 95]
    assert [polyak.share(s, n, span) for s, n in [(97, 0), (98, 0), (99, 1), (100, 2)]] == [None, 1, 1 / 2, 1 / 3]
    assert [round(1 - warm.share(9, n, span), 4) for n in (1, 2, 90, 10_000)] == [0.1818, 0.25, 0.91, 0.999]
