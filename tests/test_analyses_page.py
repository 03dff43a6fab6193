"""docs/analyses.md and the examples of the kinds: each command names a kind, its options and a spec that it fits."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from dlx.analysis import analyze, fitting
from dlx.analysis.subject import of_spec
from dlx.spec import load
from dlx.spec.analyses import ANALYSES

TEXT = (Path(__file__).parent.parent / "docs" / "analyses.md").read_text()
FENCES = re.findall(r"(?ms)^```\w*\n(.*?)^```$", TEXT)
LINES = [line for fence in FENCES for line in fence.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("dlx analyze ")]
EXAMPLES = [ANALYSES[kind].example for kind in ANALYSES if ANALYSES[kind].__module__.startswith("dlx.")]
FILES = (".svg", ".png", ".pdf", ".csv", ".json")


def parts_of(command: str) -> tuple[str, list[str], list[str], list[str]]:
    """The kind, what is looked at, the overrides and the options of a command."""
    words = shlex.split(command)
    assert words[:2] == ["dlx", "analyze"], command
    options, places = list[str](), list[str]()
    rest = iter(words[3:])
    for word in rest:
        if word == "--set":
            options.append(next(rest))
        elif word == "--out":
            assert next(rest).endswith(FILES), command
        else:
            assert not word.startswith("-"), command
            places.append(word)
    return words[2], [p for p in places if "=" not in p], [p for p in places if "=" in p], options


def kind_of(command: str) -> str:
    """The kind that a command asks for, by itself or by the name that the spec has for it."""
    word, places, overrides, _ = parts_of(command)
    if word in ANALYSES or not analyze.is_spec(places[0]):
        return word
    return type(load(Path(places[0]), overrides).analyses[word]).kind


def test_fences_are_closed_and_hold_commands():
    assert len(re.findall(r"(?m)^```", TEXT)) == 2 * len(FENCES)
    assert all(line.startswith(("dlx analyze ", "dlx train ")) for line in LINES)


def test_each_kind_has_one_heading_and_a_command_below_it():
    sections = re.split(r"(?m)^### ", TEXT)[1:]
    names = [section.partition("\n")[0] for section in sections]

    assert len(set(names)) == len(names)
    for name, section in zip(names, sections, strict=True):
        kinds = {kind_of(line) for line in section.splitlines() if line.startswith("dlx analyze ")}
        assert name in kinds, f"{name}: no command"
        assert len(section.split()) > 40, f"{name}: what it shows, and what the book says that it should show"


@pytest.mark.parametrize("command", sorted({*COMMANDS, *EXAMPLES}))
def test_a_command_names_options_that_there_are_and_a_spec_that_the_kind_fits(command):
    word, places, overrides, options = parts_of(command)
    assert places, "it names nothing to look at"
    if not analyze.is_spec(places[0]):
        analyze.with_options(word, options)
        folder = places[0].rpartition("/")[0]
        assert not folder or folder.startswith("runs/"), "neither a spec that dlx ships nor a run"
        return  # a run, which is somebody's own
    subject = of_spec(load(Path(places[0]), overrides))
    _, made = analyze.chosen(word, options, subject)
    assert [problem.message for problem in fitting.problems_of(made, subject)] == []
