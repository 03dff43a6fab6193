"""docs/spec.md, run: every spec, fragment, command and table of it.

After a change that is meant, write the outputs anew and read the difference:
DLX_WRITE_GOLDEN=1 python -m pytest tests/test_spec_page.py && git diff docs/spec.md
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from dlx import cli
from dlx.claims import verify
from dlx.errors import SpecError
from dlx.graph import trace
from dlx.graph.expansion.entries import STRUCTURES
from dlx.layers import LAYERS
from dlx.spec import load

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "spec.md"
TEXT = PAGE.read_text()
WRITE = bool(os.environ.get("DLX_WRITE_GOLDEN"))
FILE = re.compile(r"# ([\w/]+\.(?:yaml|toml|py|csv))\n")
COMMAND = re.compile(r"(?m)^\$ dlx ")
CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Fence:
    """What stands between two lines of three backticks."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str:
        """The file that the first line names; empty for a fragment."""
        named = FILE.match(self.text)
        return named[1] if named and self.language in {"yaml", "toml", "python", "csv"} else ""

    @property
    def content(self) -> str:
        """What stands in the file; a table has no comments."""
        return self.text.partition("\n")[2] if self.language == "csv" else self.text

    @property
    def is_whole(self) -> bool:
        return re.search(r"(?m)^dlx\b", self.text) is not None


FENCES = [
    Fence(found[1], found[2], TEXT[: found.start()].count("\n") + 1)
    for found in re.finditer(r"(?ms)^```([^\n]*)\n(.*?)^```$", TEXT)
]
FILES = [fence for fence in FENCES if fence.file]
WHOLE = [fence for fence in FILES if fence.is_whole]
PARTS = [fence for fence in FILES if not fence.is_whole and fence.language not in {"python", "csv"}]
FRAGMENTS = [fence for fence in FENCES if fence.language in {"yaml", "toml"} and not fence.file]
CONSOLES = [fence for fence in FENCES if fence.language == "console"]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading, without its first two lines."""
    section = TEXT.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


BLOCKS = set(re.findall(r"(?m)^  (\w+):\n    (?:args|layers):", TEXT))
UNREAL = {"Conv2d", "group"}
"""What the page writes as an entry and is none: a mistake, and the `- group: option` of `defaults`."""
RECIPES, MISTAKES = rows("How do I write ..."), rows("Mistakes")


def at_line(fence: Fence) -> str:
    return fence.file or f"line {fence.line}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file of the page, side by side."""
    where = tmp_path_factory.mktemp("page")
    for fence in FILES:
        path = where / fence.file
        path.parent.mkdir(exist_ok=True)
        path.write_text(fence.content)
    return where


def framed(folder: Path, layers: str, inputs: str) -> Path:
    """A spec of `layers`, a list in YAML, in a file."""
    path = folder / "framed.yaml"
    path.write_text(f"network:\n  inputs: {inputs}\n  layers:\n{re.sub('(?m)^', '    ', layers)}\n")
    return path


def printed(command: str) -> tuple[str, int]:
    """What a command writes to both of its streams, and its exit status."""
    output = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), redirect_stderr(output):
        patch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as end:
            cli.main()
    return output.getvalue(), int(end.value.code or 0)


def rewritten(old: str, new: str) -> None:
    """The page with `new` in place of the one `old`."""
    text = PAGE.read_text()
    assert text.count(old) == 1, old
    PAGE.write_text(text.replace(old, new))


# --- fences ---------------------------------------------------------------------------------------------------------


def test_nothing_between_backticks_escapes_being_run():
    marks = [line for line in TEXT.splitlines() if line.lstrip().startswith(("```", "~~~"))]
    assert len(marks) == 2 * len(FENCES)
    assert {fence.language for fence in FENCES} <= {"yaml", "toml", "console", "python", "csv"}
    assert len(FILES) + len(FRAGMENTS) + len(CONSOLES) == len(FENCES)
    assert all(fence.text.startswith("$ dlx ") for fence in CONSOLES)
    assert len({fence.file for fence in FILES}) == len(FILES)
    assert not [fence.line for fence in FRAGMENTS if "dlx: 1" in fence.text or "network:" in fence.text]


