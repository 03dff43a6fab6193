"""Norms that would be left with one value are told before training, with the ways out, as torch itself decides."""

from contextlib import nullcontext

import pytest
from helpers import experiment_of

from dlx.analysis.doctor import diagnosis
from dlx.errors import SpecError
from dlx.experiment import runner as experiments
from dlx.experiment import session
from dlx.training import norm_sizes
from dlx.training.fit import fit

SPEC = """
dlx: 1
data: {{synthetic: {{shape: {shape}, classes: 2, train: {examples}, valid: {valid}, test: null}}}}
network:
  layers: [{layers}, flatten, {{linear: 2}}]
train: {{{train}, device: cpu}}
track: {{mlflow: false}}
"""
WANTS = "wants two values for each mean and variance"
LAST = f"batch_norm_1 {WANTS}, and the last batch of an epoch, 1 of 33 examples in batches of 32, has one"


def spec(train="batch_size: 32", layers="batch_norm", examples=33, shape="[4]", valid="null"):
    train = train if "epochs" in train else f"epochs: 1, {train}"
    return experiment_of(SPEC.format(train=train, layers=layers, examples=examples, shape=shape, valid=valid))


def refused(**more) -> SpecError | None:
    try:
        experiments.prepare(spec(**more))
    except SpecError as error:
        return error
    return None


MORE = "leaves no batch like it; `layer_norm` needs no other examples."
CASES = [
    {},
    {"train": "batch_size: 32, drop_last: true"},
    {"train": "batch_size: 1"},
    {"train": "batch_size: 16, accumulate: 2"},
    {"train": "batch_size: 11, accumulate: 2"},
    {"train": "batch_size: all", "examples": 1},
    {"train": "batch_size: 64"},
    {"examples": 34},
    {"shape": "[4, 3]"},
    {"train": "batch_size: 1", "shape": "[4, 2, 2]"},
    {"shape": "[4, 1, 1]"},
    {"layers": "{batch_norm: {track_running_stats: false}}", "examples": 32, "valid": 65},
    {"layers": "{batch_norm: {track_running_stats: false}}", "examples": 32, "valid": 1},
    {"layers": "{ghost_batch_norm: 8}"},
    {"layers": "{ghost_batch_norm: 1}", "examples": 32},
    {"layers": "{ghost_batch_norm: 2}", "train": "batch_size: 3", "examples": 6},
    {"layers": "{ghost_batch_norm: 2}", "train": "batch_size: 4", "examples": 8},
    {"layers": "{group_norm: 4}"},
    {"layers": "{group_norm: 2}"},
    {"layers": "{group_norm: 4}", "examples": 32, "valid": 1},
    {"layers": "{group_norm: 4}", "train": "batch_size: 1", "shape": "[4, 2]"},
    {"layers": "layer_norm"},
    {"layers": "{book_batch_norm: {}}"},
    {"train": "batch_size: 3, epochs: 2, batch_schedule: {milestones: [1], factor: 1.34}", "examples": 9},
    {"train": "batch_size: 3, epochs: 1, batch_schedule: {milestones: [1], factor: 1.34}", "examples": 9},
]


@pytest.mark.parametrize("more", CASES, ids=str)
def test_it_is_refused_where_torch_would_fail_and_only_there(more, monkeypatch):
    one = spec(**more)
    refusal = refused(**more)
    monkeypatch.setattr(norm_sizes, "check_norms", lambda *_: None)
    made = experiments.prepare(one)
    job = session.job_of(made)
    with (
        nullcontext()
        if refusal is None
        else pytest.raises(ValueError, match="Expected more than 1 value per channel")
    ):
        list(fit(job))


@pytest.mark.parametrize(
    ("more", "message", "hint"),
    [
        (
            {},
            LAST,
            f"`drop_last: true` leaves it out; `batch_size: 31` {MORE}",
        ),
        (
            {"train": "batch_size: 1"},
            f"batch_norm_1 {WANTS}, and a batch of 1 example has one",
            f"`batch_size: 3` {MORE}",
        ),
        (
            {"layers": "batch_norm, relu, batch_norm", "examples": 1},
            f"batch_norm_1 and 1 other norm {WANTS.replace('wants', 'want')}, and a batch of 1 example has one",
            "`layer_norm` needs no other examples.",
        ),
        (
            {"layers": "{group_norm: 4}", "examples": 32, "valid": 1},
            f"group_norm_1 {WANTS}, and the last 1 example of the validation part, evaluated at once, has one",
            "Give the part another number of examples; `layer_norm` needs no other examples.",
        ),
    ],
)
def test_the_sentence_has_its_place_and_the_ways_out(more, message, hint):
    (problem,) = refused(**more).problems
    assert (problem.message, problem.hint) == (message, hint)
    assert problem.mark.line == (5 if "valid" in more else 6)
    assert problem.mark.column > 1


def test_the_doctor_says_it_too():
    with pytest.raises(SpecError) as refusal:
        diagnosis.examine(spec())
    assert refusal.value.problems[0].message == LAST
