"""What a layer tells of its arithmetic is true, and is the plan's."""

from fractions import Fraction
from math import prod

import pytest

from dlx.layers import LAYERS, Plan
from dlx.layers.arithmetic import Line, default_lines, evaluated, line, of_macs, of_weights, summed
from dlx.shapes import Shape, Window

MORE = [
    ("adaptive_max_pool", {"output_size": [None, 3]}, [(2, 7, 9)]),
    ("add", {}, [(4, 5, 5), (4, 1, 5)]),
    ("avg_pool", {"kernel_size": 3, "stride": 2, "ceil_mode": True}, [(2, 8)]),
    ("concat", {"dim": 2}, [(2, 3, 5), (2, 4, 5), (2, 4, 5)]),
    ("conv", {"out_channels": 4, "kernel_size": 3, "stride": 2, "dilation": 2, "groups": 2}, [(4, 20)]),
    ("conv", {"out_channels": 4, "kernel_size": [4, 3], "padding": "same", "bias": False}, [(2, 9, 9)]),
    ("conv", {"out_channels": 2, "kernel_size": [3, 2, 1], "stride": [1, 2, 3]}, [(2, 7, 8, 9)]),
    ("conv_transpose", {"out_channels": 4, "kernel_size": [3, 2], "stride": 3, "groups": 2}, [(4, 5, 6)]),
    ("flatten", {"start_dim": 2, "end_dim": 3}, [(2, 3, 4, 5)]),
    ("glu", {"dim": -1}, [(2, 3, 4)]),
    ("linear", {"out_features": 3}, [(7,)]),
    ("linear", {"out_features": 3, "bias": False}, [(2, 4, 5)]),
    ("max_pool", {"kernel_size": 2, "stride": 3, "ceil_mode": True, "padding": 1}, [(2, 6, 7)]),
    ("max_pool", {"kernel_size": 1, "stride": 2, "ceil_mode": True}, [(2, 6)]),
    ("matmul", {}, [(5, 4), (4, 6)]),
    ("multihead_attention", {"num_heads": 2}, [(3, 5, 4), (3, 7, 6)]),
    ("reshape", {"shape": [2, -1, 3]}, [(4, 6)]),
    ("upsample", {"size": [3, 4]}, [(2, 5, 5)]),
]
UNTOLD = [("fractional_max_pool", {"kernel_size": 2, "output_size": 1}, [(2, 5, 5)])]
"""Layers that do not tell every axis: a single window has no pace."""
PRODUCTS = {"matmul", "multihead_attention"}
ALL = [(kind, LAYERS[kind].example.options, LAYERS[kind].example.inputs) for kind in sorted(LAYERS)] + MORE + UNTOLD


def derived(kind, options, inputs):
    """The plan of a layer, and its lines."""
    layer = LAYERS[kind].model_validate(options)
    example = LAYERS[kind].example
    xs = example.shapes() if inputs == example.inputs else [Shape(x, example.dtypes[0]) for x in inputs]
    plan = layer.plan(*xs)
    return plan, list(layer.derivation(plan, *xs))


@pytest.mark.parametrize(("kind", "options", "inputs"), ALL)
def test_every_equation_is_true_and_gives_the_figure_of_the_plan(kind, options, inputs):
    plan, lines = derived(kind, options, inputs)

    for each in lines:
        assert not each.numbers or evaluated(each.expression) == each.value, each
        if each.part == "output":
            assert each.axes
            assert each.value is None or {plan.shape[k] for k in each.axes} == {each.value}, each
        elif each.part == "parameters":
            assert each.value == prod(plan.weights[each.what]), each
    macs = [each for each in lines if each.part == "multiply-adds"]
    assert not macs or macs[-1].value == plan.macs


@pytest.mark.parametrize(("kind", "options", "inputs"), [case for case in MORE if case[0] not in PRODUCTS])
def test_layers_of_the_textbooks_tell_every_axis_of_their_output(kind, options, inputs):
    plan, lines = derived(kind, options, inputs)

    assert sorted(k for each in lines for k in each.axes) == list(range(len(plan.shape)))


def said(kind, options, inputs, axis=1):
    _, lines = derived(kind, options, inputs)
    (found,) = [each for each in lines if axis in each.axes and each.part == "output"]
    return f"{found.formula}: {found.numbers} -> {found.value}"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            ("conv", {"out_channels": 64, "kernel_size": 7, "stride": 2, "padding": 3}, [(3, 224, 224)]),
            "floor((size + before + after - kernel) / stride + 1): floor((224 + 3 + 3 - 7) / 2 + 1) -> 112",
        ),
        (
            ("conv", {"out_channels": 6, "kernel_size": 5}, [(3, 32, 32)]),
            "floor((size - kernel) / stride + 1): floor((32 - 5) / 1 + 1) -> 28",
        ),
        (
            ("conv", {"out_channels": 6, "kernel_size": 3, "dilation": 2, "padding": "same"}, [(3, 9)]),
            (
                "floor((size + before + after - dilation * (kernel - 1) - 1) / stride + 1): "
                "floor((9 + 2 + 2 - 2 * (3 - 1) - 1) / 1 + 1) -> 9"
            ),
        ),
        (
            ("max_pool", {"kernel_size": 1, "stride": 2, "ceil_mode": True}, [(2, 6)]),
            "ceil((size - kernel) / stride + 1) - 1: ceil((6 - 1) / 2 + 1) - 1 -> 3",
        ),
        (
            ("conv_transpose", {"out_channels": 4, "kernel_size": 4, "stride": 2, "padding": 1}, [(4, 7)]),
            (
                "(size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1: "
                "(7 - 1) * 2 - 2 * 1 + 1 * (4 - 1) + 0 + 1 -> 14"
            ),
        ),
        (("multiply", {}, [(4, 5, 5), (4, 1, 1)]), "the larger: a 1 stretches: max(5, 1) -> 5"),
        (("upsample", {"scale_factor": 1.5}, [(4, 5)]), "floor(size * scale_factor): floor(5 * 3/2) -> 7"),
    ],
)
def test_the_formula_and_its_numbers_stand_term_for_term(written, sentence):
    assert said(*written) == sentence


