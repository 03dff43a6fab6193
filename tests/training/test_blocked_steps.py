"""Steps of one network of images are taken in oneDNN's own layout, where that pays and nothing speaks against it."""

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner
from dlx.experiment.session import job_of
from dlx.spec import load
from dlx.training.fit import fit
from dlx.training.memory_format import BLOCKED
from dlx.training.prepared import prepare

SPEC = """\
dlx: 1
name: s
data: {synthetic: {shape: [1, 16, 16], classes: 3, train: 256, valid: 20, test: null, seed: 3}}
network:
  layers:
    - conv: {out_channels: 8, kernel_size: 5, padding: 2}
    - relu
    - max_pool: 2
    - conv: {out_channels: 16, kernel_size: 5}
    - batch_norm
    - relu
    - flatten
    - linear: 3
train: {TRAIN}
track: {mlflow: false}
"""
"""15 million MACs a step of 128, forward."""


TRAIN = {"steps": 36, "batch_size": 128, "threads": 1, "optimizer": "{adam: 0.01}"}


def text(**train) -> str:
    return SPEC.replace("TRAIN", ", ".join(f"{name}: {value}" for name, value in (TRAIN | train).items()))


def job(**train):
    """A training before its first step, as a run of its own has it."""
    prepared = prepare(experiment_of(text(**train)))
    made = job_of(prepared)
    made.learner.compute.prepare(made.parts["train"], prepared.graph.macs * prepared.train.batch(prepared.examples))
    return made


def trained(made):
    torch.manual_seed(0)
    list(fit(made))
    return [value.clone() for value in made.network.state_dict().values()]


def test_replayed_and_plain_steps_in_blocks_have_the_same_bits():
    replayed, plain = job(trace="true"), job(trace="false")

    found, wanted = trained(replayed), trained(plain)

    assert replayed.learner.compute.memory_format == plain.learner.compute.memory_format == BLOCKED
    assert (replayed.learner.way["step"], plain.learner.way["step"]) == ("replayed", "plain")
    assert replayed.learner.faults == []
    assert all(map(torch.equal, found, wanted))


def test_steps_in_blocks_learn_what_they_learn_with_channels_last():
    plain = {"steps": 8, "optimizer": "{sgd: 0.05}"}
    blocked, last = job(**plain), job(**plain, channels_last="true")

    found, wanted = trained(blocked), trained(last)

    assert (blocked.learner.compute.memory_format, last.learner.compute.memory_format) == (BLOCKED, "channels_last")
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("train", "wanted"),
    [
        ({"channels_last": "true"}, "channels_last"),
        ({"channels_last": "false"}, "contiguous"),
        ({"optimizer": "lbfgs"}, "contiguous"),
        ({"precision": "bf16"}, "channels_last"),
        ({"detect_anomaly": "true"}, "channels_last"),
        ({"batch_size": 64}, "channels_last"),
    ],
)
def test_what_the_spec_asks_for_and_small_steps_stay_as_they_are(train, wanted):
    assert job(**train).learner.compute.memory_format == wanted


def test_weights_lie_as_their_gradients_do():
    made = job()
    made.learner.current_update()(torch.arange(128))
    weight = made.network.conv_2.weight

    assert weight.is_contiguous()
    assert weight.grad.stride() == weight.stride()


def run_of(tmp_path, **train):
    path = tmp_path / "s.yaml"
    path.write_text(text(**train))
    return runner.run(load(path), tmp_path / "runs")


def test_a_run_says_that_its_steps_are_in_blocks_and_seeds_side_by_side_are_not(tmp_path):
    one = run_of(tmp_path, seed=1)
    pair = run_of(tmp_path, seeds=2)

    formats = [each.run.read_json("lock.json")["compute"]["memory_format"] for each in (*one.results, *pair.results)]

    assert formats == [BLOCKED, "channels_last", "channels_last"]
