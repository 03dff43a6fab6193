"""Run folders with one file that is damaged or of another run, drawn from a seed; and commands that meet them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlx import cli
from dlx.cli import exit_status
from dlx.experiment import runner
from dlx.runs.folder import RunFolder
from dlx.spec import load

SPEC = """\
name: {name}
data: {{table: {{path: ../../t.csv, target: k, valid: 0.2, test: 0.2, standardize: feature}}}}
network: {{layers: [{{linear: {width}}}, relu, {{linear: 3}}]}}
objective: {{classification: {{metrics: [confusion_matrix]}}}}
train: {{epochs: 4, batch_size: 8, save_every: 2, keep_best: 2, optimizer: {{adam: 0.01}}, device: cpu}}
track: {{mlflow: false}}
"""
SWEEP = """\
name: s
data: {table: {path: ../../t.csv, target: k, valid: 0.2}}
network: {layers: [{linear: 3}]}
train: {epochs: 1, batch_size: 8, device: cpu}
track: {mlflow: false}
sweep: {space: {train.optimizer.sgd.lr: "0.1,0.2"}}
"""
KINDS = (
    *("swapped", "deep", "odd", "odd", "odd", "truncated", "empty", "binary", "null", "number"),
    *("pipe", "folder", "dangling", "circular"),
)
"""What happens to a file; some are drawn differently each time."""
SECONDS = 20


@dataclass(frozen=True)
class Home:
    """A folder `runs` with a finished run, one that died on its way, one of another network, an ensemble, a study."""

    folder: Path
    finished: str
    died: str
    other: str
    ensemble: str
    study: str

    def copied(self, folder: Path) -> Path:
        shutil.copytree(self.folder, folder, symlinks=True)
        return folder


def made(folder: Path) -> Home:
    """All of them, trained."""
    runs = folder / "runs"
    rows = "\n".join(f"{i % 7},{i % 5},{'abc'[(i % 7 + i % 5) % 3]}" for i in range(60))
    (folder / "t.csv").write_text(f"x,y,k\n{rows}\n")
    specs = {"a": SPEC.format(name="a", width=6), "b": SPEC.format(name="b", width=5), "s": SWEEP}
    for name, text in specs.items():
        (folder / "specs" / name).mkdir(parents=True)
        (folder / "specs" / name / "s.yaml").write_text(text)
    keys = []
    for name, changes in (("a", []), ("b", []), ("a", ["+train.ensemble=2", "~train.keep_best"])):
        found = runner.run(load(folder / "specs" / name / "s.yaml", changes), runs)
        keys.append((found.together or found.results[0]).run.key)
    finished, other, ensemble = keys
    died = RunFolder(runs / "a" / "20200101-000000-0000")
    shutil.copytree(runs / finished, died.dir)
    lines = (died.dir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (died.dir / "metrics.jsonl").write_text("".join(lines[:-3]))
    died.write_json("lock.json", died.read_json("lock.json") | {"pid": -1})
    for path in (died.dir / "checkpoints").glob("final.*"):
        path.unlink()
    code, output = command(["sweep", str(folder / "specs/s/s.yaml"), "--runs", str(runs)])
    assert code == 0, output
    (study,) = runs.glob("s/sweep-*")
    return Home(folder, finished, died.key, other, ensemble, f"s/{study.name}")


def command(argv: list[str]) -> tuple[int, str]:
    """The exit status of a command in this process, and all that it says. What it raises comes through."""

    def late(*_: object) -> None:
        raise AssertionError(f"`dlx {' '.join(argv)}` took more than {SECONDS} seconds")

    out, before = io.StringIO(), sys.argv
    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    sys.argv = ["dlx", *argv]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            try:
                code = exit_status.run(lambda: cli.app(argv, standalone_mode=False))
            except SystemExit as left:
                code = left.code if isinstance(left.code, int) else 1
    finally:
        sys.argv = before
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
    return code, out.getvalue()


def files_of(run: Path) -> list[str]:
    """The files of a run or a study that are read."""
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    return [name for name in names if not name.endswith((".lock", ".log")) and not Path(name).name.startswith(".")]


def damage(path: Path, kind: str, twin: Path, rng: random.Random) -> None:
    """Do it to a file; `twin` is the same file of another run."""
    was = path.read_bytes() if path.is_file() else b""
    path.unlink(missing_ok=True)
    if kind == "swapped":
        for suffix in (path.suffix, *(() if path.suffix != ".safetensors" else (".json",))):
            if twin.with_suffix(suffix).is_file():
                shutil.copyfile(twin.with_suffix(suffix), path.with_suffix(suffix))
    elif kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    elif kind == "circular":
        path.symlink_to(path.name)
    else:
        path.write_bytes(_altered(path, kind, was, rng))


def _altered(path: Path, kind: str, was: bytes, rng: random.Random) -> bytes:
    if kind == "odd":
        return _odd(path, was, rng)
    if kind == "deep":
        return b'{"a": ' * 100_000 if path.suffix != ".yaml" else b"a: " + b"[" * 100_000
    plain = {
        "empty": b"",
        "null": b"null\n",
        "number": b"5\n",
        "truncated": was[: rng.randrange(1, max(2, len(was)))],
    }
    return plain.get(kind, rng.randbytes(300))


ODD: tuple[Any, ...] = (None, [], {}, [1], {"a": 1}, "text", "", -1, 0, 1.5, True, 10**30, "nan", [[]], [None])


def _odd(path: Path, was: bytes, rng: random.Random) -> bytes:
    """A value of another kind somewhere in a document; checksums are made to fit."""
    if path.suffix == ".safetensors":
        return _odd_header(was, rng)
    if path.suffix == ".yaml":
        lines = was.decode().splitlines()
        place = rng.randrange(len(lines))
        key, colon, _ = lines[place].partition(":")
        lines[place] = f"{key}{colon or ':'} {json.dumps(rng.choice(ODD))}"
        return "\n".join(lines).encode()
    lines = was.splitlines() if path.suffix == ".jsonl" else [was or b"{}"]
    place = rng.choice([0, len(lines) - 1, rng.randrange(len(lines))])
    value = _with_odd(json.loads(lines[place]), rng)
    if isinstance(value, dict) and "facts_sha256" in value:
        value.pop("facts_sha256")
        text = json.dumps(value, sort_keys=True).encode()
        value["facts_sha256"] = hashlib.sha256(text).hexdigest()
    lines[place] = json.dumps(value).encode()
    return b"\n".join(lines) + b"\n"


def _odd_header(was: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(was[:8], "little")
    text = json.dumps(_with_odd(json.loads(was[8 : 8 + size]), rng)).encode()
    return len(text).to_bytes(8, "little") + text + was[8 + size :]


def _with_odd(value: Any, rng: random.Random) -> Any:
    places = list(_places(value))
    where = rng.choice(places)
    if not where:
        return rng.choice(ODD)
    at = value
    for key in where[:-1]:
        at = at[key]
    if rng.random() < 0.2 and isinstance(at, dict):
        del at[where[-1]]
    else:
        at[where[-1]] = rng.choice(ODD)
    return value


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    if isinstance(value, dict | list) and len(above) < 6:
        for key, child in value.items() if isinstance(value, dict) else enumerate(value[:5]):
            yield from _places(child, (*above, key))


def commands(home: Path, key: str, study: str) -> dict[str, list[str]]:
    """Those that meet a run, and a study."""
    runs = ["--runs", str(home / "runs")]
    return {
        "runs": ["runs", *runs],
        "runs --json": ["runs", "--json", *runs],
        "evaluate": ["evaluate", key, *runs],
        "evaluate --checkpoint": ["evaluate", key, "--checkpoint", "best-1", "--json", *runs],
        "evaluate --data": ["evaluate", key, "--data", f"path={home / 't.csv'}", *runs],
        "predict": ["predict", key, str(home / "t.csv"), *runs],
        "predict --json": ["predict", key, str(home / "t.csv"), "--json", *runs],
        "reproduce": ["reproduce", key, *runs],
        "resume": ["train", "--resume", key, *runs],
        "train": ["train", str(home / "runs" / key), "track.mlflow=false", *runs],
        "doctor": ["doctor", str(home / "runs" / key / "spec.yaml"), *runs[:0]],
        "sync": ["runs", "sync", key, "--uri", f"sqlite:///{home.parent}/mlflow.db", *runs],
        "train STUDY": ["train", str(home / "runs" / study), *runs],
        "sync STUDY": ["runs", "sync", study, "--uri", f"sqlite:///{home.parent}/mlflow.db", *runs],
        "sweep": ["sweep", str(home / "specs/s/s.yaml"), *runs],
    }
