"""Whether two builds of dlx give the same, to the last bit: weights, curves, plans, documents and figures.

    python benchmarks/same_bits.py CHECKOUT --record FOLDER                  keep the answers of a build
    python benchmarks/same_bits.py CHECKOUT --against FOLDER [--only TEXT]   compare another build with them
    python benchmarks/same_bits.py A B                                       both

The cases are in same_bits.yaml. Beside them every spec under `specs/` is inspected, verified and, up to 30 million
MACs, trained for a few steps, on data of its own or on drawn data of its shape. Pictures and digits that are not
part of dlx come from the folder that DLX_SHARED_DATA names; cases that need it are left out without it. Runs that the
first build left half done are resumed by the second, and its finished runs are evaluated. MLflow is off.

A second `--record` into the same folder compares a build with itself: keys that differ must stand under `unsteady` in
same_bits.yaml. One that was cut off goes on. The exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from queue import Queue
from typing import Any

import yaml
from bits import Answers, count, of_files, of_output
from common import HERE, publish

GENERATED = Path(tempfile.gettempdir()) / "dlx-same-bits"
"""Data files that are drawn here. The folder has a fixed place, since paths are part of a resolved spec."""
SHARED = os.environ.get("DLX_SHARED_DATA", "")
LIMIT = 30_000_000
"""MACs of the largest shipped network that is trained."""
OLD = "of the first build's run: "
"""Before the keys of what a build makes of a run that the first one left."""
PATIENCE = 600
"""Seconds that one command may take."""
SERVER = """
import contextlib, importlib, io, json, os, sys
from dlx.__main__ import main

for name in ("torch._meta_registrations", "safetensors.torch", "scipy.special", "hydra.utils", "yaml"):
    try:
        importlib.import_module(name)
    except ImportError:
        pass
sys.argv = ["dlx", "inspect", "specs/digits/lenet.yaml", "--json"]
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()

