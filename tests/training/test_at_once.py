"""Replayed steps of one network are taken many at once, to the same bits; what has to be done in between is done."""

import pytest
from test_traced import job, metrics_of, one_thread, same_both_ways

from dlx.training import fallback
from dlx.training.fit import fit
from dlx.training.replay import at_once, script

SGD = "optimizer: {sgd: {lr: 0.1}}"
STEPS = "epochs: 10, batch_size: 4"
__all__ = ["one_thread"]


def is_at_once(one) -> bool:
    many = one.learner.current_update().many
    return many is not None and many.script is not None


@pytest.mark.parametrize(
    "more",
    [
        SGD,
        "optimizer: {sgd: {lr: 0.1, momentum: 0.9, nesterov: true}}, decay: weights",
        "optimizer: {adam: {lr: 1.0e-3}}, schedule: cosine",
        "optimizer: {adamw: 0.01}, groups: [{match: conv_1, lr_scale: 0.1}]",
        "optimizer: {adam: 0.01}, clip_norm: 0.1",
        "optimizer: {adam: 0.01}, accumulate: 2",
        "optimizer: {adam: 0.01}, evaluate_every: 7, early_stopping: {metric: valid/loss, patience: 99}",
    ],
)
def test_many_steps_at_once_leave_the_bits_of_plain_ones(more):
    # convolution, batch norm, dropout: buffers and random numbers move too; 70 examples leave a smaller last batch
    assert is_at_once(same_both_ways(f"{STEPS}, {more}"))


@pytest.mark.parametrize(
    "more",
    [
        "optimizer: {adam: 0.01}, average: {ema: 0.9}",
        "optimizer: {sgd: {lr: 0.1, momentum: 0.9}}, schedule: {one_cycle: {cycle_momentum: true}}",
        "optimizer: {sgd: {lr: 0.1}}, log_gradients: true, log_every: 3",
        "optimizer: {adagrad: 0.01}",
    ],
)
def test_what_is_done_between_two_steps_keeps_them_apart(more):
    assert not is_at_once(same_both_ways(f"{STEPS}, {more}"))


def test_batches_that_grow_are_taken_at_once_too():
    one = same_both_ways(f"epochs: 20, batch_size: 4, {SGD}, batch_schedule: {{milestones: [1], factor: 2}}")
    assert is_at_once(one)
    assert one.learner.current_update().stages[0].index.shape == (1, 8)


def test_a_training_that_is_too_short_for_a_script_takes_each_step(monkeypatch):
    monkeypatch.setattr(at_once, "MIN_STEPS", 10**6)
    one = job(f"epochs: 60, batch_size: 4, {SGD}, trace: auto")
    list(fit(one))
    assert not is_at_once(one)


def test_a_script_that_leaves_other_bits_is_not_taken(monkeypatch):
    monkeypatch.setattr(script.Script, "add", _twice(script.Script.add))
    assert not is_at_once(same_both_ways(f"{STEPS}, {SGD}"))


def test_a_script_that_torch_does_not_compile_is_told_and_steps_go_on(monkeypatch):
    monkeypatch.setattr(script.Script, "function", _failing)
    one = same_both_ways(f"{STEPS}, {SGD}")
    assert one.learner.faults == [f"{fallback.SCRIPT}: RuntimeError: no such operator"]


def test_a_loss_that_is_no_number_ends_the_training_at_its_step():
    with pytest.raises(Exception, match=r"the loss is (nan|inf) at step \d+"):
        metrics_of(f"{STEPS}, trace: true, optimizer: {{sgd: {{lr: 1.0e+30}}}}")


def _twice(add):
    """Move the weights twice a step."""

    def twice(self, one, indent=""):
        add(self, one, indent)
        if one.op.name().startswith("aten::_fused_sgd"):
            add(self, one, indent)

    return twice


def _failing(self, arguments):
    raise RuntimeError("no such operator")
