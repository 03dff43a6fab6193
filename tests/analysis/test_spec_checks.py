"""The space of a sweep and the analyses of a spec are looked at by `dlx inspect`, before anything is trained."""

import pytest
from helpers import experiment_of

from dlx.analysis import spec_checks
from dlx.errors import SpecError

SPEC = """\
vars: {width: 8}
data: digits
network: {layers: [flatten, {linear: "${width}", name: body}, relu, {linear: 10}]}
objective: classification
train: {epochs: 1, optimizer: {adam: 0.1}}
"""


def told(more: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SpecError) as error:
        spec_checks.check(experiment_of(SPEC + more))
    return [(one.mark.line, one.message, one.hint) for one in error.value.problems]


@pytest.mark.parametrize(
    ("space", "message", "hint"),
    [
        (
            "vars.widht: [4, 8]",
            "there is no `vars.widht` to override",
            "Did you mean `width`? A new key is written `+vars.widht=...`.",
        ),
        (
            "train.optimizer.adam.rl: [0.1, 0.2]",
            "`adam` has no field `rl`",
            "There are the fields amsgrad, betas, bias_correction, eps, eps_inside, lr, weight_decay.",
        ),
        ("train.optimzer.adam.lr: [0.1, 0.2]", "`train` has no field `optimzer`", "Did you mean `optimizer`?"),
        (
            "train.batch_size: [many, few]",
            '`batch_size` must be a whole number or "all", not "many"',
            "batch_size: examples in a batch; all is the whole training set.",
        ),
        ("network.layers.bdoy: [4, 8]", "there is no layer `bdoy` to override", "Did you mean `body`?"),
    ],
)
def test_a_key_of_a_sweep_that_is_nowhere_is_told_at_its_line(space, message, hint):
    assert told(f"sweep:\n  space:\n    {space}\n") == [(8, message, hint)]


def test_a_word_among_the_numbers_of_a_sweep_is_told():
    ((line, message, _),) = told("sweep:\n  space:\n    train.optimizer.adam.lr: [0.1, fast]\n")
    assert (line, message) == (8, '`lr` must be a number, not "fast"')


def test_a_metric_of_a_sweep_that_is_not_measured_is_told():
    ((line, message, hint),) = told("sweep:\n  metric: valid/eror\n  space: {vars.width: [4, 8]}\n")
    assert (line, message) == (7, "no trial reports valid/eror")
    assert hint == "Did you mean `valid/error` or `valid/loss`?"


@pytest.mark.parametrize(
    ("train", "message", "hint"),
    [
        (
            "groups: [{match: bdoy, lr_scale: 0.1}]",
            "`groups` matches no weight: `bdoy`",
            "`dlx inspect` shows the names of the nodes; a weight is NODE/weight or NODE/bias.",
        ),
        (
            "groups: [{match: body, lr_scale: 0.1}, {match: body/bias, lr_scale: 2}]",
            "`groups` leaves no weight for `body/bias`: the groups before it take them all",
            "Put it before them, or leave it out.",
        ),
        (
            "early_stopping: {metric: valid/eror, patience: 3}",
            "`early_stopping` follows valid/eror, which is not measured",
            "Did you mean `valid/error` or `valid/loss`?",
        ),
    ],
)
def test_a_name_in_train_that_is_nowhere_is_told_at_its_line(train, message, hint):
    spec = SPEC.replace("epochs: 1,", f"epochs: 1, {train},")
    with pytest.raises(SpecError) as error:
        spec_checks.check(experiment_of(spec))
    assert [(one.mark.line, one.message, one.hint) for one in error.value.problems] == [(5, message, hint)]


def test_analyses_and_sweep_are_told_together():
    found = told(
        "analyses:\n  cut: {loss_surface: {by: ['body/wieght[0, 0]', 'body/bias[0]']}}\n"
        "sweep: {space: {vars.widht: [1, 2]}}\n"
    )
    assert [(line, message) for line, message, _ in found] == [
        (7, "there is no weight `body/wieght`"),
        (8, "there is no `vars.widht` to override"),
    ]


def test_a_space_that_fits_is_no_mistake():
    spec_checks.check(experiment_of(SPEC + "sweep: {space: {vars.width: [4, 8], +train.seed: [1, 2]}}\n"))
