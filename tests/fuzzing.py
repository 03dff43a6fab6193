"""Random and mutated specs, overrides and expressions: each ends in a value or a DlxError, soon."""

from __future__ import annotations

import random
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from helpers import ROOT

from dlx.errors import DlxError
from dlx.graph import trace
from dlx.spec import load
from dlx.spec.expressions import ExpressionError, UnknownValue, evaluate
from dlx.spec.sections.sweep_values import parse_dimension
from dlx.spec.syntax.read import Node, parse_toml, parse_yaml
from dlx.sweeps.space import Space

LONGEST = 20.0
"""Seconds of one input, on a machine that does other things too."""
SMALL = 1500
"""Characters of a shipped spec that is mutated."""
BASE = """\
dlx: 1
vars: {width: 4, depths: [1, 2, 3], act: relu}
blocks: {cell: {args: {width: null, twice: false}, layers: [{linear: "${width}"}, "${act}"]}}
data: {digits: {valid: 0.1}}
network:
  layers:
    - conv: &conv {out_channels: 4, kernel_size: 3}
      name: stem
    - relu
    - conv: {<<: *conv, padding: 1}
    - residual: {layers: [relu], merge: add}
    - repeat: {times: 2, layers: [tanh]}
    - flatten
    - cell: {width: 5}
    - linear: 10
objective: classification
train: {epochs: 3, optimizer: {adam: {lr: 0.1}}, schedule: cosine}
track: {mlflow: false}
freeze: [stem]
expect: {params: 3}
sweep: {space: {train.batch_size: [16, 32]}}
"""


def words(text: str) -> list[str]:
    return text.split()


SCALARS = words(
    "0 1 -1 1.5 1e-3 1e400 -1e400 .inf -.Inf .nan 0x1F 0o17 1_000 8_e6 0._5 1_.5 3_. 017 +3 1e3 true"
    " False null ~ no on"
    ' \'\' "" \'a\' "b" "\\n" relu conv linear 2026-11-21 1:30 ${width} ${width*2} ${1/0} ${x.rank} ${x}'
    " ${9**9} @ * & %"
    " *a &a !!int !!str ? ?a - : :: # | > << {} [] [1] {a:1} é \u2028 \u0085 \ufeff \U0001f600 9223372036854775808"
)
SCALARS += ["7" * 30, "7" * 310, "7" * 5000, "[" * 40, "a" * 300, "1e" + "9" * 30, "0." + "1" * 400]
KEYS = words(
    "dlx name vars width depths blocks cell args layers network inputs outputs data digits valid objective init"
    " train epochs steps batch_size seed seeds optimizer adam lr schedule cosine expect params track uri mlflow"
    " freeze sweep space sampler trials defaults conv_1 relu_1 relu_2 linear_1 stem 0 1 2 3 7 99 out_channels"
    " kernel_size bias when from values tie times index residual merge repeat share for shape dtype x"
    " prev input __class__ kind"
)
PATHS = words(
    "vars.width vars.depths vars.depths.1 vars.act blocks.cell.args.width data data.digits.valid network.layers.0"
    " network.layers.stem network.layers.stem.kernel_size network.layers.relu_1 network.layers.conv_1.padding"
    " network.layers.3.residual.merge network.layers.4.times network.layers.6.width network.layers.7 network.layers"
    " objective objective.classification.loss train.epochs train.seed train.optimizer train.optimizer.adam.lr"
    " train.schedule track.uri freeze freeze.0 expect.params sweep.space sweep.trials name train init network.inputs"
)
MARKS = [*"{}[]:,-?*&!|>'\"%@`#=+~()$<>./\\ \t\n_0123456789aeExo", "\u2028", "\u0085", "\r\n", "<<", "${", "é", ": "]


@dataclass
class FuzzReport:
    """What came of the inputs of one kind."""

    count: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    failures: list[tuple[str, str]] = field(default_factory=list)


