"""The arithmetic of shapes, windows and receptive fields."""

from fractions import Fraction
from math import floor, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.errors import ShapeError
from dlx.shapes import LONGEST_PERIOD, Reach, Shape, Window, by_x, spread


def one_axis(kernel, stride, before=0, dilation=1):
    return Window((kernel,), (stride,), (before,), (before,), (dilation,))


def test_a_shape_is_a_tuple_that_knows_its_parts():
    x = Shape((3, 32, 48))

    assert (x.channels, x.size, x.rank, x.count, x.bytes) == (3, (32, 48), 3, 3 * 32 * 48, 4 * 3 * 32 * 48)
    assert (x, str(x)) == ((3, 32, 48), "(3, 32, 48)")
    assert str(Shape((3,))) == "(3,)"
    assert (Shape((5,), "int").bytes, Shape((5,), "bool").bytes) == (40, 5)
    assert by_x(x.size) == "32x48"


def test_one_number_serves_all_axes():
    assert spread(3, 2, "stride") == (3, 3)
    assert spread([3, 4], 2, "stride") == (3, 4)
    with pytest.raises(ShapeError, match=r"stride = \[1, 2, 3\] has 3 values for an input with 2 axes of positions"):
        spread([1, 2, 3], 2, "stride")


def test_padding_same_puts_the_odd_position_at_the_end():
    window = Window.over(2, [4, 3], padding="same")

    assert (window.before, window.after) == ((1, 1), (2, 1))
    assert window.slide((9, 9)) == (9, 9)


def test_a_window_slides_as_the_guide_to_convolution_arithmetic_says():
    assert Window.over(2, 3).slide((4, 4)) == (2, 2)  # figure 2.1
    assert Window.over(2, 4, padding=2).slide((5, 5)) == (6, 6)  # figure 2.2
    assert Window.over(2, 3, 2).slide((5, 5)) == (2, 2)  # figure 2.5
    assert Window.over(2, 3, 2, 1).slide((6, 6)) == (3, 3)  # figure 2.7
    assert Window.over(2, 3, dilation=2).slide((7, 7)) == (3, 3)  # figure 5.1


def test_ceil_mode_lets_the_last_window_reach_over_the_end_but_not_start_there():
    assert Window.over(1, 2, 2, ceil_mode=True).slide((5,)) == (3,)
    assert Window.over(1, 3, 2, ceil_mode=True).slide((2,)) == (1,)
    assert Window.over(1, 1, 3, ceil_mode=True).slide((5,)) == (2,)
    with pytest.raises(ShapeError, match="a window of 3 is larger than its input of 1"):
        Window.over(1, 3, 2, ceil_mode=True).slide((1,))


def test_what_a_stride_leaves_unread_is_counted():
    assert Window.over(2, 3, 2).unseen((8, 7)) == (1, 0)
    assert Window.over(1, 3, 2, 1).unseen((7,)) == (0,)
    assert Window.over(1, 1, 2).unseen((8,)) == (0,)  # it skips positions everywhere, by intent


def test_receptive_fields_of_a_small_network_worked_by_hand():
    reach = Reach.of_input(1)
    fields = []
    for _ in range(3):
        reach = reach.through(Window.over(1, 3, 2))
        fields.append((reach.size, reach.stride, reach.start))

    assert fields == [((3,), (2,), (0,)), ((7,), (4,), (0,)), ((15,), (8,), (0,))]


def test_padding_and_dilation_move_and_widen_a_receptive_field():
    reach = Reach.of_input(2).through(Window.over(2, 3, [1, 2], 1)).through(Window.over(2, [3, 1], 1, [2, 0], [2, 1]))

    assert (reach.size, reach.stride, reach.start) == ((7, 3), (1, 2), (-3, -1))
    assert str(reach) == "7x3"


def true_stops(windows, p):
    """First and last input position that output position `p` of a stack of windows sees, step by step."""
    first = last = p
    for window in reversed(windows):
        (k,), (s,), (before,), (d,) = window.kernel, window.stride, window.before, window.dilation
        first, last = floor(first * s) - before, floor(last * s) - before + (k - 1) * d
    return first, last


def told_stops(windows, p):
    reach = Reach.of_input(1)
    for window in windows:
        reach = reach.through(window)
    if reach.is_global:  # after strides of too many different stops
        return -inf, inf
    first = floor(reach.start[0] + p * reach.stride[0])
    return first, first + reach.size[0] - 1


whole = st.builds(one_axis, st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
broken = st.builds(Fraction, st.integers(1, 9), st.integers(2, 5))
any_stride = whole | st.builds(one_axis, st.integers(1, 4), broken)


@settings(deadline=None)
@given(st.lists(whole, max_size=5), st.integers(0, 50))
def test_a_receptive_field_is_exact_where_strides_are_whole(windows, p):
    assert told_stops(windows, p) == true_stops(windows, p)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_stride, max_size=5))
def test_a_receptive_field_holds_everything_that_is_seen_where_strides_are_fractions(windows):
    for p in range(40):
        (low, high), (first, last) = told_stops(windows, p), true_stops(windows, p)
        assert low <= first <= last <= high


@settings(deadline=None)
@given(any_stride)
def test_one_window_is_told_tightly(window):
    assert all(told_stops([window], p) == true_stops([window], p) for p in range(20))


def test_upsampling_after_pooling_is_centred_on_its_position():
    pooled = Reach.of_input(1).through(one_axis(2, 2))
    upsampled = pooled.through(one_axis(1, Fraction(1, 2)))

    assert (upsampled.size, upsampled.stride, upsampled.start) == (
        (3,),
        (1,),
        (-1,),
    )  # p and its pair, on either side
    assert upsampled.join(Reach.of_input(1)).aligned


def test_a_stride_of_too_many_different_stops_is_said_to_see_everything():
    reach = Reach.of_input(1).through(one_axis(2, Fraction(LONGEST_PERIOD + 2, LONGEST_PERIOD + 1)))

    assert reach.is_global


def test_an_axis_that_sees_everything_goes_on_seeing_everything():
    reach = Reach.of_input(2).everything([1]).through(Window.over(2, 3))

    assert reach.size == (3, None)
    assert str(reach) == "3xglobal"
    assert not reach.is_global
    assert reach.everything().is_global


def test_a_cut_at_the_start_moves_what_is_seen():
    reach = Reach.of_input(1).through(Window.over(1, 3, 2, 1))

    assert reach.shifted([2]) == Reach((3,), (2,), (3,))


def test_a_merge_sees_the_hull_of_its_branches():
    x = Reach.of_input(1)
    three, five = x.through(Window.over(1, 3, padding=1)), x.through(Window.over(1, 5, padding=2))

    assert three.join(five) == five
    assert x.join(x) is x


def test_a_merge_of_branches_that_look_elsewhere_is_marked():
    x = Reach.of_input(1)
    ahead = x.through(Window.over(1, 3))
    slower = x.through(Window.over(1, 3, 2, 1))

    assert x.join(ahead) == Reach((3,), (1,), (0,), aligned=False)
    assert not x.join(slower).aligned
    assert str(x.join(ahead)) == "3~"


def test_a_merge_with_what_sees_everything_sees_everything():
    x = Reach.of_input(1)

    assert x.everything().join(x).is_global
    assert x.join(Reach.of_input(2)).is_global


def test_a_receptive_field_as_json():
    reach = Reach((3, None), (1, Fraction(1, 2)), (Fraction(-1, 2), 0))

    assert reach.as_json() == {"size": [3, "global"], "stride": [1, 0.5], "start": [-0.5, 0]}
    assert reach.everything().as_json() == "global"
