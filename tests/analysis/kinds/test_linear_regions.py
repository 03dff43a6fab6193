"""Linear regions and joints of networks: against Zaslavsky's count, the book's figures, and equal units."""

import pytest

from dlx.analysis import analyze
from dlx.errors import SpecError

DEEP = (
    "dlx: 1\nname: deep\nnetwork:\n  inputs: {x: [2]}\n  layers: [{linear: 8}, relu, {linear: 8}, %s, {linear: 1}]\n"
)
AROUND = """
dlx: 1
name: around
network:
  inputs: {x: [2]}
  layers:
    - linear: 1
    - relu
    - {concat: , from: [relu_1, x]}
    - linear: 3
    - relu
    - linear: 1
"""


def figures(spec, *options, kind="linear_regions", changes=()):
    subject = analyze.subject_of([str(spec)], changes)
    return analyze.analyze(analyze.with_options(kind, options), subject).result


@pytest.fixture
def deep(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text(DEEP % "relu")
    return path


def test_three_units_on_two_inputs_make_seven_regions_for_each_seed():
    found = figures("udl/shallow-2-3-1", "low=-1e5", "high=1e5")

    assert found.figures["regions"] == found.figures["bound"] == 7
    assert found.figures["exact"]
    assert found.seeds == 6


def test_equal_units_make_two_regions_and_the_bound_does_not_say_so(tmp_path):
    path = tmp_path / "equal.yaml"
    values = "{linear: 3, values: {weight: [[1, 2], [1, 2], [1, 2]], bias: 0.5}}"
    path.write_text(f"dlx: 1\nname: e\nnetwork:\n  inputs: {{x: [2]}}\n  layers: [{values}, relu, {{linear: 1}}]\n")
    found = figures(path, "seeds=1").figures

    assert found["regions"] == 2
    assert found["bound"] == 7


def test_the_window_of_one_input_holds_one_region_more_than_joints():
    found = figures("udl/shallow-1-3-1", "low=0", "high=2", "seeds=1")

    assert found.figures["regions"] == 4
    assert list(found.panels[0].marks[-1].x) == pytest.approx([0.5, 1, 11 / 7])


def test_where_there_are_too_many_patterns_of_points_are_counted_and_the_bound_stands_beside(deep):
    exact = figures(deep, "seeds=1")
    counted = figures(deep, "seeds=1", "most=10")

    assert exact.figures["exact"]
    assert not counted.figures["exact"]
    assert 10 < counted.figures["regions"] <= exact.figures["regions"] <= counted.figures["bound"]
    assert "more than 10 regions: 20,000 points have so many patterns" in counted.notes[0]


def test_seeds_have_an_interval(deep):
    found = figures(deep, "seeds=4").figures

    assert found["regions_low"] < found["regions"] < found["regions_high"]


def test_the_picture_has_each_region_that_is_larger_than_its_points(deep):
    found = figures(deep, "seeds=1", "grid=80")
    (heat,) = found.panels[0].marks

    assert heat.values.shape == (80, 80)
    assert found.figures["regions"] / 2 < len(set(heat.values.ravel().tolist())) <= found.figures["regions"]


def test_networks_of_many_inputs_are_looked_at_through_three_examples():
    found = figures(
        "digits/lenet",
        "seeds=1",
        "most=2000",
        "grid=20",
        changes=["network.layers=[flatten,{linear:20},relu,{linear:10}]"],
    )

    assert found.figures["exact"]
    assert found.figures["regions"] <= 1 + 20 + 190 == found.figures["bound"]
    assert "the plane through three examples" in found.notes[0]


def test_no_network_has_more_regions_than_its_bound_where_a_way_goes_around_a_narrow_layer(tmp_path):
    """Three units that see both inputs beside one narrow unit: 2 * 7, and not the 2 * 4 of a chain."""
    path = tmp_path / "around.yaml"
    path.write_text(AROUND)
    found = figures(path, "low=-1e3", "high=1e3", "seeds=8")

    assert found.figures["bound"] == 2 * 7
    assert 2 * 4 < max(count for _, count, _ in found.table[1]) <= 2 * 7


def test_layers_that_bend_are_refused_with_their_place(tmp_path):
    path = tmp_path / "bent.yaml"
    path.write_text(DEEP % "tanh")

    with pytest.raises(SpecError, match=r"`tanh_1` \(tanh\) of deep is not piecewise linear") as refused:
        figures(path)
    assert "networks with relu, leaky_relu" in str(refused.value)
    assert f"{path}:5:" in str(refused.value)


def test_a_maximum_of_several_is_not_called_smooth(tmp_path):
    path = tmp_path / "pooled.yaml"
    path.write_text(
        "dlx: 1\nname: pooled\nnetwork: {inputs: [1, 4], layers: [{max_pool: 2}, flatten, {linear: 1}]}\n"
    )

    with pytest.raises(SpecError, match=r"`max_pool_1` \(max_pool\) of pooled has kinks where two of its inputs are"):
        figures(path)


def test_mistakes_of_the_window_are_told(deep):
    with pytest.raises(SpecError, match=r"`low` has 3 numbers, and the window has 2 axes"):
        figures(deep, "low=[1,2,3]")
    with pytest.raises(SpecError, match=r"`low: 2\.0` is not below `high: 1\.0`"):
        figures(deep, "low=2", "high=1")


def test_joints_and_slopes_are_those_of_figure_3_3():
    found = figures("udl/shallow-1-3-1", "low=0", "high=2", kind="joints").figures

    assert [found[f"joint_{i}"] for i in (1, 2, 3)] == pytest.approx([0.5, 1, 11 / 7])
    assert [found[f"slope_{i}"] for i in (1, 2, 3, 4)] == pytest.approx([-0.462, -0.982, 0.188, 0.65], abs=1e-6)
    moved = figures("udl/shallow-1-3-1", "low=0", "high=2", kind="joints", changes=["vars.theta_0=[-0.3,-0.9,1.1]"])
    assert moved.figures["joint_1"] == pytest.approx(0.75)


def test_both_outputs_of_figure_3_6_have_their_joints_at_the_same_inputs():
    found = figures("udl/shallow-1-4-2", kind="joints").figures

    assert found["joints"] <= 4
    assert sum(name.startswith("output_2_slope") for name in found) == found["joints"] + 1


def test_where_a_unit_has_no_say_there_is_no_joint():
    found = figures("udl/shallow-1-3-1", "low=0", "high=2", kind="joints", changes=["vars.phi=[-1.3,0,0.66]"]).figures

    assert found["joints"] == 2
    assert [found["joint_1"], found["joint_2"]] == pytest.approx([0.5, 11 / 7])


def test_joints_are_of_networks_of_one_input():
    with pytest.raises(SpecError, match="`x` has 2 values, and this is of networks of one"):
        figures("udl/shallow-2-3-1", kind="joints")
