"""What is said of an objective with phases before anything starts: its calls, what its phases move, and how often."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from helpers import experiment_of
from test_spec_page import printed

from dlx.data.batch import Batch
from dlx.data.feed import Feed
from dlx.data.generated.toys import Moons
from dlx.errors import SpecError
from dlx.experiment import session
from dlx.graph import trace_all
from dlx.objectives import Phase
from dlx.objectives.gan import GAN
from dlx.training.fit import fit
from dlx.training.prepared import prepare

TEXT = """\
dlx: 1
data: {moons: {train: 60, valid: 8, test: 8}}
networks:
  generator:
    inputs: {noise: [3]}
    layers:
      - linear: 4
      - tanh
      - linear: 2
  discriminator:
    inputs: {point: [2]}
    layers: [{linear: 4}, tanh, {linear: 1}]
objective: {gan: {discriminator_steps: 2}}
train: {steps: 4, batch_size: 10, optimizer: {adam: 1e-3}}
track: {mlflow: false}
"""


def problems(text: str) -> list[Any]:
    with pytest.raises(SpecError) as refused:
        trace_all(experiment_of(text))
    return refused.value.problems


def problem(text: str) -> tuple[str, str, int]:
    """The sentence of the one mistake, its hint, and the line."""
    (one,) = problems(text)
    return one.message, one.hint, one.mark.line


# --- logits and probabilities ---------------------------------------------------------------------------------------

TWO_SIDES = """
data: digits
networks:
  encoder: {layers: [flatten, {linear: 4}]}
  decoder:
    inputs: {z: [N]}
    layers:
      - linear: 64
      - sigmoid
      - reshape: [1, 8, 8]
objective: OBJECTIVE
train: {steps: 4, batch_size: 10, optimizer: {adam: 1e-3}}
"""


def test_a_discriminator_that_ends_in_probabilities_is_warned_of_where_logits_are_taken():
    text = TEXT.replace("tanh, {linear: 1}]", "{linear: 1}, sigmoid]")
    (warning,) = trace_all(experiment_of(text)).warnings
    assert "gan takes logits of `discriminator`" in warning.message
    assert "sigmoid has made some" in warning.message
    assert warning.mark.line == 12
    assert not trace_all(experiment_of(text.replace("{discriminator_steps: 2}", "{loss: least_squares}"))).warnings
    assert not trace_all(experiment_of(TEXT)).warnings


@pytest.mark.parametrize("objective", ["vae", "{autoencoder: {loss: binary_cross_entropy}}"])
def test_a_decoder_that_ends_in_probabilities_is_warned_of_where_logits_are_taken(objective):
    text = TWO_SIDES.replace("OBJECTIVE", objective).replace("N]", "2]" if objective == "vae" else "4]")
    (warning,) = trace_all(experiment_of(text)).warnings
    assert "takes logits of `decoder`" in warning.message
    assert warning.mark.line == text.splitlines().index("      - sigmoid") + 1
    assert not trace_all(experiment_of(text.replace("      - sigmoid\n", ""))).warnings
    if objective != "vae":
        assert not trace_all(experiment_of(text.replace("binary_cross_entropy", "squared_error"))).warnings


# --- samples --------------------------------------------------------------------------------------------------------

CLASSIFIER = """
data: digits
network: {layers: [flatten, {linear: 10}]}
train:
  steps: 4
  samples: {every: 2, n: 4}
