"""The arithmetic of shapes, windows and receptive fields."""

from fractions import Fraction

import pytest

from dlx.errors import ShapeError
from dlx.shapes import ReceptiveField, Shape, Window, by_x, per_axis


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
    assert per_axis(3, 2, "stride") == (3, 3)
    assert per_axis([3, 4], 2, "stride") == (3, 4)
    with pytest.raises(ShapeError, match=r"stride = \[1, 2, 3\] has 3 values for an input with 2 axes of positions"):
        per_axis([1, 2, 3], 2, "stride")


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


def test_ceil_mode_lets_the_last_window_extend_over_the_end_but_not_start_there():
    assert Window.over(1, 2, 2, ceil_mode=True).slide((5,)) == (3,)
    assert Window.over(1, 3, 2, ceil_mode=True).slide((2,)) == (1,)
    assert Window.over(1, 1, 3, ceil_mode=True).slide((5,)) == (2,)
    with pytest.raises(ShapeError, match="a window of 3 is larger than its input of 1"):
        Window.over(1, 3, 2, ceil_mode=True).slide((1,))


def test_what_a_stride_leaves_unread_is_counted():
    assert Window.over(2, 3, 2).uncovered((8, 7)) == (1, 0)
    assert Window.over(1, 3, 2, 1).uncovered((7,)) == (0,)
    assert Window.over(1, 1, 2).uncovered((8,)) == (0,)  # it skips positions everywhere, by intent


def test_a_receptive_field_as_json():
    receptive_field = ReceptiveField((3, None), (1, Fraction(1, 2)), (Fraction(-1, 2), 0))

    assert receptive_field.as_json() == {"size": [3, "global"], "stride": [1, 0.5], "start": [-0.5, 0]}
    assert str(receptive_field) == "3xglobal"
    assert str(ReceptiveField((3,), (1,), (0,), aligned=False)) == "3~"
