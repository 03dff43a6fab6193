"""Arithmetic in a spec: numbers come out, anything else is refused in a sentence."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlx.shapes import Shape
from dlx.spec.expressions import ExpressionError, evaluate

SCOPE = {"width": 64, "i": 2, "depths": [3, 4, 6], "x": Shape((16, 28, 30)), "act": "relu", "ratio": 0.5}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${4 * width}", 256),
        ("${width // 3 + 7 % 4}", 24),
        ("${2 ** 5 - 1}", 31),
        ("${-width / 128}", -0.5),
        ("${max(1, x.channels // 16)}", 1),
        ("${x.size[0] * x.size[1]}", 840),
        ("${x.size[-1]}", 30),
        ("${x.rank}", 2),
        ("${x[0]}", 16),
        ("${depths[i - 1]}", 4),
        ("${len(depths)}", 3),
        ("${2 if i > 0 else 1}", 2),
        ("${i == 2 and width != 3}", True),
        ("${not (i < 1 or i >= 3)}", True),
        ("${1 < i <= 2}", True),
        ("${round(2.6)}", 3),
        ("${round(2.567, 1)}", 2.6),
        ("${round(5, -10**15)}", 0),
        ("${ceil(width * ratio / 3)}", 11),
        ("${floor(2.9)}", 2),
        ("${act == 'relu'}", True),
        ("${[width, 2 * width]}", [64, 128]),
        ("stage_${i}", "stage_2"),
        ("${act}_${i + 1}", "relu_3"),
        ("${true}", True),
        ("${range(3)}", [0, 1, 2]),
        ("${range(i, -1, -1)}", [2, 1, 0]),
        ("${f'{width}'}", "64"),
        ("${[f'stage_{i}' for i in range(3)]}", ["stage_0", "stage_1", "stage_2"]),
        ("${[f'{act}_{j * i}' for j in depths if j > 3] + ['stem']}", ["relu_8", "relu_12", "stem"]),
        ("${[[i, j] for i in range(2) for j in depths if j != 4]}", [[0, 3], [0, 6], [1, 3], [1, 6]]),
        ("${[i for i in range(2)] + [i]}", [0, 1, 2]),
    ],
)
def test_expressions_have_values(text, value):
    got = evaluate(text, SCOPE)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("${width / 0}", "`width / 0` divides by zero"),
        ("${1 % 0}", "divides by zero"),
        ("${9 ** 9 ** 9}", "is too large a power"),
        ("${(-8) ** 0.5}", "the result is not a finite number"),
        ("${10**17 * 100}", "the result is beyond 10^18"),
        ("${1e17 * 1e300}", "the result is beyond 10^18"),
        ("${'a' * 1000}", "does not multiply two numbers"),
        ("${depths * 9}", "does not multiply two numbers"),
        ("${wdith}", "there is no variable `wdith` here"),
        ("${width.__class__}", "there is no `width.__class__`"),
        ("${().__class__.__bases__}", "there is no"),
        ("${__import__('os').system('x')}", "there is no function"),
        ("${open('x')}", "there is no function `open`"),
        ("${(lambda: 1)()}", "there is no function"),
        ("${[j for i, j in depths]}", "gives several names"),
        ("${[j for j in width]}", "`width` is no list to walk"),
        ("${[j for j in range(10**12)]}", "the result is longer than 10,000"),
        ("${len([j for j in range(9999) for k in range(9999)])}", "takes more than 10,000 turns"),
        ("${len([len([k for k in range(9999)]) for j in range(9999)])}", "takes more than 10,000 turns"),
        ("${{j for j in depths}}", "has a `${` that is not closed"),
        ("${range(10**30)}", "the result is beyond 10^18"),
        ("${range(0.5)}", "cannot be worked out"),
        ("${f'{ratio:.3f}'}", "formats a value"),
        ("${f'{depths}'}", "puts something into a word that is no word and no number"),
        ("${width := 3}", "is not arithmetic"),
        ("${depths[9]}", "asks for an item beyond the end of the list"),
        ("${depths[0:2]}", "takes a slice"),
        ("${1 +}", "`1 +` is not arithmetic"),
        ("${}", "is not arithmetic"),
        ("${'a' + 1}", "`'a' + 1` does not add two numbers"),
        ("${'%9999999999d' % 5}", "does not divide two numbers"),
        ("${max(5)}", "cannot be worked out"),
        ("${act > 1}", "`act > 1` does not compare two values of one type"),
        ("${[depths, depths, depths] + [0.5] - 1}", "does not subtract two numbers"),
        ("${width", "has a `${` that is not closed"),
        ("${" + "1+" * 400 + "1}", "an expression has at most 500 characters"),
        ("${1 << 3}", "is not arithmetic"),
    ],
)
def test_anything_but_arithmetic_is_refused(text, sentence):
    with pytest.raises(ExpressionError) as error:
        evaluate(text, SCOPE)
    assert sentence in error.value.message


def test_a_misspelt_variable_gets_a_suggestion():
    with pytest.raises(ExpressionError) as error:
        evaluate("${wdith}", SCOPE)
    assert error.value.hint == "Did you mean `width`?"


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.sampled_from(["+", "-", "*", "//", "%", "<", "=="]))
def test_arithmetic_is_pythons(a, b, op):
    if op in {"//", "%"} and b == 0:
        return
    assert evaluate(f"${{a {op} b}}", {"a": a, "b": b}) == eval(f"a {op} b", {"a": a, "b": b})  # noqa: S307


@given(st.text("0123456789+-*/%() .,[]xabc'<>=!", max_size=40))
def test_no_text_escapes_as_another_error(text):
    try:
        value = evaluate("${" + text + "}", SCOPE)
    except ExpressionError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
