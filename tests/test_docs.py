"""What the documents show is true."""

import re
from pathlib import Path
from typing import ClassVar

from pydantic import Field, PositiveInt

from dlx.layers import LAYERS, Example, Layer, Plan
from dlx.lazy import nn, torch
from dlx.shapes import Shape

ROOT = Path(__file__).parent.parent


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), re.DOTALL)


def test_the_layer_of_the_contributors_page_works():
    names = {
        "Layer": Layer,
        "Plan": Plan,
        "Example": Example,
        "Shape": Shape,
        "ClassVar": ClassVar,
        "Field": Field,
        "PositiveInt": PositiveInt,
        "nn": nn,
    }
    (code,) = blocks("CONTRIBUTING.md", "python")
    before = dict(LAYERS._classes)
    try:
        exec(code, names)  # noqa: S102 - our own page
        layer, xs, example = LAYERS["local_response_norm"].worked_example()
        assert layer.plan(*xs).shape == example.shape
        assert layer.module(*xs)(torch.ones(2, *xs[0])).shape == (2, *example.shape)
    finally:
        LAYERS._classes.clear()
        LAYERS._classes.update(before)


def test_every_command_of_the_readme_is_a_command():
    from dlx.cli import app, runs_app

    known = {c.name or c.callback.__name__ for c in app.registered_commands} | {"runs"}
    known_runs = {c.name or c.callback.__name__ for c in runs_app.registered_commands}
    for line in re.findall(
        r"^(?:\$ )?dlx (.*)$", "\n".join(blocks("README.md", "(?:sh|console|text)?")), re.MULTILINE
    ):
        words = line.split()
        assert words[0] in known, line
        if words[0] == "runs" and len(words) > 1 and words[1].isalpha():
            assert words[1] in known_runs, line


def test_every_spec_of_the_readme_is_valid(tmp_path):
    from dlx.graph import trace
    from dlx.spec import load

    specs = blocks("README.md", "yaml")
    assert specs
    for index, text in enumerate(specs):
        path = tmp_path / f"readme_{index}.yaml"
        path.write_text(text)
        trace(load(path))
