"""Units of activations by their slopes."""

import pytest
import torch
from helpers import network_of
from torch import nn

from dlx.analysis.measures.activity import Activity, activity, saturated, slopes
from dlx.network import build


def activity_of(kind: str, x: torch.Tensor, layers: str = "- {linear: 3}") -> Activity:
    graph = network_of(f"{{x: {list(x.shape[1:])}}}", f"{layers}\n- {kind}")
    node = graph.nodes[-1]
    return activity(graph, node, build(graph).get_submodule(node.name), x)


def test_units_are_dead_straight_or_both_by_hand():
    x = torch.tensor([[1.0, -1.0, 2.0], [3.0, -2.0, -2.0]])  # always on, never on, on once

    assert activity_of("relu", x) == Activity(units=3, dead=1, always_active=1, active=0.5, saturated=0.0)
    assert activity_of("leaky_relu", x).dead == 0
    assert activity_of("leaky_relu", x).always_active == 2  # one slope each, which is not 0


def test_a_channel_is_one_unit_at_all_its_positions():
    x = torch.full((2, 3, 4, 4), -1.0)
    x[1, 0, 2, 2] = 1.0

    assert activity_of("relu", x, "- {conv: {out_channels: 3, kernel_size: 1}}").dead == 2


def test_saturation_begins_where_the_slope_is_a_twentieth_of_the_steepest():
    """A sigmoid has slope 1/4 at 0, and (1/4)/20 at 4.36; tanh has 1/20 at 2.18."""
    found = slopes(nn.Sigmoid(), torch.tensor([0.0, 4.35, 4.37])) / 0.25

    assert found.tolist() == pytest.approx([1, 0.0505, 0.0495], abs=4e-4)
    assert saturated(nn.Sigmoid(), torch.tensor([0.0, 4.35, 4.37, -9.0])) == 0.5
    assert saturated(nn.Tanh(), torch.tensor([0.0, 2.17, 2.19, 5.0])) == 0.5


def test_saturation_is_measured_against_the_steepest_slope_though_no_value_is_there():
    assert saturated(nn.Tanh(), torch.full((4, 2), 6.0)) == 1.0