"""


@pytest.mark.parametrize("named", ["", "objective: classification\n"])
def test_samples_of_what_makes_none_are_told_by_inspect_and_before_a_training(named):
    message, hint, line = problem(named + CLASSIFIER)
    assert message.startswith(
        "`samples` are texts of a language model or what an objective makes, and classification"
    )
    assert "an objective that makes samples" in hint
    assert line == 6 + bool(named)
    with pytest.raises(SpecError, match="`samples` are texts"):
        prepare(experiment_of(named + CLASSIFIER))


# --- shapes ---------------------------------------------------------------------------------------------------------


def test_networks_that_do_not_meet_are_named_with_both_lines():
    message, hint, line = problem(TEXT.replace("- linear: 2", "- linear: 5"))
    assert message.startswith("gan gives `discriminator` (5,) as `point`, the output of `generator` (")
    assert message.endswith("spec.yaml:9:9), and that input is (2,)")
    assert hint == "Write `point: [5]` there, or let `generator` end in (2,)."
    assert line == 11


def test_the_data_is_named_where_the_shape_is_that_of_a_field():
    found = problems(TEXT.replace("{point: [2]}", "{point: [3]}").replace("- linear: 2", "- linear: 3"))
    assert [one.message for one in found] == [
        "gan gives `discriminator` (2,) as `point`, the field `input` of the data, and that input is (3,)"
    ]


def test_a_field_that_the_data_lacks_is_said_with_those_it_has():
    found = problems(TEXT.replace("{discriminator_steps: 2}", "{field: image}"))
    data = "the data has the fields `input` and `target`"
    assert any(
        one.message.startswith(f"the phase `discriminator` of gan reads `image`, and {data} (") for one in found
    )
    assert any(one.message.endswith("spec.yaml:2:1)") for one in found)


# --- what is moved --------------------------------------------------------------------------------------------------


def test_a_phase_whose_networks_are_frozen_moves_nothing():
    message, _, line = problem(f"{TEXT}freeze: [discriminator]\n")
    assert message.startswith(
        "the phase `discriminator` of gan moves nothing: all weights of `discriminator` are frozen"
    )
    assert message.endswith("spec.yaml:16:1)")
    assert line == 10


def test_a_phase_whose_network_has_no_weights_moves_nothing():
    layers = "      - linear: 4\n      - tanh\n      - linear: 2\n"
    message, _, line = problem(TEXT.replace(layers, "      - tanh\n").replace("[3]", "[2]"))
    assert message == "the phase `generator` of gan moves nothing: `generator` has no weight to train"
    assert line == 4


def test_a_phase_that_names_no_network_is_said(monkeypatch):
    monkeypatch.setattr(GAN, "phases", lambda _: (Phase("discriminator", ()), Phase("generator", ("generator",))))
    found = [one.message for one in problems(TEXT)]
    assert found == [
        "no phase of `gan` moves the network `discriminator`, which it calls",
        "the phase `discriminator` of gan moves no network",
    ]


AUTOENCODER = """\
data: {moons: {train: 60, test: 8}}
networks:
  encoder: {layers: [{linear: 1}]}
  decoder: {inputs: [1], layers: [{linear: 2}]}
objective: autoencoder
train: {steps: 2, optimizer: {encoder: {sgd: 0.1}, decoder: {sgd: 0.1}}}
freeze: [encoder]
"""


def test_a_frozen_network_beside_another_one_of_its_phase_stays():
    job = session.job_of(prepare(experiment_of(AUTOENCODER)))
    before = {name: value.clone() for name, value in job.network.state_dict().items()}
    list(fit(job))
    after = job.network.state_dict()
    assert {name.partition(".")[0] for name in after if not after[name].equal(before[name])} == {"decoder"}


TEACHER = """\
data: {digits: {train: 60, valid: 20, test: 20}}
networks:
  teacher: {layers: [flatten, {linear: 10}]}
  student: {layers: [flatten, {linear: 10}]}
