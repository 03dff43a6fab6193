"""Text that is no TOML 1.0: each common mistake, and what TOML 1.1 allows, has its place and the way out."""

import pytest

from dlx.errors import SpecError
from dlx.spec.syntax.toml_reader import parse_toml

BRACES = (
    "TOML 1.0 has braces on one line, without a comma before the `}`; lists may go on over lines, and what is longer "
    "is a table of its own: `[network]`."
)
QUOTES = 'A text wants quotes: `name = "mlp"`; so does an expression: `linear = "${width}"`.'
KEY = "is not valid TOML: Invalid initial character for a key part"
VALUE = "is not valid TOML: Invalid value"
ESCAPES = (
    'Behind \\ in double quotes stands one of b t n f r " \\ uXXXX; in single quotes \\ is a letter like others.'
)
WRONG = {
    "braces over lines, as in TOML 1.1": ("a = 1\nb = {\n  c = 2\n}", (2, 6, KEY, BRACES)),
    "a comma before the brace, as in TOML 1.1": ("a = [{linear = 4,}]", (1, 18, KEY, BRACES)),
    "an escape of TOML 1.1": ('a = "x\\e"', (1, 9, "is not valid TOML: Unescaped '\\' in a string", ESCAPES)),
    "a word without quotes": ("name = mlp", (1, 8, VALUE, QUOTES)),
    "an expression without quotes": ("a = {b = ${c}}", (1, 10, VALUE, QUOTES)),
    "null": (
        "a = {b = null}",
        (1, 10, VALUE, "TOML has no null: leave the key out, or write the spec in YAML."),
    ),
    "a truth value of Python": ("a = True", (1, 5, VALUE, "TOML writes true and false in small letters.")),
    "YAML": (
        "dlx: 1",
        (
            1,
            4,
            "is not valid TOML: Expected '=' after a key in a key/value pair",
            "TOML writes `key = value`. A file of `key: value` is YAML: let its name end in .yaml.",
        ),
    ),
    "a quote that is not closed": (
        'name = "mlp\na = 1',
        (1, 12, "is not valid TOML: Illegal character '\\n'", "A quote that opens on this line is not closed."),
    ),
    "a list that is not closed": (
        "[network]\ninputs = [4\nlayers = [1]",
        (2, 10, "is not valid TOML: the `[` that opens here is not closed", "Write `]` where it ends."),
    ),
    "a key that is there twice": (
        "a = 1\na = 2",
        (2, 6, "is not valid TOML: Cannot overwrite a value", "Keep one of the two."),
    ),
    "two keys on a line": (
        "a = 1 b = 2",
        (
            1,
            7,
            "is not valid TOML: Expected newline or end of document after a statement",
            "Each `key = value` has a line of its own.",
        ),
    ),
}


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_what_is_no_toml_has_its_place_and_the_way_out(text, told):
    with pytest.raises(SpecError) as error:
        parse_toml(text, "s.toml")
    (problem,) = error.value.problems
    assert (problem.mark.line, problem.mark.column, problem.message, problem.hint) == told
