"""The memory of a step by phase: by hand, and against what torch allocates while a phase runs."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import pytest
from commands import dlx
from helpers import experiment_of
from torch.profiler import ProfilerActivity, profile

from dlx.errors import DlxError
from dlx.experiment import session
from dlx.graph import memory_forecast, phase_memory, trace_all
from dlx.training import device
from dlx.training.phased import Phased
from dlx.training.prepared import prepare

TRAIN = "train: {steps: 4, batch_size: 500, optimizer: {adam: 1e-3}}\ntrack: {mlflow: false}\n"
DIGITS = f"data: {{digits: {{train: 600, valid: 0, test: 0}}}}\n{TRAIN}"
DENSE = f"""{DIGITS}
networks:
  generator:
    inputs: {{noise: [16]}}
    layers: [{{linear: 512}}, relu, {{linear: 512}}, relu, {{linear: 64}}, {{reshape: [1, 8, 8]}}]
  discriminator:
    inputs: {{image: [1, 8, 8]}}
    layers: [flatten, {{linear: 512}}, {{leaky_relu: 0.2}}, {{linear: 512}}, relu, {{linear: 1}}]
objective: gan
"""
CONVOLUTIONS = f"""{DIGITS}
blocks:
  wide: {{args: {{out: null}}, layers: [{{conv: {{out_channels: "${{out}}", kernel_size: 3, padding: 1}}}}]}}
networks:
  generator:
    inputs: {{noise: [16]}}
    layers:
      - linear: 256
      - reshape: [16, 4, 4]
      - relu
      - conv_transpose: {{out_channels: 32, kernel_size: 2, stride: 2}}
      - relu
      - wide: 1
  discriminator:
    inputs: {{image: [1, 8, 8]}}
    layers: [{{wide: 32}}, relu, {{wide: 16}}, relu, flatten, {{linear: 1}}]
objective: gan
"""
LATENT = f"""{DIGITS}
networks:
  encoder: {{layers: [flatten, {{linear: 512}}, relu, {{linear: 32}}]}}
  decoder:
    inputs: {{z: [16]}}
    layers: [{{linear: 512}}, relu, {{linear: 512}}, relu, {{linear: 64}}, {{reshape: [1, 8, 8]}}]
objective: vae
"""
CYCLE = f"""data: {{unpaired: {{train: 600, valid: 20, test: 20, size: 4}}}}
{TRAIN}
networks:
  generator_ab:
    inputs: {{picture: [3, 4, 4]}}
    layers: [flatten, {{linear: 256}}, relu, {{linear: 256}}, relu, {{linear: 48}}, {{reshape: [3, 4, 4]}}]
  generator_ba: {{copy: generator_ab}}
  discriminator_a: {{inputs: {{picture: [3, 4, 4]}}, layers: [flatten, {{linear: 256}}, relu, {{linear: 1}}]}}
  discriminator_b: {{copy: discriminator_a}}
objective: cycle
"""
TEACHER = f"""{DIGITS}
networks:
  student: {{layers: [flatten, {{linear: 512}}, relu, {{linear: 10}}]}}
  teacher: {{copy: student, follow: {{ema: 0.9}}}}
objective: distillation
"""


def forecasts(text: str, batch: int) -> Any:
    one = experiment_of(text)
    return phase_memory.of_phases(one, trace_all(one), batch)


# --- by hand --------------------------------------------------------------------------------------------------------

SMALL = """
    data: {moons: {train: 60, test: 8}}
    networks:
      generator: {inputs: {noise: [3]}, layers: [linear: {out_features: 2, bias: false}]}
      discriminator: {inputs: {point: [2]}, layers: [linear: {out_features: 1, bias: false}]}
    objective: gan
    train: {steps: 4, batch_size: 10, optimizer: {sgd: 1e-3}}