objective: {distillation: {alpha: 0.5}}
train: {steps: 2, optimizer: {adam: 1e-2}}
"""


def test_a_network_that_is_called_and_never_moved_has_to_be_frozen():
    message, hint, line = problem(TEACHER)
    assert message == "no phase of `distillation` moves the network `teacher`, which it calls"
    assert hint == "Write `freeze: [teacher]` where it is to stay as it is."
    assert line == 3
    assert trace_all(experiment_of(f"{TEACHER}freeze: [teacher]\n")).trainable == 650


def test_an_unused_network_is_said_where_no_other_stage_trains_it():
    extra = TEXT.replace("objective:", "  extra: {inputs: [2], layers: [{linear: 2}]}\nobjective:")
    assert problem(extra)[:2] == ("no phase of `gan` calls or moves the network `extra`", "Leave it out.")
    stages = "stages: [{name: one, train: {steps: 2}}, {name: two, train: {steps: 2}}]\n"
    assert trace_all(experiment_of(extra + stages)).params


# --- epochs ---------------------------------------------------------------------------------------------------------


def test_epochs_never_end_where_no_phase_reads_the_data(monkeypatch):
    drawn = (Phase("discriminator", ("discriminator",), ()), Phase("generator", ("generator",), ()))
    monkeypatch.setattr(GAN, "phases", lambda _: drawn)
    assert trace_all(experiment_of(TEXT))
    assert problem(TEXT.replace("steps: 4", "epochs: 4")) == (
        "`epochs` never end: no phase of `gan` reads the data",
        "Write `steps: N`.",
        14,
    )


class Endless(Feed):
    """Batches without an end."""

    batches = None

    def __len__(self) -> int:
        return 0

    def next(self, phase: str) -> Batch:
        raise NotImplementedError

    def evaluation(self, part: Any, size: int) -> Any:
        return []

    def state(self) -> dict[str, Any]:
        return {}

    def load(self, state: Any) -> None: ...


def test_epochs_of_data_without_them_are_refused_at_their_line(monkeypatch):
    monkeypatch.setattr(Moons, "feed", lambda *_: Endless())
    assert prepare(experiment_of(TEXT))
    with pytest.raises(SpecError) as refused:
        prepare(experiment_of(TEXT.replace("steps: 4", "epochs: 4")))
    (one,) = refused.value.problems
    assert one.message.startswith("`epochs` never end: the data `moons` has none (")
    assert (one.path, one.mark.line) == ("train.epochs", 14)


# --- the table ------------------------------------------------------------------------------------------------------


def run(folder: Any, monkeypatch: Any, command: str, text: str = TEXT) -> str:
    monkeypatch.chdir(folder)
    (folder / "gan.yaml").write_text(text)
    output, status = printed(shlex.join(["dlx", *shlex.split(command)]))
    assert status == 0, output
    return output


def test_inspect_shows_what_each_phase_calls_moves_and_reads_and_how_often(tmp_path, monkeypatch):
    lines = run(tmp_path, monkeypatch, "inspect gan.yaml").splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("phase "))
    assert [line.split() for line in lines[at : at + 3]] == [
        ["phase", "calls", "moves", "reads", "in", "a", "step"],
        ["discriminator", "generator,", "discriminator", "discriminator", "input", "2", "times"],
        ["generator", "generator,", "discriminator", "generator", "input", "once"],
    ]


def test_the_document_has_the_calls_with_what_they_are_given(tmp_path, monkeypatch):
    discriminator, generator = json.loads(run(tmp_path, monkeypatch, "inspect gan.yaml --json"))["phases"]
    assert discriminator == {
        "name": "discriminator",
        "calls": [
            {"network": "generator", "inputs": {"noise": [3]}, "gradient": False},
            {"network": "discriminator", "inputs": {"point": [2]}},
            {"network": "discriminator", "inputs": {"point": "input"}},
        ],
        "moves": ["discriminator"],
        "reads": ["input"],
        "times": 2,
        "every": 1,
    }
    assert [call["network"] for call in generator["calls"]] == ["generator", "discriminator"]


def test_a_phase_of_every_third_step_says_so(monkeypatch):
    later = (Phase("discriminator", ("discriminator",), times=5, every=3), Phase("generator", ("generator",), ()))
    monkeypatch.setattr(GAN, "phases", lambda _: later)
    first, second = trace_all(experiment_of(TEXT)).phases
    assert (first.how_often, second.how_often) == ("5 times every 3 steps", "once")


def test_one_network_in_one_phase_has_no_table():
    text = """
        data: {moons: {train: 60, test: 8}}
        network: {layers: [{linear: 2}]}
        objective: autoencoder
        train: {steps: 1}
    """
    assert "phases" not in trace_all(experiment_of(text)).as_json()
