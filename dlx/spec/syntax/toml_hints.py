"""Hints for text that is not TOML 1.0, by the message of Python's parser and the line that it stopped in."""

from __future__ import annotations

import re

BRACES = (
    "TOML 1.0 has braces on one line, without a comma before the `}`; lists may go on over lines, and what is longer "
    "is a table of its own: `[network]`."
)
ESCAPES = (
    'Behind \\ in double quotes stands one of b t n f r " \\ uXXXX; in single quotes \\ is a letter like others.'
)
YAML = "TOML writes `key = value`. A file of `key: value` is YAML: let its name end in .yaml."
NO_NULL = "TOML has no null: leave the key out, or write the spec in YAML."
TEXT = 'A text wants quotes: `name = "mlp"`; so does an expression: `linear = "${width}"`.'
UNCLOSED = "A quote that opens on this line is not closed."
TRUTH = "TOML writes true and false in small letters."
LINE = "A line is `key = value`, or a table `[name]`."
TWICE = "Keep one of the two."
ALONE = "Each `key = value` has a line of its own."
_WORD = re.compile(r"[^\d\s\"'\[{+-][^,\]}#\n]*")
_OF_YAML = re.compile(r"\s*[\w.\"'-]+\s*:")
_WORDS = {"null": NO_NULL, "none": NO_NULL, "nil": NO_NULL, "~": NO_NULL, "true": TRUTH, "false": TRUTH}


def way_out(message: str, text: str, index: int) -> str:
    """Return the hint for an error of Python's parser at a character of the text; empty where there is none."""
    line = text[text.rfind("\n", 0, index) + 1 :].split("\n", 1)[0]
    before, word = text[:index].rstrip(), _WORD.match(text, index)
    in_braces = before[-1:] in {"{", ","} and before.count("{") > before.count("}")
    hints = {
        "Invalid initial character for a key part": BRACES if in_braces else YAML if ":" in line else "",
        "Unclosed inline table": BRACES,
        "Unescaped '\\'": ESCAPES,
        "Illegal character '\\n'": UNCLOSED,
        "Expected '=' after a key": YAML if _OF_YAML.match(line) else LINE,
        "Invalid value": _WORDS.get(word[0].strip().lower(), TEXT) if word else "",
        "Cannot overwrite a value": TWICE,
        "Cannot declare": TWICE,
        "Expected newline or end of document": ALONE,
    }
    return next((hint for begins, hint in hints.items() if message.startswith(begins)), "")