"""


def test_a_phase_has_the_gradients_of_what_it_moves_beside_those_of_the_others():
    found = forecasts(SMALL, 10)
    assert list(found) == ["discriminator", "generator"]
    for step in found.values():
        assert step.most.weights == 4 * (6 + 2)
        assert step.most.gradients == 4 * (6 + 2)
    # points of the batch; noise (3) of the generator, whose points (2) both calls of it hand on
    fields, noise, points = 4 * 10 * 2, 4 * 10 * 3, 4 * 10 * 2
    assert found["discriminator"].most.activations == fields + noise + points + 2 * 4 * 10
    assert found["generator"].most.activations == noise + points + 4 * 10


def test_one_network_and_one_phase_are_told_as_before():
    network = "network: {layers: [flatten, {linear: 64}, {reshape: [1, 8, 8]}]}"
    assert forecasts(f"{DIGITS}{network}\nobjective: autoencoder\n", 10) == {}


# --- against torch --------------------------------------------------------------------------------------------------


def allocated(text: str, folder: Path) -> dict[str, int]:
    """Bytes that torch allocates at the most in each phase of the third step, above what is there before."""
    job = session.job_of(prepare(experiment_of(text)))
    learner = job.learner
    assert isinstance(learner, Phased)
    learner.set_training_mode()
    learner.build_phases()
    found = {}
    for _ in range(3):
        for number, batch in learner.repetitions(learner.feed.next):
            gradients = learner.gradients[number]
            for weight in gradients.weights:
                weight.grad = None
            gc.collect()
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
                gradients(batch)  # type: ignore[arg-type]
            trace = folder / "trace.json"
            profiled.export_chrome_trace(str(trace))
            events = [e["args"] for e in json.loads(trace.read_text())["traceEvents"] if e["name"] == "[memory]"]
            before = events[0]["Total Allocated"] - events[0]["Bytes"]
            found[gradients.phase.name] = max(e["Total Allocated"] for e in events) - before
            for move in learner.moves[number]:
                move()
        job.progress.step += 1
    return found


def above(text: str, fields: int) -> dict[str, int]:
    """The same as forecast: without weights, optimizers, gradients of other phases, and the fields of the batch."""
    one = experiment_of(text)
    graphs = trace_all(one)
    found = {}
    for plan in graphs.phases:
        step = phase_memory.of_phases(one, graphs, 500)[plan.name]
        others = sum(4 * graph.trainable for name, graph in graphs.items() if name not in plan.phase.moves)
        constant = step.peak.weights + step.peak.optimizer + step.peak.buffers
        found[plan.name] = step.total - constant - others - fields
    return found


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (DENSE, 4 * 500 * 64),
        (CONVOLUTIONS, 4 * 500 * 64),
        (LATENT, 4 * 500 * 64),
        (CYCLE, 2 * 4 * 500 * 48),
        (TEACHER, 4 * 500 * 64),
    ],
    ids=["dense", "convolutions", "latent", "cycle", "teacher"],
)
def test_each_phase_takes_what_torch_allocates(text, fields, tmp_path):
    measured, predicted = allocated(text, tmp_path), above(text, fields)
    assert predicted == pytest.approx(measured, rel=0.15)


# --- where it is told -----------------------------------------------------------------------------------------------


def test_inspect_tells_each_phase_and_the_largest(tmp_path):
    (tmp_path / "s.yaml").write_text(DENSE)
    shown = dlx("inspect", str(tmp_path / "s.yaml"), "--batch", "500").stdout.splitlines()
    title = next(line for line in shown if line.startswith("at the peak of"))
    assert title.split()[4:] == ["discriminator", "generator"]
    assert " at the peak of a training step of 500 samples, in `" in shown[-1]
    document = json.loads(dlx("inspect", str(tmp_path / "s.yaml"), "--batch", "500", "--json").stdout)
    expected = {name: step.total for name, step in forecasts(DENSE, 500).items()}
    assert {name: step["total"] for name, step in document["memory_by_phase"].items()} == expected
    assert list(document["memory"]) == ["generator", "discriminator"]


def test_a_batch_of_which_a_phase_does_not_fit_is_refused_with_the_way_out():
    one = experiment_of(DENSE)
    with pytest.raises(DlxError, match=r"the phase `discriminator` of a step of 500 samples wants about .* are free"):
        device.check_phases(one, trace_all(one), 600, 10_000)
    device.check_phases(one, trace_all(one), 600, 10**12)


def test_views_of_an_example_count_each():
    text = """
        data: {synthetic: {shape: [1, 4, 4], classes: 3, train: 40}}
        network: {layers: [flatten, {linear: 6}]}
        objective: simclr
        train: {steps: 1, batch_size: 10, augment: [{gaussian_noise: 0.1}]}
    """
    one = experiment_of(text)
    graphs = trace_all(one)
    (step,) = memory_forecast.of_each(one, graphs, 10).values()
    assert step.most.activations == 2 * 10 * 4 * 16
    assert step.batch == 10
    assert one.train is not None
    free = int(device.MEMORY_MARGIN * step.total) - 1
    with pytest.raises(DlxError, match="a training step of 10 samples wants about"):
        device.check_batch(graphs.one, one.train, 40, free, samples=2)
    device.check_batch(graphs.one, one.train, 40, free)
