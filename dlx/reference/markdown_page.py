"""The vocabulary as one page of Markdown: `docs/layers.md`, written by `dlx layers --markdown`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .vocabulary import LISTED, STRUCTURES, Page, families, page

HEAD = """# What a spec can name

Written from the classes themselves by `make docs`. `dlx layers` has the list, `dlx layers KIND` one entry. Shapes are
those of one sample, channels first, without the batch; one MAC is one multiply-add.
"""
SECTION = re.compile(r"^(Shapes|Cost|Errors|Source|Example): ?")


def markdown(kind: str | None = None) -> str:
    """Write the pages of all kinds of dlx, or that of `kind`. DlxError where there is none."""
    if kind is not None:
        return "\n".join(_page(page(kind))).rstrip()
    known = families(shipped=True)
    lines = [HEAD, *_contents(known)]
    for family, kinds in known.items():
        lines += [f"## {_title(family)}", ""]
        for name, _, _ in kinds:
            lines += _page(page(f"{family}.{name}" if family in LISTED else name))
    return "\n".join(lines).rstrip()


def _title(family: str) -> str:
    return family.removeprefix("layers: ")


def _contents(known: dict[str, list[tuple[str, str, str]]]) -> Iterator[str]:
    for family, kinds in known.items():
        yield f"- **{_title(family)}**: {', '.join(f'[`{name}`](#{name})' for name, _, _ in kinds)}"
    yield ""


def _page(one: Page) -> Iterator[str]:
    yield f"### {one.kind}"
    yield ""
    if one.kind in STRUCTURES:
        first, _, rest = one.text.partition("\n")
        yield from (first, "")
        yield from _with_examples(rest)
        return
    yield from _paragraphs(one.text)
    if one.fields:
        yield from ("| field | type | default | |", "|---|---|---|---|")
        for name, kind, default, about in one.fields:
            yield f"| `{name}` | {_cell(kind)} | {_cell(default)} | {_cell(about)} |"
        yield ""
    if one.example:
        yield from ("```yaml", one.example, f"# {one.numbers}", "```", "")


def _with_examples(text: str) -> Iterator[str]:
    """Yield the text of a structure after its first line, lines of a spec in fences."""
    lines = [line.removeprefix("    ") for line in text.strip("\n").split("\n")]
    inside = False
    for line in filter(None, lines):
        prose = line[0].isupper() or (not inside and not line.startswith(("-", "{", " ", "blocks:", "expect:")))
        if inside == prose:
            yield "```yaml" if not inside else "```"
            inside = not inside
            if not inside:
                yield ""
        yield line
    yield from ("```", "") if inside else ("",)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield a docstring: its sentences, then its sections as a list."""
    listed = False
    for line in text.split("\n"):
        section = SECTION.match(line)
        listed = listed or section is not None
        rest = (line[section.end() :] if section else line.strip()).replace("*", "\\*")
        yield f"- **{section[1]}**: {rest}" if section else f"  {rest}" if listed and rest else rest
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")
