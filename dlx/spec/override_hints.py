"""What is wrong in a text that Hydra's override grammar does not take: the commonest slips, each with its way out."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import shortened

GRAMMAR = "Overrides read `key=value`, `+key=value` (new), `~key` (drop); quote lists and spaces for the shell."
CLOSES = {"[": "]", "{": "}", "(": ")"}

COMMA = re.compile(r"(?:^|[\[{(,])\s*,|,\s*(?:$|[\]})])")
"""A comma at the beginning or end of a list, a mapping or the whole value, or two of them."""
INNERMOST = re.compile(r"\{([^{}]*)\}")
ANTLR = {
    r"(?:mismatched|extraneous) input '<EOF>'.*": "something is missing at its end",
    r"(?:mismatched|extraneous) input '(.*?)' expecting.*": "`{}` stands where nothing like it can",
    r"no viable alternative at input '(.*)'": "nothing can be made of `{}`",
    r"token recognition error at: '(.*)'": "`{}` stands where nothing like it can",
}
"""Messages of Hydra's parser in words."""


def in_words(message: str) -> str:
    """Return a message of Hydra's parser without its terms."""
    for pattern, words in ANTLR.items():
        if (found := re.fullmatch(pattern, message, re.DOTALL)) is not None:
            return words.format(*(shortened(part, 40) for part in found.groups()))
    return message


def _without_comma(key: str, value: str, unquoted: str) -> str:
    """Return the way out of a comma too many: the value without it, where no quotes are in the way."""
    if value != unquoted:
        return "Drop it, or write what is missing."
    mended = value
    while (found := COMMA.search(mended)) is not None:
        at = found[0].rindex(",") if found[0].lstrip("[{( ").startswith(",") else found[0].index(",")
        mended = mended[: found.start() + at] + mended[found.start() + at + 1 :]
    return f"Write `{key}={shortened(mended, 40)}`, or what is missing." if mended else "Write its value."


def _lacks_a_value(inner: str) -> bool:
    """Whether what stands between the braces of a mapping has a key alone."""
    flat = re.sub(r"\[[^\]]*\]|\([^)]*\)", "x", inner)
    return any(item.strip() and not item.partition(":")[2].strip() for item in flat.split(","))


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
    elif COMMA.search(unquoted):
        yield "a comma stands in its value with nothing beside it", _without_comma(key, value, unquoted)
    elif any(_lacks_a_value(inner) for inner in INNERMOST.findall(unquoted)):
        yield "its mapping has a key without a value", "Write `{key: value}`, or a list `[a, b]`."
    elif '"' in unquoted or "'" in unquoted:
        whole = re.sub("^[\"']|[\"']$", "", shortened(value, 30))
        yield "a quote in its value has no partner", f"Put the whole text into quotes: `'{key}=\"{whole}\"'`."
    elif "=" in unquoted or re.search(r"[^\w\s.,:/\\@%$?|*+\-\[\]{}()]", unquoted):
        found = re.search(r"[^\w\s.,:/\\@%$?|*+\-\[\]{}()]", unquoted)
        yield f"`{found[0] if found else '='}` stands in its value", f"Such a text wants quotes of its own: {quoted}."