def test_flatten_multiplies_the_axes_that_it_lays_flat():
    assert said("flatten", {}, [(64, 7, 7)], axis=0) == "channels * height * width: 64 * 7 * 7 -> 3136"


def test_groups_divide_the_channels_that_a_filter_sees():
    _, lines = derived("conv", {"out_channels": 128, "kernel_size": 3, "groups": 32}, [(128, 56, 56)])
    (weight,) = [each for each in lines if each.what == "weight"]

    assert weight.formula == "kernel * kernel * channels / groups * out_channels"
    assert (weight.numbers, weight.value) == ("3 * 3 * 128 / 32 * 128", 4608)


def test_units_and_grouped_digits_are_no_part_of_the_arithmetic():
    assert Line(numbers="9,408 weights * 112 * 112 positions of the input").expression == "9408 * 112 * 112"
    assert Line(numbers="max(1,000, 2) + 1,234,567 of the others").expression == "max(1000, 2) + 1234567"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("(224 + 3 + 3 - 7) / 2 + 1", Fraction(225, 2)),
        ("floor(7 / 2) + ceil(7 / 2)", 7),
        ("-3 - 1 * 2", -5),
        ("1 * 1/3 * 3", 1),
        ("max(10, 6) - min(-9, -5)", 19),
        ("1000000000000000001 * 3", 3000000000000000003),
    ],
)
def test_arithmetic_is_exact(text, value):
    assert evaluated(text) == value


@pytest.mark.parametrize("text", ["size + 1", "2 ** 3", "open(1)", "1.5", "True", "[1]"])
def test_what_is_not_plain_arithmetic_is_refused(text):
    with pytest.raises(ValueError, match="is not plain arithmetic"):
        evaluated(text)


def test_a_list_fills_its_name_from_left_to_right():
    made = line("kernel * kernel * channels", {"kernel": [7, 5], "channels": 3})

    assert (made.numbers, made.value) == ("7 * 5 * 3", 105)


def test_a_sum_of_many_terms_is_cut_and_stays_true():
    text = summed(range(100))

    assert text == "0 + 1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 4,884 of the others"
    assert evaluated(Line(numbers=text).expression) == sum(range(100))


# --- what follows from the plan alone -------------------------------------------------------------------------------


def test_a_window_that_does_not_explain_the_size_is_not_made_to():
    window = Window.over(1, kernel=3)

    assert [each.axes for each in default_lines(Plan(Shape((4, 9)), window=window), [Shape((4, 9))])] == [(0,)]


def test_a_layer_that_makes_another_shape_by_a_way_of_its_own_says_nothing():
    assert default_lines(Plan(Shape((7, 2))), [Shape((4, 9))]) == []


def test_multiply_adds_that_are_not_weights_times_positions_are_not_made_to_be():
    plan = Plan(Shape((4, 9)), weights={"weight": (4, 4)}, macs=4 * 4 * 9 + 1)

    assert of_macs(plan, [Shape((4, 9))]) is None
    assert of_macs(Plan(Shape((4, 9)), macs=36), [Shape((4, 9))]) is None


def test_a_weight_and_a_bias_of_one_shape_are_a_scale_and_a_shift():
    both = of_weights(Plan(Shape((4,)), weights={"weight": (4,), "bias": (4,)}))
    not_both = of_weights(Plan(Shape((4,)), weights={"weight": (4, 2), "bias": (4,)}))

    assert [each.note for each in both] == ["the scale", "the shift"]
    assert [each.note for each in not_both] == ["", ""]


def test_a_number_without_axes_is_one_value():
    (only,) = of_weights(Plan(Shape((4,)), weights={"gain": ()}))

    assert (only.numbers, only.value) == ("1", 1)


def test_entries_of_the_docstring_are_read_on_one_line():
    conv = LAYERS["conv"]

    assert conv.entry("Source") == (
        'Dumoulin & Visin 2016, arXiv:1603.07285, section 2.4; for "causal" arXiv:1609.03499, section 2.1.'
    )
    assert conv.entry("Cost") == "one MAC per weight and output position; adding the bias is not counted."
    assert conv.entry("Shapes").startswith("(C, *size) -> (out_channels, *size') with size' = (size + 2*padding")


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_every_layer_has_the_entries_that_a_page_shows(kind):
    assert all(LAYERS[kind].entry(name) for name in ("Shapes", "Cost", "Source"))
