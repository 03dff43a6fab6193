"""What commands of dlx left and said, as facts: a key, and a value that can be compared. For same_bits.py.

Tensors are facts of their own, by the hash of their values; curves a fact a record; JSON documents a fact a leaf.
Times, process numbers, run names and folders are left out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

Answers = dict[str, str]
"""Facts of a case, by key."""

OF_PROCESS = {"time", "seconds", "pid", "command", "commit", "platform", "python", "packages", "dlx", "times"}
OF_FILE = {"sha256", "facts_sha256", "bytes", "file"}
"""Of a checkpoint's own file. What is in it is compared by itself."""
RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
DURATION = re.compile(r"\b\d[\d.,]*(e-\d+)? ?(ms|s|min|h)\b")
NUMBER = re.compile(r"-?\b\d[\d.]*(e[+-]?\d+)?\b")
STEP = "step-*"
HERE = "is there"


def count(facts: Mapping[str, str]) -> int:
    """Values in facts: those of a tensor, the numbers of a record, and one of each other leaf."""
    total = 0
    for key, value in facts.items():
        if " values, sha256 " in value:
            total += int(value.split(" ", 1)[0])
        else:
            total += len(NUMBER.findall(value)) if "metrics.jsonl" in key else 1
    return total


def of_output(text: str, folder: Path) -> Answers:
    """Facts of what a command printed: a JSON document, or lines."""
    text = RUN.sub("RUN", text.replace(str(folder), "."))
    try:
        return dict(leaves(json.loads(text)))
    except ValueError:
        lines = DURATION.sub("TIME", text).splitlines()
        return {f"line {index}": line.rstrip() for index, line in enumerate(lines, 1)}


def of_files(runs: Path, states: bool) -> Answers:
    """Facts of all run folders and studies below `runs`; of checkpoints to resume from where `states` says so."""
    facts: Answers = {}
    names: Counter[str] = Counter()
    for folder in sorted((p for p in runs.glob("*/*") if p.is_dir()), key=_order):
        name = folder.name
        if RUN.fullmatch(name):
            names[folder.parent.name] += 1
            name = f"run-{names[folder.parent.name]}"
        where = f"{folder.parent.name}/{name}"
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            if states or not path.match(STEP):
                key = f"{where}/{path.relative_to(folder).as_posix()}"
                facts |= {f"{key}/{k}" if k else key: v for k, v in _of_file(path, runs.parent).items()}
    return facts


def _order(run: Path) -> tuple[str, float]:
    """By the spec, which has the seed, and among runs of one spec by when they began."""
    spec, records = run / "spec.yaml", run / "metrics.jsonl"
    first = next(iter(records.read_text().splitlines()), "{}") if records.exists() else "{}"
    return (spec.read_text() if spec.exists() else run.name, json.loads(first).get("time", 0))


def _of_file(path: Path, folder: Path) -> Answers:
    state = path.match(STEP)
    if path.suffix == ".safetensors":
        found = tensors(path)
        if state:  # by their values: how a state is laid out is not compared
            return {f"{value} #{n}": HERE for value, many in Counter(found.values()).items() for n in range(many)}
        return found
    if path.suffix == ".jsonl":
        return dict(_records(path, folder))
    text = RUN.sub("RUN", path.read_text(errors="replace").replace(str(folder), "."))
    if path.suffix == ".json":
        document = json.loads(text)
        if state:
            document = {key: document.get(key) for key in ("step", "epoch", "metrics")}
        if "checkpoints" in path.parts:
            document = {k: v for k, v in document.items() if k not in OF_FILE}
        return dict(leaves(document))
    return {"": f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"}


def _records(path: Path, folder: Path) -> Iterator[tuple[str, str]]:
    """Records of a curve by their order, those of a study by their text, which several processes write."""
    seen: Counter[str] = Counter()
    for line in path.read_text().replace(str(folder), ".").splitlines():
        record = {key: value for key, value in json.loads(line).items() if key not in OF_PROCESS}
        text = RUN.sub("RUN", json.dumps(record))
        if path.name == "metrics.jsonl":
            if record.get("record") == "start":  # once more where a run is resumed, which may be anywhere
                yield "start", text
            else:
                seen[""] += 1
                yield str(seen[""]), text
        else:
            seen[text] += 1
            yield f"{text} #{seen[text]}", HERE


def tensors(path: Path) -> Answers:
    """Facts of a safetensors file: dtype, shape and hash of each tensor, and what is said about them."""
    with path.open("rb") as file:
        head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        start, facts = file.tell(), {}
        for key, value in head.pop("__metadata__", {}).items():
            try:
                facts |= leaves(json.loads(value), f"about {key}")
            except ValueError:
                facts[f"about {key}"] = value
        for name, tensor in head.items():
            first, last = tensor["data_offsets"]
            file.seek(start + first)
            digest = hashlib.sha256(file.read(last - first)).hexdigest()
            size = "x".join(map(str, tensor["shape"])) or "scalar"
            facts[name] = f"{prod(tensor['shape'])} values, sha256 {digest[:32]}, {tensor['dtype']} {size}"
    return facts


def leaves(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a JSON document by their path, without what is of the process."""
    if isinstance(value, dict) and value:
        for name, child in value.items():
            if name not in OF_PROCESS or isinstance(child, dict):
                yield from leaves(child, f"{key}/{name}" if key else str(name))
    elif isinstance(value, list) and value:
        for index, child in enumerate(value):
            yield from leaves(child, f"{key}/{index}" if key else str(index))
    else:
        yield key, DURATION.sub("TIME", json.dumps(value)) if isinstance(value, str) else json.dumps(value)
