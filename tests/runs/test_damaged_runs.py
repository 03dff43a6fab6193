"""Run folders with a damaged or swapped file: every command ends in a sentence, and none in a traceback or a wait."""

import contextlib
import json
import os
import random
import shutil
import warnings
from pathlib import Path

import pytest
from damages import KINDS, Home, command, commands, damage, files_of, made

from dlx import track
from dlx.runs.folder import RunFolder

NAMED = ("spec.yaml", "lock.json", "inputs.safetensors", "final.json", "final.safetensors")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Home:
    return made(tmp_path_factory.mktemp("home"))


def cases(home: Home) -> list[tuple[str, str, str, int]]:
    """Each kind of damage to each file of each sort of run."""
    keys = {which: getattr(home, which) for which in ("finished", "died", "ensemble", "study")}
    return [
        (which, key, name, place)
        for which, key in keys.items()
        for name in files_of(home.folder / "runs" / key)
        for place in range(len(KINDS))
    ]


def meeting(which: str, home: Path, key: str, study: str) -> dict[str, list[str]]:
    """The commands that meet a sort of run."""
    of_study = {"runs", "runs --json", "train STUDY", "sweep", "sync STUDY"}
    return {
        name: argv
        for name, argv in commands(home, key, study).items()
        if (name in of_study if which == "study" else name not in of_study - {"runs", "runs --json"})
        and (name != "resume" or which == "died")
        and (name != "reproduce" or which == "finished")
    }


def ends_in_a_sentence(home: Home, work: Path, case: tuple[str, str, str, int], seed: int, sync: bool) -> str:
    """Damage a copy, run one command that meets it, and tell what was wrong with how it ended."""
    which, key, name, place = case
    draw = random.Random(f"{seed} {which} {name} {place}")
    shutil.rmtree(work, ignore_errors=True)
    home.copied(work)
    known = [name for name in meeting(which, work, key, home.study) if sync or "sync" not in name]
    chosen = draw.choice(known)
    damage(work / "runs" / key / name, KINDS[place], work / "runs" / home.other / name, draw)
    what = f"{KINDS[place]} {which} {name}: dlx {chosen}"
    try:
        code, output = command(meeting(which, work, key, home.study)[chosen])
    except (Exception, AssertionError) as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"{what} raised {type(error).__name__}: {error}"
    if code not in {0, 1, 2} or "Traceback" in output or (code and not output.strip()):
        return f"{what} ended with {code}: {output[-300:]}"
    if chosen in {"runs", "runs --json"} and (code or home.other not in output):
        return f"{what} does not list the others: {output[-300:]}"
    return ""