@pytest.mark.parametrize("fence", WHOLE, ids=at_line)
def test_a_spec_of_the_page_can_be_run_and_keeps_its_claims(folder, fence):
    (verified,) = verify.verify([folder / fence.file])

    assert list(verified.graphs.nodes())
    assert not verified.graphs.warnings
    assert [r.claim.title for r in verified.receipts if r.verdict == "FAILS"] == []
    assert len(verified.receipts) >= ("expect" in fence.text)


@pytest.mark.parametrize("part", PARTS, ids=at_line)
def test_a_part_belongs_to_a_spec_of_the_page(part):
    *group, name = part.file.removesuffix(".yaml").split("/")
    entry = f"- {'/'.join(group)}: {name}" if group else f"- {name}"
    assert any(re.search(rf"(?m)^ *{re.escape(entry)}\b", fence.text) for fence in WHOLE)


@pytest.mark.parametrize("fence", FRAGMENTS, ids=at_line)
def test_a_fragment_of_the_page_is_a_list_of_layers(folder, fence):
    graph = trace(load(framed(folder, fence.text, "[16, 32, 32]")))

    assert len(graph.nodes) >= len(re.findall(r"(?m)^- ", fence.text))


@pytest.mark.parametrize("fence", CONSOLES, ids=at_line)
def test_a_command_of_the_page_prints_what_stands_below_it(folder, fence, monkeypatch):
    monkeypatch.chdir(folder)
    now = []
    for part in COMMAND.split(fence.text)[1:]:
        command, _, shown = part.partition("\n")
        output, status = printed(f"dlx {command}")
        if WRITE and "..." not in shown:
            shown = output
        lines = [
            ".*" if line == "..." else re.escape(line).replace(r"\.\.\.", "[^\n]*") for line in shown.splitlines()
        ]
        assert re.fullmatch("\n".join(lines), output.rstrip("\n"), re.DOTALL), output
        assert status == 0 or "..." not in shown
        now.append(f"$ dlx {command}\n{shown}")
    if WRITE and "".join(now) != fence.text:
        rewritten(f"```console\n{fence.text}```", f"```console\n{''.join(now)}```")


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", RECIPES, ids=lambda row: row[0])
def test_a_recipe_gives_the_shape_and_the_parameters_beside_it(folder, row):
    _, lines, gives = row
    came, _, result = gives.rpartition(" -> ")
    spec = framed(folder, "\n".join(CODE.findall(lines)), f"[{came.replace('x', ', ') or '16, 32, 32'}]")
    graph = trace(load(spec))

    assert CODE.sub("", lines).strip() == ""
    assert f"{'x'.join(map(str, graph.output_shape()))}, {graph.params:,}" == result


@pytest.mark.parametrize("row", MISTAKES, ids=lambda row: row[0])
def test_a_mistake_is_reported_in_the_words_beside_it(folder, row):
    lines, expected = row
    with pytest.raises(SpecError) as error:
        trace(load(framed(folder, "\n".join(CODE.findall(lines)), "[3, 32, 32]")))
    sentences = [f"{problem.message.rstrip('.')}. {problem.hint}" for problem in error.value.problems]
    said = re.sub(r" \(line \d+\)|, on line \d+", "", " ".join(sentences)).strip()
    if WRITE and said != expected:
        rewritten(f"| {lines} | {expected}{' ' if expected else ''}|", f"| {lines} | {said} |")
    else:
        assert said == expected


# --- words ----------------------------------------------------------------------------------------------------------


def prose() -> str:
    return re.sub(r"(?ms)^```.*?^```$", "", TEXT)


def test_the_page_names_only_commands_and_kinds_that_there_are():
    for code in CODE.findall(prose()):
        words = code.split()
        if words[0] == "dlx" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in cli.COMMANDS, code
            if words[1] == "layers" and len(words) > 2 and words[2].islower():
                assert printed(code)[1] == 0, code
        kind = re.fullmatch(r"- (\w+)\b.*", code)
        assert not kind or kind[1] in {*LAYERS, *STRUCTURES, *BLOCKS, *UNREAL}, code


def test_the_links_of_the_page_lead_somewhere():
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in re.findall(r"(?m)^##+ (.*)$", TEXT)
    }
    for target in re.findall(r"\]\(([^)]+)\)", prose()):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("https://"):
            assert (PAGE.parent / target).exists(), target