for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for to, path in ((1, job["out"]), (2, job["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), to)
        os.chdir(job["folder"])
        sys.argv = ["dlx", *job["words"]]
        sys.exit(main())
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
SHIPPED = """
import json
from pathlib import Path
from dlx.graph import trace_all
from dlx.spec import load

found = {}
for path in sorted(p for p in Path("specs").rglob("*") if p.suffix in {".yaml", ".toml"}):
    if not any(line.startswith(("dlx:", "dlx =")) for line in path.read_text().splitlines()):
        continue
    spec = load(path)
    graphs = trace_all(spec.last_stage)
    graph = next(iter(graphs.values()))
    found[str(path)] = {
        "macs": sum(one.macs for one in graphs.values()), "params": sum(one.params for one in graphs.values()),
        "data": spec.data is not None,
        "inputs": [[list(shape), shape.dtype] for shape in graph.inputs.values()],
        "outputs": [list(graph.by_name[name].plan.shape) for name in graph.outputs.values() if name in graph.by_name],
        "objective": spec.objective.kind if spec.objective else None,
    }
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Case:
    """Commands of which the first makes runs. `spec` is the text of a spec, or the path of a shipped one."""

    name: str
    words: list[list[str]]
    spec: str = ""
    kill: int | None = None
    """The step after which the first command is killed; its runs are then resumed."""
    processes: bool = False
    """Whether the commands are real processes, not forks of one that has imported torch."""
    states: bool = False
    """Whether checkpoints to resume from are at steps that the spec gives."""


class Build:
    """A checkout whose commands are run, each in a process that was forked after the imports."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout.resolve()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DLX_", "MLFLOW_"))},
            "PYTHONPATH": str(self.checkout),
            "GOMP_SPINCOUNT": "10000",
            "DLX_CACHE": str(GENERATED / "cache"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "120",
        }
        self.idle: Queue[subprocess.Popen[str]] = Queue()
        self.servers: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers:
            server.communicate()

    def python(self, text: str) -> str:
        """What a script says that imports this build."""
        command = [sys.executable, "-c", text]
        found = subprocess.run(
            command, env=self.environment, cwd=self.checkout, capture_output=True, text=True, check=False
        )
        if found.returncode:
            raise SystemExit(f"{self.checkout}: {found.stderr.strip()[-2000:]}")
        return found.stdout

    def open(self, jobs: int) -> None:
        """Start so many servers."""
        for _ in range(jobs):
            command = [sys.executable, "-c", SERVER]
            server = subprocess.Popen(
                command,
                env=self.environment,
                cwd=self.checkout,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            self.servers.append(server)
            self.idle.put(server)

    def run(self, words: Sequence[str], folder: Path, real: bool = False, kill: int | None = None) -> tuple[int, str]:
        """The exit status of a command and what it printed; a command that fails has what it said as well."""
        out, err = folder / "out.txt", folder / "err.txt"
        if real:
            with out.open("w") as to, err.open("w") as aside:
                command = [sys.executable, "-m", "dlx", *words]
                status = subprocess.run(
                    command, env=self.environment, cwd=folder, stdout=to, stderr=aside, timeout=PATIENCE, check=False
                ).returncode
        else:
            server = self.idle.get()
            try:
                job = {"words": list(words), "folder": str(folder), "out": str(out), "err": str(err)}
                server.stdin.write(json.dumps(job) + "\n")  # type: ignore[union-attr]
                server.stdin.flush()  # type: ignore[union-attr]
                pid = int(server.stdout.readline())  # type: ignore[union-attr]
                if kill is not None:
                    _kill(pid, folder, kill)
                status = int(server.stdout.readline())  # type: ignore[union-attr]
            finally:
                self.idle.put(server)
        return status, out.read_text() + (err.read_text() if status else "")


def _kill(pid: int, folder: Path, step: int) -> None:
    """Kill a training once a record tells of this step."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        for records in folder.glob("runs/*/*/metrics.jsonl"):
            lines = [line for line in records.read_text().splitlines()[-2:-1] if '"step":' in line]
            if any(json.loads(line).get("step", 0) >= step for line in lines):
                os.kill(pid, 9)
                return
        time.sleep(0.005)


# --- the cases ------------------------------------------------------------------------------------------------------


def rules() -> dict[str, Any]:
    """The document of same_bits.yaml: cases, and keys that may differ."""
    return dict(yaml.safe_load((HERE / "same_bits.yaml").read_text()))


def written() -> list[Case]:
    """The cases of same_bits.yaml."""
    document = rules()
    cases = []
    for case in document["cases"]:
        text = document["bases"][case["base"]]
        name = "".join(c if c.isalnum() else "-" for c in case["name"])[:90]
        changes = ["++train.device=cpu", "++track.mlflow=false", *case.get("with", [])]
        if not any("train.threads" in change for change in changes):
            changes.append("++train.threads=1")
        command = [case.get("run", "train"), "spec.yaml", *case.get("words", ["--json"]), *changes]
        if case.get("run", "train") in {"train", "sweep"}:
            command += ["--runs", "runs"]
        cases.append(
            Case(
                case["name"],
                [command, *(line.split() for line in case.get("then", []))],
                f"dlx: 1\nname: {name}\n{text}",
                case.get("kill"),
                case.get("processes", False),
                "save_every" in text or any("save_every" in change for change in changes),
            )
        )
    return cases


def shipped(build: Build) -> list[Case]:
    """Cases of the specs of a checkout: each is inspected, and trained for a few steps where it is not too large."""
    cases = [
        Case("all specs: verify", [["verify", "specs", "--json"]]),
        Case("schema", [["schema"]]),
        Case("layers", [["layers", "--json"], ["layers", "--markdown"]]),
        Case(
            "help", [["--help"], *([name, "--help"] for name in ("train", "inspect", "sweep", "evaluate", "predict"))]
        ),
    ]
    for path, facts in json.loads(build.python(SHIPPED)).items():
        name = path.removeprefix("specs/")
        cases.append(Case(f"{name}: inspect", [["inspect", path, "--json"]]))
        data = [] if facts["data"] else _generated(facts)
        if data is None or facts["macs"] > LIMIT or (facts["params"] == 0 and not facts["data"]):
            continue
        steps = 20 if facts["macs"] < LIMIT / 10 else 3
        changes = [
            *("++train.epochs=null", f"++train.steps={steps}", "++train.threads=1", "++train.device=cpu"),
            *("++track.mlflow=false", "++train.log_every=1", *data),
        ]
        cases.append(Case(f"{name}: train", [["train", path, "--json", "--runs", "runs", *changes]]))
    return cases


def _generated(facts: Mapping[str, Any]) -> list[str] | None:
    """Overrides that give a network data of its shapes; None where none can be drawn."""
    (inputs, dtype), *more = facts["inputs"]
    output = facts["outputs"][0]
    if more or dtype != "float":
        return None
    target = f"classes:null,target:{json.dumps(output)}"
    if facts["objective"] in {"classification", None} and len(output) == 1 and output[0] > 1:
        target = f"classes:{output[0]}"
    elif facts["objective"] not in {"regression", None}:
        return None
    shape = json.dumps(inputs).replace(" ", "")
    return [f"++data={{synthetic:{{shape:{shape},{target.replace(' ', '')},train:60,valid:20,test:20}}}}"]


def draw_files() -> None:
    """Draw the data files that cases name."""
    import numpy as np

    GENERATED.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    np.save(GENERATED / "x.npy", (rng.normal(size=(200, 2, 6, 6)) + labels[:, None, None, None]).astype(np.float32))
    np.save(GENERATED / "y.npy", labels)
    np.save(GENERATED / "digits.npy", rng.integers(0, 17, (20, 1, 8, 8)).astype(np.float32))
    rows = ["rooms,floor,lift,rent"]
    for _ in range(300):
        rooms, floor, lift = rng.integers(1, 6), rng.integers(0, 9), rng.choice(["no", "yes"])
        rent = 3 * rooms + 0.2 * floor + (lift == "yes") + rng.normal(scale=0.3)
        rows.append(f"{rooms},{floor if rng.random() > 0.1 else ''},{lift},{rent:.4f}")
    (GENERATED / "rows.csv").write_text("\n".join(rows) + "\n")


# --- what they give -------------------------------------------------------------------------------------------------


def answers(build: Build, case: Case, recorded: Path, old: bool) -> Answers:
    """The facts of a case. `kept` is the folder of runs that the first build leaves, or, with `old`, has left."""
    with tempfile.TemporaryDirectory(prefix="dlx-bits-") as place:
        folder = Path(place)
        if case.spec:
            (folder / "spec.yaml").write_text(_filled(case.spec))
        (folder / "runs").mkdir()
        (folder / "specs").symlink_to(build.checkout / "specs")
        first, *more = case.words
        facts = _command(build, case, first, folder, "")
        again = case.kill is not None or any("$RUN" in word for words in more for word in words)
        if again and not old and not recorded.exists():
            shutil.copytree(folder / "runs", recorded)
        facts |= _rest(build, case, folder, "")
        if again and old:
            shutil.rmtree(folder / "runs")
            shutil.copytree(recorded, folder / "runs")
            facts |= _rest(build, case, folder, OLD)
    return facts


def _command(build: Build, case: Case, words: Sequence[str], folder: Path, where: str, kill: bool = True) -> Answers:
    """The facts of what a command says."""
    status, said = build.run([_filled(word) for word in words], folder, case.processes, case.kill if kill else None)
    if kill and case.kill is not None:
        return {} if status == -9 else {"kill": f"came too late, status {status}: {said[-300:]}"}
    said = of_output(said.replace(str(build.checkout), "CHECKOUT"), folder)
    return {f"{where}{words[0]}: exit status": str(status)} | {f"{where}{words[0]}: {k}": v for k, v in said.items()}


def _rest(build: Build, case: Case, folder: Path, where: str) -> Answers:
    """The facts of the commands after the first one, and of all that lies in the folder after them."""
    facts: Answers = {}
    runs = sorted(folder.glob("runs/*/*/lock.json"), key=lambda lock: json.loads(lock.read_text()).get("seed", 0))
    places = [str(lock.parent.relative_to(folder)) for lock in runs]
    together = [place for place in places if (folder / place / "ensemble.json").exists()]
    if case.kill is not None:
        for index, place in enumerate(together or places):
            words = ["train", "--resume", place, "--json", "--runs", "runs"]
            facts |= _command(build, case, words, folder, f"{where}resume {index} ", kill=False)
    run = next(iter(together or places), "none")
    for index, words in enumerate(case.words[1:]):
        named = [word.replace("$RUN", run) for word in words]
        facts |= _command(build, case, named, folder, f"{where}{index} ", kill=False)
    return facts | {f"{where}{k}": v for k, v in of_files(folder / "runs", case.states).items()}


def _filled(text: str) -> str:
    return text.replace("$GENERATED", str(GENERATED)).replace("$SHARED", SHARED)


Rules = Mapping[str, Sequence[Mapping[str, str]]]
"""Patterns of `case/key`, by what a difference there is: unsteady, announced, free."""


@dataclass
class Row:
    """A case in two builds: the keys that differ, in three sorts."""

    name: str
    values: int = 0
    differences: list[str] = field(default_factory=list)
    announced: list[str] = field(default_factory=list)
    noted: list[str] = field(default_factory=list)
    """Of the lock, and keys that a document has gained which may."""

    @property
    def verdict(self) -> str:
        sorts = {"DIFFER": self.differences, "announced": self.announced, "noted": self.noted}
        texts = [f"{len(found):,} {sort}, first {found[0]}" for sort, found in sorts.items() if found]
        return "; ".join(texts if self.differences else ["equal", *texts])


def compared(
    name: str, before: Mapping[str, str], after: Answers, rules: Mapping[str, Sequence[Mapping[str, str]]]
) -> Row:
    """Two builds' facts of a case beside each other, by the rules of same_bits.yaml."""
    row = Row(name)
    before = dict(before) | {
        key: before.get(key.removeprefix(OLD), "nothing") for key in after if key.startswith(OLD)
    }

    def among(sort: str, key: str) -> bool:
        return any(fnmatchcase(f"{name}/{key}", rule["key"]) for rule in rules.get(sort, ()))

    for key in [*before, *(key for key in after if key not in before)]:
        if among("unsteady", key):
            continue
        row.values += count({key: before[key]}) if key in before else 0
        one, other = before.get(key, "nothing"), after.get(key, "nothing")
        if one != other:
            sort = row.announced if among("announced", key) else row.differences
            if among("free", key) and (key not in before or "lock.json" in key):
                sort = row.noted
            sort.append(f"{key}: {_short(one)} -> {_short(other)}")
    return row


def _short(text: str) -> str:
    return text if len(text) < 160 else f"{text[:150]} ..."


# --- the command ----------------------------------------------------------------------------------------------------


def everything(build: Build, cases: Sequence[Case], folder: Path, jobs: int, old: bool) -> list[Row]:
    """The rows of all cases, several at a time: compared with the answers in the folder, or kept there."""
    build.open(jobs)
    known = rules()

    def one(case: Case) -> Row:
        begun = time.monotonic()
        name = "".join(c if c.isalnum() else "-" for c in case.name)
        recorded = folder / "cases" / f"{name}.json"
        found = answers(build, case, folder / "runs" / name, old)
        if recorded.exists():
            row = compared(case.name, json.loads(recorded.read_text())["answers"], found, known)
        else:
            recorded.write_text(json.dumps(asdict(case) | {"answers": found}, indent=1))
            row = Row(case.name, count(found))
        seconds = time.monotonic() - begun
        print(f"{case.name}: {row.values:,} values, {seconds:.1f} s, {row.verdict}", file=sys.stderr, flush=True)
        return row

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, cases))