class TooSlowError(Exception):
    """An input that does not end."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """TooSlowError where the block takes longer."""

    def over(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def shipped(suffix: str) -> list[str]:
    """The texts of small shipped specs, and of the pages' examples in TOML."""
    texts = [path.read_text() for path in sorted((ROOT / "specs").rglob(f"*{suffix}"))]
    pages = [page.read_text() for page in sorted((ROOT / "docs").glob("*.md"))]
    fences = [text for page in pages for text in re.findall(rf"```{suffix[1:]}\n(.*?)```", page, re.DOTALL)]
    return [text for text in (*texts, *fences) if len(text) <= SMALL] or [BASE]


def mutated(text: str, rng: random.Random) -> str:
    """A text with a few pieces taken out, put in, doubled, swapped or moved."""
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        at, length = rng.randrange(len(text) + 1), rng.choice([1, 1, 2, 5, 20])
        piece = text[at : at + length]
        change = rng.randrange(7)
        if change == 0:
            text = text[:at] + text[at + length :]
        elif change == 1:
            text = text[:at] + rng.choice(MARKS) + text[at:]
        elif change == 2:
            text = text[:at] + piece * rng.choice([2, 3, 30]) + text[at + length :]
        elif change == 3:
            words = list(re.finditer(r"[\w.]+", text)) or [re.match("", text)]
            word = rng.choice(words)
            text = text[: word.start()] + rng.choice(SCALARS + KEYS) + text[word.end() :]
        elif change == 4:
            lines = text.split("\n")
            rng.shuffle(lines) if rng.random() < 0.1 else lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            text = "\n".join(lines)
        elif change == 5:
            text = text[:at] + rng.choice([" ", "  ", "\t", "\n", "\n  "]) + text[at:]
        else:
            text = text[:at] + rng.choice(MARKS) + text[at + 1 :]
    return text


def pieces(rng: random.Random) -> str:
    return "".join(rng.choices([*MARKS, *SCALARS, *KEYS], k=rng.randrange(1, 30)))


