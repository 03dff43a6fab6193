"""Specs that hypothesis makes up: every structure inside every other, all of them valid."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

BLOCKS = {
    "unit": {
        "args": {"width": "${base}", "kernel": 3},
        "layers": [
            {"conv": {"out_channels": "${width}", "kernel_size": "${kernel}", "padding": "same"}},
            "batch_norm",
            "relu",
        ],
    },
    "nest": {
        "args": {"depth": 1},
        "layers": [
            {"nest": "${depth - 1}", "when": "${depth > 0}"},
            {"residual": {"layers": [{"unit": "${x.channels}"}]}},
        ],
    },
}


def conv(width: int | str) -> st.SearchStrategy[Any]:
    options = {"out_channels": st.just(width), "kernel_size": st.sampled_from([1, 2, 3]), "bias": st.booleans()}
    return st.fixed_dictionaries({"conv": st.fixed_dictionaries({**options, "padding": st.just("same")})})


KEEPING = st.one_of(
    st.sampled_from(
        ["relu", "batch_norm", "tanh", "identity", {"dropout": 0.25}, {"leaky_relu": {"negative_slope": 1e-3}}]
    ),
    conv("${x.channels}"),
    st.builds(lambda k: {"unit": {"kernel": k, "width": "${x.channels}"}}, st.sampled_from([1, 3])),
    st.builds(lambda n: {"nest": n}, st.integers(0, 2)),
)
"""Entries that leave the shape as it was."""
CHANGING = st.one_of(conv(3), conv("${base}"), st.just("unit"), st.builds(lambda n: {"unit": n}, st.integers(1, 4)))


def structures(entries: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """One structure around a few entries."""
    layers, some = st.lists(entries, max_size=3), st.lists(entries, min_size=1, max_size=2)
    keeping = st.lists(KEEPING, max_size=3)
    return st.one_of(
        st.builds(lambda ls: {"residual": {"layers": ls, "merge": "concat"}}, some),
        st.builds(lambda a, b: {"residual": {"layers": a, "shortcut": b, "after": "relu"}}, keeping, keeping),
        st.builds(lambda a: {"residual": {"layers": a, "merge": "multiply"}}, keeping),
        st.builds(lambda a, b: {"parallel": {"branches": [a, b], "after": ["tanh"]}}, layers, some),
        st.builds(lambda n, ls: {"repeat": {"times": n, "layers": ls}}, st.integers(0, 2), some),
        st.builds(
            lambda ls, last: {
                "repeat": {"times": 2, "index": "j", "layers": [*ls, {"layers": last, "when": "${j > 0}"}]}
            },
            keeping,
            some,
        ),
        st.builds(
            lambda ws: {"for": {"w": ws}, "layers": [{"unit": "${w}"}, "relu"]},
            st.lists(st.integers(1, 4), min_size=1),
        ),
        st.builds(lambda ls: {"layers": ls}, layers),
    )


def named(entries: list[Any]) -> list[Any]:
    """Every second entry at the top gets a name; the last ones look back at the first and share it."""
    long = [{entry: {}} if isinstance(entry, str) else entry for entry in entries]
    out = [{**entry, "name": f"top_{index}"} if index % 2 == 0 else entry for index, entry in enumerate(long)]
    if out:
        out += [{"share": "top_0", "from": "input"}, {"concat": {}, "from": ["prev", "top_0", "image"]}]
    return out


ENTRIES = st.recursive(st.one_of(KEEPING, CHANGING), structures, max_leaves=4)
LAYERS = st.lists(ENTRIES, min_size=1, max_size=5).map(named)
SPECS = st.fixed_dictionaries(
    {
        "dlx": st.just(1),
        "name": st.sampled_from(["made-up", "no", "1e3", "0x10", "a.b_c"]),
        "source": st.sampled_from(["", "a: b # c", "yes", "- 1", "tab\tand \"quotes\" and 'more'", "é ${not one"]),
        "vars": st.fixed_dictionaries({"base": st.integers(1, 3)}),
        "blocks": st.just(BLOCKS),
        "network": st.fixed_dictionaries({"inputs": st.just({"image": [2, 6]}), "layers": LAYERS}),
        "init": st.sampled_from(["he_normal", {"he_uniform": {"mode": "fan_out"}}]),
    }
)


def as_toml(spec: dict[str, Any]) -> str:
    """A spec as TOML, each section on one line."""
    return "".join(f"{key} = {inline(value)}\n" for key, value in spec.items())


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
