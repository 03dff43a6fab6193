"""A layer that gives no plan is measured on torch's meta device."""

from typing import ClassVar

from torch import nn

from dlx.layers import LAYERS, Layer
from dlx.reference.vocabulary import page
from dlx.shapes import Shape


class Depthwise(Layer):
    """A plug-in as its author would write it, but without a `kind`, so that it stays out of the registry."""

    factor: int = 2

    learns: ClassVar[bool] = True

    def module(self, *xs):
        channels = xs[0].channels
        wide = self.factor * channels
        return nn.Sequential(nn.Conv1d(channels, wide, 3, groups=channels, bias=False), nn.BatchNorm1d(wide))


class Embedded(Layer):
    """One that takes integers."""

    def module(self, *xs):
        return nn.Embedding(10, 4)


class Compared(Layer):
    """One that takes two inputs and gives truth values."""

    arity: ClassVar[int] = 2

    def module(self, *xs):
        class Greater(nn.Module):
            def forward(self, a, b):
                return a > b

        return Greater()


def test_a_layer_without_a_plan_gets_the_measured_numbers():
    plan = Depthwise(factor=3).plan(Shape((4, 10)))

    assert (plan.shape, plan.shape.dtype) == ((12, 8), "float")
    assert dict(plan.weights) == {"0.weight": (12, 1, 3), "1.weight": (12,), "1.bias": (12,)}
    assert dict(plan.buffers) == {"1.running_mean": (12,), "1.running_var": (12,), "1.num_batches_tracked": ()}
    assert (plan.params, plan.buffered) == (12 * 3 + 12 + 12, 12 + 12 + 1)
    assert plan.macs == 12 * 3 * 8
    assert plan.window == "global"


def test_measuring_follows_the_dtype_of_inputs_and_outputs():
    assert Embedded().plan(Shape((7,), "int")).shape == (7, 4)
    assert Compared().plan(Shape((3,)), Shape((3,))).shape.dtype == "bool"
    assert Compared().plan(Shape((3,), "int"), Shape((3,), "int")).shape == (3,)


def test_measuring_leaves_the_registry_alone():
    assert not {Depthwise, Embedded, Compared} & set(LAYERS.values())


def test_a_layer_without_an_example_has_a_page_without_one(monkeypatch):
    """An entry point may bring a layer that names neither an example nor a plan."""
    monkeypatch.setattr(Depthwise, "kind", "wide", raising=False)
    monkeypatch.setitem(LAYERS._classes, "wide", Depthwise)

    message = page("wide")

    assert (message.kind, message.example, message.numbers) == ("wide", "", "")
    assert ("factor", "int", "2", "") in message.fields