@pytest.fixture
def quiet():
    """Warnings of libraries are no part of this, but for those of Python about our own files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", ResourceWarning)
        yield


@pytest.mark.usefixtures("quiet")
def test_a_few_damages_end_in_a_sentence(home, tmp_path):
    sampled = random.Random(5).sample(cases(home), 8)
    assert [output for case in sampled if (output := ends_in_a_sentence(home, tmp_path / "w", case, 5, False))] == []


@pytest.mark.slow
@pytest.mark.usefixtures("quiet")
def test_every_damage_of_every_file_ends_in_a_sentence(home, tmp_path):
    every = cases(home)
    assert len(every) >= 200
    assert [output for case in every if (output := ends_in_a_sentence(home, tmp_path / "w", case, 0, True))] == []


@pytest.mark.parametrize(
    ("name", "kind", "which", "sentence"),
    [
        ("checkpoints/final.safetensors", "swapped", "evaluate", "is a checkpoint of another network: `"),
        ("checkpoints/final.safetensors", "pipe", "predict", "it is a named pipe, and no file"),
        ("checkpoints/final.json", "deep", "evaluate", "is not what was written: its checksum differs"),
        ("checkpoints/step-000000020.safetensors", "swapped", "resume", "is a checkpoint of another network"),
        ("checkpoints/step-000000020.safetensors", "pipe", "resume", ""),
        ("inputs.safetensors", "pipe", "predict", "it is a named pipe, and no file"),
        ("inputs.safetensors", "empty", "evaluate --data", "cannot be read"),
        ("spec.yaml", "pipe", "evaluate", "it is a named pipe, and no file"),
        ("spec.yaml", "dangling", "reproduce", "it is a link to nowhere, which is not there"),
        ("spec.yaml", "pipe", "doctor", "is a named pipe, and no spec"),
        ("lock.json", "deep", "evaluate", "it is nested too deep"),
        ("metrics.jsonl", "binary", "reproduce", "cannot be read|is damaged|has not finished"),
    ],
)
def test_the_sentence_has_the_file(home, tmp_path, name, kind, which, sentence):
    key = home.died if which == "resume" else home.finished
    work = home.copied(tmp_path / "w")
    damage(work / "runs" / key / name, kind, work / "runs" / home.other / name, random.Random(0))
    code, output = command(commands(work, key, home.study)[which])

    if not sentence:  # the state before it is whole, and is gone on from
        assert code == 0
        return
    assert code in {1, 2}
    assert Path(name).stem in output or "has not finished" in output
    assert any(part in output for part in sentence.split("|"))
    assert not any(word in output for word in ("weights_only", "allow_pickle", "Traceback"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_run_does_not_take_the_list_down(home, tmp_path, kind):
    work = home.copied(tmp_path / "w")
    for name in ("metrics.jsonl", "lock.json", "ensemble.json"):
        damage(work / "runs" / home.finished / name, kind, work / "runs" / home.other / name, random.Random(0))
    code, output = command(["runs", "--each", "--runs", str(work / "runs")])

    assert code == 0
    assert all(f"{key} " in output for key in (home.finished, home.other, home.died))


def test_a_spec_may_come_through_a_pipe_of_the_shell(home):
    """`dlx inspect <(make-a-spec)`."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb") as file:
        file.write(b"network: {inputs: [4], layers: [{linear: 3}]}\n")
    try:
        code, output = command(["inspect", f"/dev/fd/{reading}"])
    finally:
        with contextlib.suppress(OSError):
            os.close(reading)
    assert (code, "15 parameters" in output) == (0, True)


OVERRIDES = ["~x", "~train.epochs", "+x=1", "++x=1", "x", "=", "x=", "~", "+", "~=1", "a=b=c", "x=[", "x={a", "~x=["]


@pytest.mark.parametrize("override", OVERRIDES)
def test_any_override_ends_in_a_sentence_on_any_command(home, override):
    runs = ["--runs", str(home.folder / "runs")]
    key = home.finished
    for argv in (
        ["evaluate", key, override, *runs],
        ["evaluate", override, *runs],
        ["evaluate", key, "--data", override, *runs],
        ["predict", override, str(home.folder / "t.csv"), *runs],
        ["predict", key, override, *runs],
        ["reproduce", override, *runs],
        ["reproduce", key, override, *runs],
        ["train", "--resume", home.died, override, *runs],
        ["train", "--resume", override, *runs],
        ["doctor", str(home.folder / "runs" / key / "gone.yaml"), override],
        ["inspect", str(home.folder / "runs" / key / "spec.yaml"), f"network.{override}"],
    ):
        code, output = command(argv)
        assert code == 2, (argv, output)
        assert output.strip(), argv


# --- the records of a run: how it came about, how long it took, what has arrived ------------------------------------

RECORDS = ("mlflow.json", "time.json", "origin.json", "lock.json")


@pytest.fixture
def delivered(home, tmp_path, empty_store) -> tuple[Path, Path]:
    """A copy of all runs, of which the finished one has arrived in a store and has all records; and that run."""
    work = home.copied(tmp_path / "w")
    run = RunFolder(work / "runs" / home.finished)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    run.write_json("time.json", {"forecast": {"seconds": 2.0, "low": 1.0, "high": 3.0}, "fact": {"seconds": 1.5}})
    run.write_json("origin.json", {"overrides": {"train.epochs": 4}})
    assert track.sync(run, f"sqlite:///{tmp_path}/mlflow.db").error == ""
    return work, run.dir