def value(rng: random.Random, depth: int = 0) -> str:
    """A value of the override grammar, or nearly one."""
    pick = rng.random()
    if pick < 0.2:
        return rng.choice(words("1 2 3 8 0.5 relu tanh linear true [1,2] {linear:10} {sgd:{lr:1}} sgd digits"))
    if depth > 3 or pick < 0.5:
        return rng.choice(SCALARS + KEYS)
    inner = [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if pick < 0.65:
        return f"[{','.join(inner)}]"
    if pick < 0.8:
        return "{" + ",".join(f"{rng.choice(SCALARS + KEYS)}: {one}" for one in inner) + "}"
    if pick < 0.95:
        name = rng.choice(words("choice range interval glob tag sort shuffle int float str bool json"))
        return f"{name}({','.join(inner)})"
    return ",".join(inner)


def override(rng: random.Random) -> str:
    """An override, or nearly one."""
    key = rng.choice([".", ".", ".", "/"]).join(rng.choice(KEYS) for _ in range(rng.randrange(1, 5)))
    if rng.random() < 0.3:
        key = "network.layers." + ".".join(rng.choice(KEYS) for _ in range(rng.randrange(1, 4)))
    key = rng.choice(PATHS) if rng.random() < 0.7 else key
    text = f"{rng.choice(['', '', '', '+', '++', '~'])}{key}={value(rng)}"
    return mutated(text, rng) if rng.random() < 0.3 else text


def scalar(rng: random.Random) -> str:
    letters = "0189_.eE+-xoainfN~:'\"{}[]$*&?! \t"
    return rng.choice([rng.choice(SCALARS), "".join(rng.choices(letters, k=rng.randrange(9)))])


def expression(rng: random.Random, depth: int = 0) -> str:
    if depth > 4 or rng.random() < 0.4:
        names = "1 2 0 -1 1.5 1e300 width depths x x.size x.rank x.channels true null 'a' [] pi y 10**9"
        return rng.choice(words(names))
    infix = rng.choice(words("+ - * / // % ** < <= == != and or in if"))
    called = rng.choice(words("min max round ceil floor abs len sqrt exp log log2 log10 open"))
    left, right = expression(rng, depth + 1), expression(rng, depth + 1)
    return rng.choice(
        [
            f"({left} {infix} {right})",
            f"{called}({left}, {right})",
            f"{called}({left})",
            f"{left}[{right}]",
            f"[{left}, {right}]",
            f"{left} if {right} else {left}",
            f"not {left}",
            f"{left}.{right}",
        ]
    )


class Fuzzer:
    """Makes inputs of each kind and gives them to dlx."""

    def __init__(self, folder: Path) -> None:
        self.spec = folder / "s.yaml"
        self.spec.write_text(BASE)
        self.root = parse_yaml(BASE, "s.yaml")
        self.yaml, self.toml = shipped(".yaml"), shipped(".toml")
        self.kinds: dict[str, Callable[[random.Random], tuple[str, Callable[[], object]]]] = {
            "random YAML": lambda c: self.of_text(parse_yaml, pieces(c)),
            "mutated YAML": lambda c: self.of_text(parse_yaml, mutated(c.choice([BASE, *self.yaml]), c)),
            "random TOML": lambda c: self.of_text(parse_toml, pieces(c)),
            "mutated TOML": lambda c: self.of_text(parse_toml, mutated(c.choice(self.toml), c)),
            "mutated specs, planned": lambda c: self.planned(mutated(c.choice([BASE, BASE, *self.yaml]), c), ".yaml"),
            "mutated specs in TOML, planned": lambda c: self.planned(mutated(c.choice(self.toml), c), ".toml"),
            "scalars in fields": self.field,
            "overrides": self.overridden,
            "sweeps": self.swept,
            "expressions": self.expression,
        }

    @staticmethod
    def of_text(parse: Callable[[str, str], Node], text: str) -> tuple[str, Callable[[], object]]:
        return text, lambda: parse(text, "s")

    def planned(self, text: str, suffix: str) -> tuple[str, Callable[[], object]]:
        path = self.spec.with_name(f"mutated{suffix}")

        def run() -> object:
            path.write_text(text, newline="")
            return trace(load(path))

        return text, run

    def field(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        words = list(re.finditer(r"(?<=: )[\w.]+|(?<=- )\w+", BASE))
        word = rng.choice(words)
        return self.planned(BASE[: word.start()] + scalar(rng) + BASE[word.end() :], ".yaml")

    def overridden(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        changes = [override(rng) for _ in range(rng.choice([1, 1, 1, 2, 3]))]
        return repr(changes), lambda: trace(load(self.spec, changes))

    def swept(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        change = override(rng)
        if rng.random() < 0.8:
            return change, lambda: parse_dimension(change, self.spec)
        return change, lambda: Space.of(load(self.spec), [change])[0].size

    def expression(self, rng: random.Random) -> tuple[str, Callable[[], object]]:
        text = "${" + expression(rng) + "}"
        text = mutated(text, rng) if rng.random() < 0.3 else text

        def run() -> object:
            with suppress(ExpressionError, UnknownValue):
                return evaluate(text, {"width": 4, "depths": [1, 2], "x": self.shape()})
            raise DlxError("no value")

        return text, run

    @staticmethod
    def shape() -> object:
        from dlx.shapes import Shape

        return Shape([3, 8, 8])


def fuzzed(kind: str, count: int, seed: int) -> FuzzReport:
    """`count` inputs of one kind, and what came of them."""
    report = FuzzReport()
    with tempfile.TemporaryDirectory() as folder:
        make = Fuzzer(Path(folder)).kinds[kind]
        for number in range(count):
            text, run = make(random.Random(f"{kind} {seed} {number}"))
            started = time.perf_counter()
            try:
                with limited(LONGEST):
                    run()
                outcome = "a result"
            except DlxError as error:
                all_have_messages = bool(error.problems) and all(problem.message for problem in error.problems)
                outcome = "refused" if all_have_messages else "refused without a sentence"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                outcome = f"{type(error).__name__}: {error}"[:200]
            report.count += 1
            report.outcomes[outcome] += 1
            report.slowest = max(report.slowest, time.perf_counter() - started)
            if outcome not in {"a result", "refused"}:
                report.failures.append((outcome, text))
    return report


KINDS = (
    "random YAML",
    "mutated YAML",
    "random TOML",
    "mutated TOML",
    "mutated specs, planned",
    "mutated specs in TOML, planned",
    "scalars in fields",
    "overrides",
    "sweeps",
    "expressions",
)
