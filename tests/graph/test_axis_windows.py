"""The arithmetic of receptive fields: windows over windows, on each axis, and where branches meet."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlx.graph.graph import SymbolicField
from dlx.graph.receptive_field.axes import of_input, union
from dlx.graph.receptive_field.propagation import merge, receptive_field
from dlx.shapes import LONGEST_PERIOD, ReceptiveField, UnknownReceptiveField, Window

N = 10**6
"""Positions of an axis, whose ends no window of a test comes near."""


def one_axis(kernel, stride, before=0, dilation=1):
    return Window((kernel,), (stride,), (before,), (before,), (dilation,))


def through(windows, spans=None, size=(N,)):
    """Each axis of an input of N positions an axis, as a value behind these windows sees it."""
    spans = of_input(size) if spans is None else spans
    for window in windows:
        stops = window.slide(size)
        for k, n in enumerate(stops):
            spans = [span.map(lambda one, n, k=k, w=window: one.slide(k, w, k, n), n) for span in spans]
        size = stops
    return spans


def summary(spans):
    return receptive_field(SymbolicField((N,) * len(spans), tuple(spans)), None)


def test_receptive_fields_of_a_small_network_worked_by_hand():
    fields = [summary(through([one_axis(3, 2)] * depth)) for depth in (1, 2, 3)]

    assert fields == [
        ReceptiveField((3,), (2,), (0,)),
        ReceptiveField((7,), (4,), (0,)),
        ReceptiveField((15,), (8,), (0,)),
    ]


def test_padding_and_dilation_move_and_widen_a_receptive_field():
    windows = [Window.over(2, 3, [1, 2], 1), Window.over(2, [3, 1], 1, [2, 0], [2, 1])]

    assert summary(through(windows, size=(N, N))) == ReceptiveField((7, 3), (1, 2), (-3, -1))


def true_stops(windows, p):
    """First and last input position that output position `p` of a stack of windows sees, step by step."""
    first = last = p
    for window in reversed(windows):
        (k,), (s,), (before,), (d,) = window.kernel, window.stride, window.before, window.dilation
        first, last = floor(first * s) - before, floor(last * s) - before + (k - 1) * d
    return first, last


def predicted_stops(windows, p):
    (span,) = through(windows)
    return span.at((p,))


whole = st.builds(one_axis, st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))
broken = st.builds(Fraction, st.integers(1, 9), st.integers(2, 5))
any_stride = whole | st.builds(one_axis, st.integers(1, 4), broken)


@settings(deadline=None)
@given(st.lists(whole, max_size=5), st.integers(0, 50))
def test_a_receptive_field_is_exact_where_strides_are_whole(windows, p):
    assert predicted_stops(windows, p) == true_stops(windows, p)


@settings(max_examples=300, deadline=None)
@given(st.lists(any_stride, max_size=5))
def test_a_receptive_field_holds_everything_that_is_seen_where_strides_are_fractions(windows):
    (span,) = through(windows)
    for p in range(40):
        (low, high), (first, last) = span.at((p,)), true_stops(windows, p)
        assert low <= first <= last <= high


@settings(deadline=None)
@given(any_stride)
def test_one_window_is_exact(window):
    assert all(predicted_stops([window], p) == true_stops([window], p) for p in range(20))


def test_upsampling_after_pooling_is_centred_on_its_position():
    (x,) = of_input((N,))
    (upsampled,) = through([one_axis(2, 2), one_axis(1, Fraction(1, 2))])

    assert summary([upsampled]) == ReceptiveField((3,), (1,), (-1,))  # p and its pair, on either side
    assert union([upsampled, x.map(lambda window, n: window.slice(0, 0, 1, n), N - 1)]).aligned


def test_a_stride_of_many_different_stops_is_a_position_wider_at_most():
    """Two positions from floor(p * 258/257) on, and by the hull of any fraction the one before them."""
    window = one_axis(2, Fraction(LONGEST_PERIOD + 2, LONGEST_PERIOD + 1))
    (span,) = through([window])

    assert summary([span]) == ReceptiveField((3,), window.stride, (-1,))
    for p in range(0, 900, 7):
        first, last = true_stops([window], p)
        assert span.at((p,)) == (first - 1, last)


def test_an_axis_that_sees_everything_goes_on_seeing_everything():
    one, other = of_input((N, N))
    everything = other.map(lambda window, n: window.mix_in_place([1], n), N)

    assert str(summary(through([Window.over(2, 3)], [one, everything], (N, N)))) == "3xglobal"
    assert summary([everything, everything]) == "global"


def test_a_cut_at_the_start_moves_what_is_seen():
    (span,) = through([one_axis(3, 2, 1)])

    assert summary([span.map(lambda window, n: window.slice(0, 2, 1, n), 400)]) == ReceptiveField((3,), (2,), (3,))


def test_a_merge_sees_the_hull_of_its_branches():
    (x,), (three,), (five,) = (through(windows) for windows in ([], [one_axis(3, 1, 1)], [one_axis(5, 1, 2)]))

    assert union([three, five]) == five
    assert union([x, x]) is x


@pytest.mark.parametrize("other", [one_axis(3, 1), one_axis(3, 2, 1)], ids=["ahead", "slower"])
def test_a_merge_of_branches_that_look_elsewhere_is_marked(other):
    (x,), (span,) = through([]), through([other])
    few = [one.map(lambda window, n: window.slice(0, 0, 1, n), 400) for one in (x, span)]

    assert not union(few).aligned


def test_the_hull_of_branches_that_look_elsewhere():
    (x,), (ahead,) = through([]), through([one_axis(3, 1)])

    assert summary([union([x, ahead])]) == ReceptiveField((3,), (1,), (0,), aligned=False)


def test_a_merge_with_what_sees_everything_sees_everything():
    (x,) = of_input((N,))

    assert summary([union([x.map(lambda window, n: window.mix_in_place([0], n), N), x])]) == "global"


def test_a_merge_of_strides_drifts_apart_along_its_positions():
    """At 5 positions p, of 2p-1 to 2p+1 and of p: in steps of 2, the last p lies 4 before 2p."""
    (x,), (slower,) = through([]), through([one_axis(3, 2, 1)])
    few = [span.map(lambda window, n: window.slice(0, 0, 1, n), 5) for span in (x, slower)]

    assert summary([union(few)]) == ReceptiveField((6,), (2,), (-4,), aligned=False)


def test_a_merge_of_one_input_on_other_axes_is_unknown():
    """Which position is which cannot be said."""
    vector, matrix = (SymbolicField(shape, of_input(shape)) for shape in ((9,), (3, 3)))

    assert merge([{"x": vector}, {"x": matrix}], "add") == {"x": UnknownReceptiveField("add")}