def records_met(work: Path, home: Home) -> dict[str, list[str]]:
    """The commands that read the records of runs."""
    runs = ["--runs", str(work / "runs")]
    return {
        "runs": ["runs", *runs],
        "runs --json": ["runs", "--json", *runs],
        "sync": ["runs", "sync", *runs],
        "compare": ["compare", home.finished, home.other, *runs],
        "report": ["report", home.finished, "--output", str(work / "report.html"), *runs],
        "resume": ["train", "--resume", home.died, *runs],
    }


def damaged(name: str, was: bytes) -> dict[str, bytes]:
    """Each damage to a record: torn, of another type, and each value of its first two levels odd or missing."""
    found = {"torn": was[: len(was) // 2], "empty": b"", "null": b"null", "list": b"[]"}
    document = json.loads(was)
    places = [(key,) for key in document]
    places += [(key, below) for key, value in document.items() if isinstance(value, dict) for below in value]
    for where in places:
        for odd in (None, [], {}, "text", -1, True, MISSING):
            copied = json.loads(was)
            at = copied[where[0]] if len(where) > 1 else copied
            if odd is MISSING:
                del at[where[-1]]
            else:
                at[where[-1]] = odd
            found[f"{'.'.join(where)} is {odd}"] = json.dumps(copied).encode()
    return {f"{name}: {what}": content for what, content in found.items()}


MISSING = "missing"


def wrong_at_the_end(argv: list[str], what: str, home: Home) -> str:
    """What was wrong with how a command ended; empty where it said what there is to say."""
    try:
        code, output = command(argv)
    except (Exception, AssertionError) as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return f"{what} raised {type(error).__name__}: {error}"
    if code not in {0, 1, 2} or "Traceback" in output or (code and not output.strip()):
        return f"{what} ended with {code}: {output[-300:]}"
    if argv[0] == "runs" and argv[1] != "sync" and (code or home.other not in output):
        return f"{what} does not list the others: {output[-300:]}"
    return ""


@pytest.mark.parametrize(
    ("name", "key", "value", "which", "sentence"),
    [
        ("mlflow.json", "began", "text", "sync", 'is damaged: `began` is a whole number, and here is "text"'),
        ("mlflow.json", "status", [], "sync", "is damaged: `status` is a text, and here is []; MLflow is asked what"),
        ("lock.json", "seed", "text", "runs", 'is damaged: `seed` is a whole number, and here is "text"'),
        ("lock.json", "data", None, "resume", "is damaged: `data` is an object, and here is null"),
        ("lock.json", "spec_hash", [], "resume", "is damaged: `spec_hash` is a text, and here is []"),
        ("lock.json", "seed", "text", "compare", 'is damaged: `seed` is a whole number, and here is "text"'),
    ],
)
@pytest.mark.usefixtures("quiet")
def test_a_damaged_record_is_told_with_the_value(home, delivered, name, key, value, which, sentence):
    work, run = delivered
    path = (work / "runs" / home.died if which == "resume" else run) / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    _, output = command(records_met(work, home)[which])

    assert sentence in " ".join(output.split())
    assert name in output


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.usefixtures("quiet")
def test_every_damage_of_a_record_ends_in_a_sentence(home, delivered, name):
    work, run = delivered
    died, found = work / "runs" / home.died, []
    if name != "lock.json":
        shutil.copy(run / name, died / name)
    whole = shutil.copytree(died, work / "died")
    for what, content in damaged(name, (run / name).read_bytes()).items():
        for which, argv in records_met(work, home).items():
            if which == "resume":
                continue
            (run / name).write_bytes(content)
            found.append(wrong_at_the_end(argv, f"{what}: dlx {which}", home))
    for what, content in damaged(name, (died / name).read_bytes()).items():
        (died / name).write_bytes(content)
        found.append(wrong_at_the_end(records_met(work, home)["resume"], f"{what}: dlx resume", home))
        shutil.rmtree(died)
        shutil.copytree(whole, died)
    assert len(found) > 50
    assert [one for one in found if one] == []
