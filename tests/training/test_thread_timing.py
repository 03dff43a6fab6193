"""The number of threads that is quicker, found before the first step."""

import json
from copy import deepcopy

import pytest
import torch
from helpers import experiment_of

from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.experiment.runner import prepare
from dlx.runs.folder import RunFolder
from dlx.training import thread_timing
from dlx.training.phase_gradients import PhaseGradients

SPEC = """
name: middling
data: {{synthetic: {{shape: [64], classes: 3, train: 400, valid: 10, seed: 1}}}}
network: {{layers: [{{linear: {width}}}, batch_norm, {{dropout: 0.5}}, relu, {{linear: 3}}]}}
train: {{steps: {steps}, batch_size: 100{more}}}
track: {{mlflow: false}}
"""

PHASES = """
name: middling
data: {{unpaired: {{train: 400, valid: 10, size: 4}}}}
blocks:
  translate:
    layers: [batch_norm, {{dropout: 0.5}}, {{conv: {{out_channels: 3, kernel_size: 1}}}}]
  score: {{layers: [flatten, {{linear: {width}}}, {{leaky_relu: 0.2}}, {{linear: 1}}]}}
networks:
  generator_ab: {{inputs: {{picture: [3, 4, 4]}}, layers: [translate]}}
  generator_ba: {{inputs: {{picture: [3, 4, 4]}}, layers: [translate]}}
  discriminator_a: {{inputs: {{picture: [3, 4, 4]}}, layers: [score]}}
  discriminator_b: {{inputs: {{picture: [3, 4, 4]}}, layers: [score]}}
objective: {{cycle: {{pool: 50}}}}
train: {{steps: {steps}, batch_size: 100{more}}}
track: {{mlflow: false}}
"""

CARRIED = """
name: middling
data: {{delayed: {{train: 1200, size: {width}}}}}
network:
  inputs: {{input: [1], state: [{width}]}}
  layers: [{{concat: , from: [input, state]}}, {{linear: {width}, name: memory}}, {{linear: 1, name: answer}}]
  outputs: {{answer: answer, state: memory}}
objective: stateful
train: {{steps: {steps}, batch_size: 100{more}}}
track: {{mlflow: false}}
"""


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setenv("DLX_THREADS", "2")


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a gradient takes on so many threads, in place of the time that it takes."""
    takes, now = {1: 1.0, 2: 1.0}, [0.0]
    plain = thread_timing.gradients_of

    def gradients_of(job):
        gradients = plain(job)

        def timed(index):
            now[0] += takes[torch.get_num_threads()]
            return gradients(index)

        return timed

    monkeypatch.setattr(thread_timing, "gradients_of", gradients_of)
    monkeypatch.setattr(thread_timing.time, "perf_counter", lambda: now[0])
    return takes


def ready(width=200, steps=400, more="", spec=SPEC):
    experiment = experiment_of(spec.format(width=width, steps=steps, more=more))
    made = prepare(experiment)
    torch.manual_seed(0)
    return session.job_of(made), made.graphs


def test_two_are_taken_where_they_save_more_than_a_seventh(clock):
    job, graphs = ready()
    assert list(thread_timing.measure(job, graphs)) == [1, 2]
    clock[2] = 0.9
    assert thread_timing.measure(job, graphs) == {1: 1000.0, 2: 900.0}
    clock[2] = 0.8
    assert list(thread_timing.measure(job, graphs).items()) == [(2, 800.0), (1, 1000.0)]


@pytest.mark.parametrize("spec", [SPEC, PHASES], ids=["one network", "phases"])
def test_nothing_of_the_training_moves_meanwhile(spec):
    job, graphs = ready(spec=spec)
    state = {**deepcopy(job.learner.state()), **deepcopy(job.feed.state())}
    before = {name: tensor.clone() for name, tensor in job.network.state_dict().items()}
    rng_state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert thread_timing.measure(job, graphs).keys() == {1, 2}
    assert all(torch.equal(tensor, before[name]) for name, tensor in job.network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng_state)
    assert torch.get_num_threads() == threads
    assert all(param.grad is None for param in job.network.parameters())
    assert (job.progress.step, job.feed.epoch) == (0, 0)
    torch.testing.assert_close({**job.learner.state(), **job.feed.state()}, state, rtol=0, atol=0)


def test_all_phases_of_a_step_are_timed(monkeypatch):
    seen = []
    plain = PhaseGradients.__call__
    monkeypatch.setattr(
        PhaseGradients,
        "__call__",
        lambda self, batch: (seen.append((torch.get_num_threads(), self.phase.name)), plain(self, batch))[1],
    )
    thread_timing.measure(*ready(spec=PHASES))
    assert set(seen) == {(count, phase) for count in (1, 2) for phase in ("generators", "discriminators")}


@pytest.mark.parametrize(
    "options",
    [
        {"more": ", threads: 2"},
        {"more": ", deterministic: true"},
        {"more": ", optimizer: lbfgs"},
        {"steps": 399},
        {"width": 100},
    ],
    ids=[
        "the spec says",
        "the same bits are wanted",
        "many gradients a step",
        "few steps",
        "a small network",
    ],
)
def test_it_is_not_asked_where(options):
    assert thread_timing.measure(*ready(**options)) == {}


def test_it_is_not_asked_of_batches_that_follow_from_those_before():
    pytest.importorskip("dlx_example_kinds")
    assert thread_timing.measure(*ready(spec=CARRIED)) == {}


def test_it_is_not_asked_on_one_core(monkeypatch):
    monkeypatch.setenv("DLX_THREADS", "1")
    assert thread_timing.measure(*ready()) == {}


def test_the_lock_says_what_was_found_and_a_run_like_it_takes_the_same(clock, tmp_path, monkeypatch):
    clock[2] = 0.5
    monkeypatch.setattr(thread_timing, "MIN_UPDATES", 40)
    experiment = experiment_of(SPEC.format(width=200, steps=40, more=", trace: false"))
    (first,) = experiments.run(experiment, tmp_path).results
    lock = RunFolder(first.run.dir).read_json("lock.json")
    assert lock["threads"] == 2
    assert lock["milliseconds_by_threads"] == {"2": 500.0, "1": 1000.0}
    clock[2] = 5.0
    (second,) = experiments.run(experiment, tmp_path, like=first.run).results
    assert RunFolder(second.run.dir).read_json("lock.json")["threads"] == 2
    assert second.metrics == first.metrics


@pytest.mark.parametrize("place", ["before", "during"])
def test_a_run_that_is_killed_before_its_threads_are_known_finds_them_out_when_it_goes_on(
    clock, tmp_path, monkeypatch, place
):
    class Killed(BaseException):
        pass

    def killed(*_: object):
        raise Killed

    clock[2] = 0.5
    experiment = experiment_of(SPEC.format(width=200, steps=400, more=""))
    with monkeypatch.context() as patched:
        patched.setattr(*{"before": (session, "job_of"), "during": (thread_timing, "measure")}[place], killed)
        with pytest.raises(Killed):
            experiments.run(experiment, tmp_path / "cut")
    (run,) = map(RunFolder, (tmp_path / "cut" / "middling").iterdir())
    (run.dir / "metrics.jsonl").unlink()
    (run.dir / "lock.json").write_text(json.dumps(run.read_json("lock.json") | {"pid": 2**22 + 1}))
    assert run.numeric_settings() == {}
    with pytest.raises(Killed):
        experiments.resume(run, killed)  # as it begins

    assert run.numeric_settings() == {"threads": 2}
    assert run.read_json("lock.json")["milliseconds_by_threads"] == {"2": 500.0, "1": 1000.0}