def record(build: Path, folder: Path, only: Sequence[str], jobs: int) -> list[Row]:
    """Keep the answers of a build; those that the folder has already are compared."""
    (folder / "cases").mkdir(exist_ok=True)
    with Build(build) as built:
        cases = chosen([*written(), *shipped(built)], only)
        (folder / "build.txt").write_text(commit(build) + "\n")
        return everything(built, cases, folder, jobs, old=False)


def against(build: Path, folder: Path, only: Sequence[str], jobs: int) -> list[Row]:
    """Compare a build with answers that were kept."""
    recorded = [json.loads(path.read_text()) for path in sorted((folder / "cases").iterdir())]
    cases = [Case(**{key: value for key, value in case.items() if key != "answers"}) for case in recorded]
    with Build(build) as built:
        return everything(built, chosen(cases, only), folder, jobs, old=True)


def chosen(cases: Sequence[Case], only: Sequence[str]) -> list[Case]:
    """The cases whose names have one of the texts, without those whose files are not here."""
    here = [case for case in cases if SHARED or "$SHARED" not in case.spec]
    return [case for case in here if not only or any(text in case.name for text in only)]


def commit(checkout: Path) -> str:
    """The commit of a checkout, and whether files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=12", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no commit"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", type=Path, metavar="CHECKOUT")
    parser.add_argument("--record", type=Path, metavar="FOLDER")
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="cases whose name has it")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="cases at a time")
    parser.add_argument("--page", action="store_true", help="keep the table under benchmarks/results")
    arguments = parser.parse_args(argv)
    started = time.monotonic()
    draw_files()
    with tempfile.TemporaryDirectory() as place:
        folder = arguments.record or arguments.against or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [] if arguments.against else record(arguments.builds[0], folder, arguments.only, arguments.jobs)
        if arguments.against or len(arguments.builds) == 2:
            rows = against(arguments.builds[-1], folder, arguments.only, arguments.jobs)
        first = (folder / "build.txt").read_text().strip()
    differing = [row for row in rows if row.differences]
    summary = (
        f"{len(rows)} cases, {sum(row.values for row in rows):,} values: {len(rows) - len(differing)} cases equal, "
        f"{len(differing)} differ. "
        f"Builds {first} and {commit(arguments.builds[-1])}; {time.monotonic() - started:.0f} s."
    )
    table = ["| case | values | |", "|---|---|---|"]
    table += [f"| {row.name} | {row.values:,} | {row.verdict.replace('|', chr(92) + '|')} |" for row in rows]
    if arguments.page:
        publish("same-bits", "Two builds, to the last bit", [summary, chr(10).join(table)])
    else:
        print(chr(10).join(f"{row.name}: {row.values:,} values, {row.verdict}" for row in rows))
        print(summary)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
