"""Specs with one random mistake, planned as `dlx inspect` does: what is accepted, and where the rest is told.

`make mutations` tries 5,000 of all shipped specs, their parts, and the specs of the documents, and prints the rates;
with MUTATIONS="--count 500 --seed 3 --show accepted" it shows those that were accepted although surely wrong.

What is left of 5,000 (seed 20261130), read one by one: 98.5 % of what is told is at the mistake or at both places.

Told elsewhere, 67: a line deleted, where what it gave is missed (30); YAML or TOML that goes on without its line,
comma or indentation, where it no longer can (17); a wrong value of a variable or of a list of them, where a layer
uses it (9); two values exchanged, at the layer that they do not fit (7); a layer doubled, at the next that it does
not fit (4).

Accepted, 539: a comma, quote, colon or bracket of prose (139); an exact claim, or one on a training or an analysis,
that holds no longer, which `dlx verify` tells (87); a `name`, `source` or `dlx` deleted, which have defaults (65);
a claim deleted (59); a layer or option deleted that nothing depends on (57); a number (43), two values (44) or a
null (5) in their places that make a spec as good as any, such as another rate, width or class, and no claim is
about it; a claim (18) or layer (16) doubled: since then equal claims, and `relu` and `flatten` that change nothing,
are told; lists that words or other numbers make without a comma (4); a figure that an analysis has not (2), told
since then too.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from pathlib import Path

from fuzzing import TooSlowError, limited
from mutated_tokens import SURE, Token, misspelt, tokens

from dlx import graph
from dlx.analysis import spec_checks
from dlx.errors import DlxError, Problem
from dlx.graph import initial_weights
from dlx.runs import lookup
from dlx.spec import load
from dlx.spec.syntax.read import Node, parsed

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"(?ms)^```(?:yaml|toml|python|csv)\n(# ([\w/-]+\.(?:yaml|toml|py|csv))\n.*?)^```$")
SECONDS = 20.0
LARGEST = 20_000
"""Characters of the largest spec that is mutated."""
SORTS = (
    *(f"misspelt {sort}" for sort in SURE),
    *("a name that is not there", "wrong type", "wrong number", "swapped", "dropped quote", "dropped colon"),
    *("dropped comma", "dropped bracket", "indentation", "line deleted", "line doubled"),
)
"""The sorts of mistakes; each comes about equally often."""
SURELY_WRONG = {*(f"misspelt {sort}" for sort in SURE), "a name that is not there"}
MARKS = {"quote": "[\"']", "colon": ":(?= )", "comma": ",", "bracket": r"[{}\[\]]"}
OUTCOMES = ("accepted", "warned", "by a claim", "its line", "both places", "elsewhere", "traceback")


@dataclass(frozen=True)
class Source:
    """A file that is mutated, and the spec that it is part of or is itself, which has these of its lines."""

    file: Path
    spec: Path
    live: frozenset[int] | None = None


@dataclass(frozen=True)
class Mutation:
    """A text with one mistake. `lines` are those of the mistake: the changed ones and those that it leaves unfit."""

    sort: str
    text: str
    lines: frozenset[int]
    what: str


@dataclass(frozen=True)
class Case:
    """A mutation of a source with what came of it."""

    source: Source
    mutation: Mutation
    outcome: str
    said: str

    def __str__(self) -> str:
        lines = ", ".join(map(str, sorted(self.mutation.lines)))
        return f"{self.source.file.name}:{lines}  {self.mutation.sort}: {self.mutation.what}\n    {self.said}"


@dataclass
class Report:
    """What came of many mutations."""

    cases: list[Case] = field(default_factory=list)

    def counted(self) -> dict[str, Counter[str]]:
        """Return how many of each sort had which outcome."""
        found: dict[str, Counter[str]] = {sort: Counter() for sort in SORTS}
        for case in self.cases:
            found[case.mutation.sort][case.outcome] += 1
        return found

    def of(self, outcome: str, sorts: set[str] | None = None) -> list[Case]:
        return [one for one in self.cases if one.outcome == outcome and (sorts is None or one.mutation.sort in sorts)]

    @property
    def told_at_its_place(self) -> float:
        """The share of those that are errors which are told at the mistake, or at both places involved."""
        told = Counter(case.outcome for case in self.cases)
        wrong = sum(told[one] for one in ("its line", "both places", "elsewhere", "traceback"))
        return (told["its line"] + told["both places"]) / max(wrong, 1)

    def table(self) -> str:
        rows = [("", *OUTCOMES)]
        for sort, count in self.counted().items():
            rows.append((sort, *(str(count[one] or "") for one in OUTCOMES)))
        total = Counter(case.outcome for case in self.cases)
        rows.append((f"{len(self.cases)} in all", *(str(total[one]) for one in OUTCOMES)))
        silent = len(self.of("accepted", SURELY_WRONG))
        return "\n".join(
            [
                *(f"{row[0]:<26}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows),
                f"accepted in silence though surely wrong: {silent}",
                f"told at its line or at both places, of those that are told: {self.told_at_its_place:.1%}",
            ]
        )


# --- sources --------------------------------------------------------------------------------------------------------


def copied(folder: Path) -> None:
    """Put the shipped specs and the files of the documents into a folder, where they are mutated in place."""
    shutil.copytree(ROOT / "specs", folder / "specs")
    for page in sorted((ROOT / "docs").glob("*.md")):
        for found in FENCE.finditer(page.read_text()):
            text, name = found[1], found[2]
            path = folder / page.stem / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.partition("\n")[2] if name.endswith(".csv") else text)


def specs_in(folder: Path) -> list[Path]:
    """Return the whole specs, without the options of config groups."""
    found = sorted(chain(folder.rglob("*.yaml"), folder.rglob("*.toml")))
    return [path for path in found if re.search(r"(?m)^dlx\b", text := path.read_text()) and len(text) < LARGEST]


def sources_of(specs: Sequence[Path]) -> list[Source]:
    """Return the specs that can be planned here, and the files that their `defaults` name, each once."""
    found = {spec: Source(spec, spec) for spec in specs if planned(spec) is not None}
    for spec in list(found):
        lines: dict[Path, set[int]] = {}
        for node in load(spec).written.walk():
            lines.setdefault(Path(node.mark.file), set()).add(node.mark.line)
        for file, live in lines.items():
            if file.is_file():
                found.setdefault(file, Source(file, spec, frozenset(live)))
    return list(found.values())


@cache
def planned(spec: Path) -> frozenset[str] | None:
    """Return what is said of a spec as it is written; None where it cannot be planned here."""
    try:
        problems, warned = plan(spec)
    except DlxError:
        return None
    return None if problems else frozenset(one.message for one in warned)


def plan(spec: Path) -> tuple[list[Problem], list[Problem]]:
    """Plan a spec as `dlx inspect` does; return claims that do not hold, and warnings. SpecError for its mistakes."""
    loaded = load(spec)
    if loaded.networks or loaded.weights is not None:
        loaded = lookup.with_source(loaded, spec.parent / "runs")
    experiment, traced = graph.traced(loaded)
    spec_checks.check(loaded, traced)
    if experiment.weights is not None:
        initial_weights.inspected(experiment, traced)
    graph.stage_plans(experiment, traced)
    return list(graph.unmet(experiment, traced)), list(traced.warnings)


# --- mutations ------------------------------------------------------------------------------------------------------


def mutation(
    sort: str, text: str, root: Node, rng: random.Random, live: frozenset[int] | None = None
) -> Mutation | None:
    """Return a text with one mistake of a sort; None where it has no place for one.

    `live` are the lines whose words are mutated, where it is not all.
    """
    known = [one for one in tokens(root, text) if live is None or one.line in live]
    made = _mutation(sort, text, known, rng)
    return None if made is None or made.text == text else made


def _mutation(sort: str, text: str, known: list[Token], rng: random.Random) -> Mutation | None:
    first, _, rest = sort.partition(" ")
    used = [one for one in known if one.sort == rest and one.is_use]
    names = [one for one in known if one.sort == "name" and one.is_use]
    numbers = [one for one in known if one.sort == "number"]
    values = [one for one in known if one.sort in {"kind", "word"} and not one.is_key]
    words = {one.word for one in known}
    changed: dict[str, tuple[list[Token], Callable[[Token], str | None]]] = {
        "misspelt": (used, lambda one: misspelt(one.word, words, rng)),
        "a": (names, lambda one: "nowhere_9"),
        "wrong": (
            (numbers, lambda one: rng.choice([f"-{one.word}", "0", f"{one.word}000", "0.5"]))
            if rest == "number"
            else (numbers + values, lambda one: rng.choice(_other_types(one)))
        ),
    }
    if first in changed:
        return _changed(sort, text, rng, *changed[first])
    if first == "swapped":
        return _swapped(text, known, rng)
    return _dropped(sort, MARKS[rest], text, rng) if first == "dropped" else _of_lines(sort, text, rng)


def _dropped(sort: str, marks: str, text: str, rng: random.Random) -> Mutation | None:
    places = [found.start() for found in re.finditer(marks, text) if not _in_comment(text, found.start())]
    if not places:
        return None
    at = rng.choice(places)
    return Mutation(sort, text[:at] + text[at + 1 :], frozenset({_line(text, at)}), _line_of(text, at))


def _changed(
    sort: str, text: str, rng: random.Random, places: list[Token], to: Callable[[Token], str | None]
) -> Mutation | None:
    if not places or (new := to(one := rng.choice(places))) is None:
        return None
    changed = text[: one.start] + new + text[one.end :]
    return Mutation(
        sort, changed, frozenset({one.line}), f"`{one.word}` -> `{new}` in `{_line_of(changed, one.start)}`"
    )


def _other_types(token: Token) -> list[str]:
    if token.sort == "number":
        return ["wide", "[1, 2]", "true", "null", "{a: 1}"]
    return ["7", "[7]", "true", "{a: 1}"]


def _swapped(text: str, known: list[Token], rng: random.Random) -> Mutation | None:
    values = [one for one in known if not one.is_key]
    if len(values) < 2:
        return None
    first = rng.choice(values)
    others = [
        one for one in values if one.sort == first.sort and one.word != first.word and abs(one.line - first.line) < 6
    ]
    if not others:
        return None
    a, b = sorted((first, rng.choice(others)), key=lambda one: one.start)
    changed = text[: a.start] + b.word + text[a.end : b.start] + a.word + text[b.end :]
    return Mutation("swapped", changed, frozenset({a.line, b.line}), f"`{a.word}` and `{b.word}`")


def _of_lines(sort: str, text: str, rng: random.Random) -> Mutation | None:
    lines = text.split("\n")
    real = [i for i, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    i = rng.choice(real)
    after = next((j for j in real if j > i), i)
    before = next((j for j in reversed(real) if j < i), i)
    if sort == "line deleted":
        around = {j + 1 for j in _around(lines, i)} | {i, i + 1}
        return Mutation(sort, "\n".join(lines[:i] + lines[i + 1 :]), frozenset(around), lines[i].strip())
    if sort == "line doubled":
        return Mutation(sort, "\n".join([*lines[: i + 1], *lines[i:]]), frozenset({i + 1, i + 2}), lines[i].strip())
    spaces = len(lines[i]) - len(lines[i].lstrip())
    shift = rng.choice([one for one in (-2, -1, 1, 2) if spaces + one >= 0])
    moved = [*lines[:i], " " * (spaces + shift) + lines[i].lstrip(), *lines[i + 1 :]]
    return Mutation(
        sort, "\n".join(moved), frozenset({before + 1, i + 1, after + 1}), f"{shift:+} `{lines[i].strip()}`"
    )


def _around(lines: Sequence[str], i: int) -> Iterator[int]:
    """Yield the lines that the line `i` stands below: those above it with less indentation, up to the first."""
    least = len(lines[i]) - len(lines[i].lstrip())
    for j in range(i - 1, -1, -1):
        spaces = len(lines[j]) - len(lines[j].lstrip())
        if lines[j].strip() and spaces < least:
            least = spaces
            yield j


def _in_comment(text: str, at: int) -> bool:
    start = text.rfind("\n", 0, at) + 1
    return re.search(r"(?:^|\s)#", text[start:at]) is not None


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _line_of(text: str, at: int) -> str:
    return text[text.rfind("\n", 0, at) + 1 :].partition("\n")[0].strip()


# --- outcomes -------------------------------------------------------------------------------------------------------


def outcome(source: Source, made: Mutation) -> tuple[str, str]:
    """Plan the spec of a mutated file; return the outcome, and what is said."""
    before = source.file.read_text()
    source.file.write_text(made.text, newline="")
    try:
        with limited(SECONDS), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            unmet, warned = plan(source.spec)
    except DlxError as error:
        return _where(source, made, error.problems), " | ".join(map(_in_one_line, error.problems))
    except (Exception, TooSlowError) as error:  # noqa: BLE001 - what a user would meet as a traceback
        return "traceback", f"{type(error).__name__}: {error}"[:200]
    finally:
        source.file.write_text(before, newline="")
    if unmet:
        at_its_line = _where(source, made, unmet) == "its line"
        return ("its line" if at_its_line else "by a claim"), " | ".join(map(_in_one_line, unmet))
    new = [one for one in warned if one.message not in (planned(source.spec) or ())]
    return ("warned" if new else "accepted"), " | ".join(map(_in_one_line, new))


def _where(source: Source, made: Mutation, problems: Sequence[Problem]) -> str:
    here = str(source.file)
    if any(one.mark and one.mark.file == here and one.mark.line in made.lines for one in problems):
        return "its line"
    named = "|".join(map(str, made.lines))
    said = (f"{one.message} {one.hint}" for one in problems)
    places = [*(at for one in problems for at in one.calls), *(at for one in problems for _, at in one.values)]
    also = any(at.file == here and at.line in made.lines for at in places)
    named_there = any(re.search(rf"\bline (?:{named})\b", one) for one in said)
    return "both places" if also or named_there else "elsewhere"


def _in_one_line(problem: Problem) -> str:
    where = f"{Path(problem.mark.file).name}:{problem.mark.line}:{problem.mark.column} " if problem.mark else ""
    return f"{where}{problem.message}. {problem.hint}"[:300]


def tried(sources: Sequence[Source], count: int, seed: int) -> Report:
    """Try `count` mutations of the sources, drawn from a seed."""
    report, number = Report(), 0
    while len(report.cases) < count:
        rng = random.Random(f"{seed} {number}")
        sort, number = SORTS[number % len(SORTS)], number + 1
        source = rng.choice(sources)
        text = source.file.read_text()
        toml = source.file.suffix == ".toml"
        root = parsed(text, str(source.file), is_toml=toml)
        made = mutation(sort, text, root, rng, source.live)
        if made is None or _means_the_same(made, root, toml):
            continue
        report.cases.append(Case(source, made, *outcome(source, made)))
    return report


def _means_the_same(made: Mutation, root: Node, toml: bool) -> bool:
    try:
        return parsed(made.text, "", is_toml=toml).plain() == root.plain()
    except DlxError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", nargs="*", default=[], choices=OUTCOMES, help="list those of these outcomes")
    parser.add_argument("--all", action="store_true", help="list those accepted that may be meant, too")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        copied(Path(name))
        sources = sources_of(specs_in(Path(name)))
        report = tried(sources, asked.count, asked.seed)
    print(f"{asked.count} mutations of {len(sources)} files, seed {asked.seed}\n{report.table()}")
    for one in asked.show:
        sorts = SURELY_WRONG if one == "accepted" and not asked.all else None
        print(f"\n{one}:", *report.of(one, sorts), sep="\n  ")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
