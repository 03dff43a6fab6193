"""What is wrong in a text that Hydra's override grammar does not take: the commonest slips, each with its way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import shortened

GRAMMAR = "Overrides read `key=value`, `+key=value` (new), `~key` (drop); quote lists and spaces for the shell."
CLOSES = {"[": "]", "{": "}", "(": ")"}


def slip(text: str) -> tuple[str, str] | None:
    """Return what is wrong in an override that is not in the grammar, and the way out; None where it is not known."""
    key, _, value = text.partition("=")
    return next(_of_key(key, value), None) or next(_of_value(key, value), None)


def _of_key(key: str, value: str) -> Iterator[tuple[str, str]]:
    sign, name = (key[:1], key[1:]) if key[:1] in {"+", "~"} else ("", key)
    short = shortened(value, 30)
    if name.startswith("-"):
        yield "it begins as an option does", f"A change of the spec has no dashes: `{name.lstrip('-')}={short}`."
    elif re.search(r"\s", name.strip()):
        yield "a space stands in its key", "A key is words with dots between them: `train.batch_size=64`."
    elif name != name.strip():
        yield "spaces stand about its `=`", f"Write `{sign}{name.strip()}={short.strip()}`."
    elif ":" in name:
        before, _, rest = name.partition(":")
        yield f"`:` stands behind `{before}`", f"Between key and value stands `=`: `{sign}{before}={rest or short}`."
    elif "[" in name:
        dotted = re.sub(r"\[([^\]]*)\]", r".\1", name)
        yield "brackets stand in its key", f"Items of a list count from 0, behind a dot: `{sign}{dotted}={short}`."
    elif re.search(r"\.-\d", name):
        yield "an item has a number below 0", "Items of a list count from 0, layers have names too."
    elif "/" in name and "." in name:
        yield from _of_slash(sign, name, short)
    elif value.startswith("="):
        yield "it has two `=`", f"One is enough: `{key}={short.lstrip('=')}`."


def _of_slash(sign: str, name: str, value: str) -> Iterator[tuple[str, str]]:
    """Yield the mistake of `expect.test/error=0.1`, and of `network.layers.stem/conv_1.kernel_size=5`."""
    what, dotted = "a `/` and a dot stand in one key", f"{sign}{name.replace('/', '.')}{f'={value}' if value else ''}"
    above, _, slashed = name.partition("/")[0].rpartition(".")
    slashed += name[name.index("/") :]
    if re.match(r"networks?\.", name) or not above or sign == "~":
        yield what, f"What is inside another is reached by dots: `{dotted}`."
    else:
        yield what, f"Set the mapping around it whole: `{sign}{above}={{{slashed}: {value}}}`."


def _of_value(key: str, value: str) -> Iterator[tuple[str, str]]:
    unquoted = re.sub(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", "", value)
    quoted = f"`'{key}=\"{shortened(value, 30)}\"'`"
    for opening, closing in CLOSES.items():
        if unquoted.count(opening) > unquoted.count(closing):
            yield (
                f"the `{opening}` in its value is not closed",
                f"Write `{closing}` where it ends; the shell wants quotes about it all.",
            )
    if value.startswith("("):
        yield "a list stands in round brackets", f"Write `{key}=[{shortened(value.strip('()'), 30)}]`."
    elif re.search(r"\{\s*[\"']|,\s*[\"'][^\"']*[\"']\s*:", value):
        yield "a key of its mapping stands in quotes", "Keys of a mapping have none: `{test/error: 0.1}`."
    elif re.search(r"\{[^:{}]*=", unquoted):
        yield "`=` stands in its mapping", f"Write `:` in it: `{key}={shortened(value.replace('=', ': '), 40)}`."
    elif re.fullmatch(r"\{[^:{}]*\}", unquoted):
        yield "its mapping has a key without a value", "Write `{key: value}`, or a list `[a, b]`."
    elif '"' in unquoted or "'" in unquoted:
        whole = re.sub("^[\"']|[\"']$", "", shortened(value, 30))
        yield "a quote in its value has no partner", f"Put the whole text into quotes: `'{key}=\"{whole}\"'`."
    elif "=" in unquoted or re.search(r"[^\w\s.,:/\\@%$?|*+\-\[\]{}()]", unquoted):
        found = re.search(r"[^\w\s.,:/\\@%$?|*+\-\[\]{}()]", unquoted)
        yield f"`{found[0] if found else '='}` stands in its value", f"Such a text wants quotes of its own: {quoted}."
