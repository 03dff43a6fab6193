"""Every numeric field of every kind, at the edges of what numbers can be: taken with an effect, or refused."""

import math
import signal
from contextlib import contextmanager

import pytest
import torch
from complaints import layers_report
from pydantic import ValidationError

from dlx.augment import AUGMENTATIONS
from dlx.errors import ShapeError
from dlx.init import INITIALIZERS
from dlx.layers import LAYERS
from dlx.losses import LOSSES
from dlx.optim import OPTIMIZERS
from dlx.schedules import SCHEDULES
from dlx.schedules.base import Timeline
from dlx.shapes import Shape

EDGES = [math.nan, math.inf, -1.5, -1, 0, 1e308, 5e-324, 10**9, 10**18, 10**40]
NEEDED = {
    "by_name": {"match": {"*": "zeros"}},
    "constant": {"value": 1.0},
    "normal": {"std": 1.0},
    "trunc_normal": {"std": 1.0},
    "uniform": {"b": 1.0},
}
DTYPES = {"float": torch.float32, "int": torch.int64, "bool": torch.bool}
MOST = 10**5
"""Values of a tensor that is really made."""


@contextmanager
def within_seconds(seconds: int):
    """AssertionError where it takes longer."""

    def late(*_):
        raise AssertionError(f"it takes more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def numeric(cls) -> list[str]:
    return [n for n, info in cls.model_fields.items() if any(w in str(info.annotation) for w in ("int", "float"))]


def needed(cls) -> dict:
    def least(info):
        words = str(info.annotation)
        return [1] if "list" in words and "|" not in words else 0.5 if "float" in words else 1

    return NEEDED.get(cls.kind) or {n: least(info) for n, info in cls.model_fields.items() if info.is_required()}


def walked(cls, options, use):
    for name in numeric(cls):
        for edge in EDGES:
            for value in (edge, [edge, edge]) if "list" in str(cls.model_fields[name].annotation) else (edge,):
                with within_seconds(10):
                    try:
                        made = cls.model_validate(options | {name: value})
                    except ValidationError:
                        continue
                    try:
                        use(made)
                    except ShapeError:
                        continue


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_plan_and_are_built_or_refuse(kind):
    _, xs, example = LAYERS[kind].worked_example()

    def built(layer):
        plan = layer.plan(*xs)
        if plan.shape.count + sum(math.prod(shape) for shape in plan.weights.values()) < MOST:
            made = layer.module(*xs)
            inputs = [torch.zeros(2, *x, dtype=DTYPES[x.dtype]) for x in xs]
            assert made.eval()(*inputs).shape[1:] == tuple(plan.shape)

    walked(LAYERS[kind], dict(example.options), built)


@pytest.mark.parametrize("kind", INITIALIZERS)
def test_initialisers_fill_or_refuse(kind):
    def filled(init):
        weight, bias = torch.empty(4, 3, 3, 3), torch.empty(4)
        init.fill(weight)
        init.fill_bias(bias, weight)

    walked(INITIALIZERS[kind], needed(INITIALIZERS[kind]), filled)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_optimizers_step_or_refuse(kind):
    def stepped(optimizer):
        weights = [torch.zeros(3, 3, requires_grad=True), torch.zeros(3, requires_grad=True)]
        built = optimizer.build(weights)
        if optimizer.takes == "gradient":
            for weight in weights:
                weight.grad = torch.ones_like(weight)
            built.step()

    walked(OPTIMIZERS[kind], needed(OPTIMIZERS[kind]), stepped)


@pytest.mark.parametrize("kind", SCHEDULES)
def test_schedules_give_rates_or_refuse(kind):
    span = Timeline(40, 10)

    def asked(schedule):
        rates = [schedule.at(step, span) for step in range(0, 40, 7)]
        assert all(math.isfinite(rate) and rate >= 0 for rate in rates)
        schedule.cycles(span)

    walked(SCHEDULES[kind], needed(SCHEDULES[kind]), asked)


@pytest.mark.parametrize("kind", LOSSES)
def test_losses_are_worked_out_or_refuse(kind):
    def lost(loss):
        shape = loss.outputs(Shape((3,)) if loss.wants != "boxes" else Shape((8, 2, 2)))
        if not loss.check(3) and math.prod(shape) < MOST:
            target = torch.tensor([0, 1]) if loss.wants == "classes" else torch.zeros(2, 3)
            output = torch.zeros(2, 3) if loss.wants == "classes" else torch.zeros(2, *shape)
            loss.function()(output, target)

    if kind not in ("yolo", "sum"):
        walked(LOSSES[kind], needed(LOSSES[kind]), lost)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_augmentations_change_a_batch_or_refuse(kind):
    x = torch.rand(4, 3, 8, 8)

    def changed(augmentation):
        if math.prod(augmentation.output_shape(Shape((3, 8, 8)))) < MOST:
            augmentation.fitted(lambda: x)(x)

    walked(AUGMENTATIONS[kind], needed(AUGMENTATIONS[kind]), changed)


def test_what_float32_does_not_hold_is_reported_at_its_place(tmp_path):
    said = layers_report(
        tmp_path,
        """
        - {leaky_relu: 1e300}
        - {batch_norm: {eps: 1e-300}}
        - {conv: {out_channels: 2, kernel_size: 3, stride: 3_000_000_000}}
        - {pad: {padding: [1, 99999999999999999999]}}
        """,
    )
    assert "s.yaml:4:8  network.layers.leaky_relu_1.negative_slope" in said
    assert "1e+300 is beyond 3.4e+38, the largest number of float32" in said
    assert "1e-300 is nearer to 0 than 1.2e-38, the least number of float32" in said
    assert "`stride` must be at most 2,147,483,647, not 3000000000" in said
    assert "99,999,999,999,999,999,999 is beyond 9,223,372,036,854,775,807 (2^63 - 1)" in said
