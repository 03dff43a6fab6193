"""The run folder: what is written stands, and can be found again."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlx.errors import DlxError, RunError
from dlx.runs.folder import ID, RunFolder, new_id
from dlx.runs.lookup import all_runs, find
from dlx.runs.records import RECORDS


@pytest.fixture
def run(tmp_path):
    with RunFolder.create(tmp_path, "lenet") as run:
        yield run


def start():
    return {"record": "start", "time": time.time()}


def step(n, **metrics):
    return {
        "record": "step",
        "time": time.time(),
        "step": n,
        "epoch": n / 10,
        "metrics": metrics or {"train/running_loss": 1 / n},
    }


def end(status="finished"):
    return {
        "record": "end",
        "time": time.time(),
        "step": 9,
        "seconds": 1.5,
        "status": status,
        "message": "",
        "metrics": {},
    }


def lock(run, pid):
    run.write_json("lock.json", {"pid": pid})


def gone():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_ids_sort_by_time_and_differ(tmp_path):
    ids = [RunFolder.create(tmp_path, "lenet").id for _ in range(50)]

    assert ids == sorted(set(ids))
    assert all(ID.fullmatch(i) for i in ids)
    assert new_id()[:8] == time.strftime("%Y%m%d", time.gmtime())


def test_two_runs_of_the_same_instant_get_two_folders(tmp_path, monkeypatch):
    ids = iter(["20260101-000000-0000", "20260101-000000-0000", "20260101-000000-0001"])
    monkeypatch.setattr("dlx.runs.folder.new_id", lambda: next(ids))

    assert [RunFolder.create(tmp_path, "lenet").id for _ in range(2)] == [
        "20260101-000000-0000",
        "20260101-000000-0001",
    ]


def test_what_was_appended_is_read_back_at_once(run):
    records = [start(), step(1, **{"train/running_loss": 0.5, "lr": 1e-3}), end()]
    for n, record in enumerate(records, 1):
        run.append(record)
        assert list(RunFolder(run.dir).records()) == records[:n]

    assert (run.name, run.key) == ("lenet", f"lenet/{run.id}")


def test_numbers_that_json_lacks_are_saved(run):
    run.append(step(1, a=math.nan, b=math.inf, c=-math.inf, d=1))

    (record,) = run.records()
    assert math.isnan(record["metrics"]["a"])
    assert (record["metrics"]["b"], record["metrics"]["c"], record["metrics"]["d"]) == (math.inf, -math.inf, 1)
    assert json.loads((run.dir / RECORDS).read_text(), parse_constant=pytest.fail)["metrics"]["a"] == "nan"


@pytest.mark.parametrize(
    "torn", [b'{"record": "st', b'{"record": "step", "time": 1, "step": 3}', b"\xff\xfe", b"\0" * 20_000]
)
def test_half_a_line_at_the_end_hides_no_good_one(run, torn):
    run.append(step(1))
    run.append(step(2))
    run.close()
    with (run.dir / RECORDS).open("ab") as file:
        file.write(torn)

    assert [r["step"] for r in run.records()] == [1, 2]
    assert run.last()["step"] == 2
    run.append(step(3))
    assert [r["step"] for r in run.records()] == [1, 2, 3]


def test_a_damaged_line_hides_no_other(run):
    run.append(step(1))
    run.close()
    with (run.dir / RECORDS).open("ab") as file:
        file.write(b"\0\0\0\n[1]\n")
    run.append(step(2))

    assert [r["step"] for r in run.records()] == [1, 2]


def test_the_last_record_is_found_behind_any_length(run):
    assert run.last() is None
    run.append(step(1, **{f"metric_{n}": n for n in range(5_000)}))
    assert run.last()["metrics"]["metric_4999"] == 4999
    run.append(step(2, **{f"metric_{n}": n for n in range(20_000)}))
    assert run.last()["step"] == 2
    run.append(end())
    assert run.last()["record"] == "end"


def test_places_in_the_file_lead_on(run):
    for n in range(1, 5):
        run.append(step(n))
    places = [place for _, place in run.records_from(0)]

    assert [r["step"] for r, _ in run.records_from(places[1])] == [3, 4]
    assert list(run.records_from(places[-1])) == []


@pytest.mark.parametrize("status", ["finished", "failed", "stopped"])
def test_status_is_what_the_end_record_says(run, status):
    run.append(end(status))

    assert run.status() == status
    assert run.end()["status"] == status


def test_a_run_without_an_end_runs_as_long_as_its_process(run):
    assert run.status() == "died"
    run.append(start())
    lock(run, os.getpid())
    assert run.status() == "running"
    lock(run, gone())
    assert run.status() == "died"


def test_a_later_process_of_the_same_number_is_another(run):
    lock(run, os.getpid())
    os.utime(run.dir / "lock.json", (1_000_000, 1_000_000))

    assert run.status() == "died"


def test_a_run_that_was_taken_up_again_is_running(run):
    lock(run, os.getpid())
    for record in (start(), step(1), end("stopped"), start(), step(2)):
        run.append(record)

    assert (run.status(), run.end()) == ("running", None)


def test_a_file_is_written_whole_or_not_at_all(run, monkeypatch):
    run.write_json("plan.json", {"params": 1})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(RunError, match=r"plan\.json cannot be written: no space left on device"):
        run.write_json("plan.json", {"params": 2})
    assert run.read_json("plan.json") == {"params": 1}
    assert sorted(p.name for p in run.dir.iterdir()) == ["checkpoints", "plan.json"]


def test_a_file_that_is_no_object_is_reported(run):
    assert run.read_json("none.json") == {}
    run.write_text("torn.json", '{"a": ')
    run.write_text("list.json", "[]")
    with pytest.raises(DlxError, match=r"torn\.json cannot be read"):
        run.read_json("torn.json")
    with pytest.raises(DlxError, match=r"list\.json does not hold a JSON object"):
        run.read_json("list.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_reported(run):
    (run.dir / RECORDS).symlink_to("/dev/full")

    with pytest.raises(RunError, match=r"metrics\.jsonl cannot be written: no space left on device"):
        run.append(start())


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_root_that_is_a_file_is_reported(tmp_path, below):
    (tmp_path / "runs").write_text("not a folder")

    with pytest.raises(DlxError) as output:
        RunFolder.create(tmp_path / "runs" / below, "lenet")
    assert str(output.value).startswith(
        f"  runs cannot be written to {tmp_path / 'runs' / below / 'lenet'}: not a directory"
    )
    assert "`--runs DIR`" in str(output.value)
    assert output.value.exit_code == 2


def test_the_newest_run_comes_first(tmp_path):
    first, second, third = (RunFolder.create(tmp_path, name) for name in ("b", "a", "c"))
    (tmp_path / "mlartifacts" / "models").mkdir(parents=True)
    (tmp_path / "notes").write_text("")

    assert [r.dir for r in all_runs(tmp_path)] == [third.dir, second.dir, first.dir]
    assert all_runs(tmp_path / "nowhere") == []


def test_a_run_is_found_by_any_name_of_it(tmp_path, monkeypatch):
    ids = ["20260101-000000-0000", "20260101-000000-8000", "20260202-000000-0000"]
    for name, i in zip(["lenet", "lenet", "resnet"], ids, strict=True):
        monkeypatch.setattr("dlx.runs.folder.new_id", lambda i=i: i)
        RunFolder.create(tmp_path, name).write_text("lock.json", "")

    def found(text):
        return find(text, tmp_path).key

    assert found("last") == f"resnet/{ids[2]}"
    assert found(f"lenet/{ids[0]}") == found(ids[0]) == found(str(tmp_path / "lenet" / ids[0])) == f"lenet/{ids[0]}"
    assert found("20260101-000000-8") == found("lenet/20260101-000000-8") == f"lenet/{ids[1]}"
    assert found("202602") == found("resnet") == found("resnet/") == f"resnet/{ids[2]}"
    monkeypatch.setattr("dlx.runs.folder.new_id", lambda: "20260301-000000-aaaa")
    RunFolder.create(tmp_path, "resnet-50").write_text("lock.json", "")
    assert found("resnet") == f"resnet/{ids[2]}"  # by its name, of which another is the beginning
    assert found("resnet-") == "resnet-50/20260301-000000-aaaa"
    assert found("lenet") == found("lenet/") == found("le") == f"lenet/{ids[1]}"  # the newest of a name
    with pytest.raises(
        DlxError, match=rf"`20260101` may be any of 2 runs: lenet/{ids[1]}, lenet/{ids[0]}\n  Write more"
    ):
        found("20260101")
    with pytest.raises(DlxError, match=r"`lenet/2026` may be any of 2 runs"):
        found("lenet/2026")
    with pytest.raises(DlxError, match=r"`r` may be any of 2 runs: resnet-50/.*, resnet/"):
        found("r")
    with pytest.raises(DlxError, match=r"there is no run `resnt` in .*\n  Did you mean `resnet`"):
        found("resnt")
    with pytest.raises(DlxError, match=r"there is no run `` in "):
        found("")


def test_a_name_is_of_a_training_before_a_baseline_and_of_an_ensemble_before_its_members(tmp_path):
    old, whole, member, baseline = (RunFolder.create(tmp_path, "wide") for _ in range(4))
    whole.write_json("ensemble.json", {"members": [member.key]})
    baseline.write_json("baseline.json", {"label": "knn"})
    assert find("wide", tmp_path).key == whole.key
    assert find("last", tmp_path).key == baseline.key

    (whole.dir / "ensemble.json").unlink()
    assert find("wide", tmp_path).key == member.key
    RunFolder.create(tmp_path, "alone").write_json("baseline.json", {"label": "knn"})
    assert find("alone", tmp_path).baseline() == "knn"
    assert find(old.id, tmp_path).key == old.key


def test_where_no_run_is_the_way_to_one_is_reported(tmp_path):
    with pytest.raises(DlxError, match=r"there is no run `last`: .* holds none\n  `dlx train SPEC` makes one"):
        find("last", tmp_path)


def test_the_folder_needs_neither_torch_nor_mlflow():
    code = "import sys, dlx.runs, dlx.track; sys.exit(any(m in sys.modules for m in ('torch', 'mlflow', 'numpy')))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"step": "9"},
        {"status": ["finished"]},
        {"metrics": {"valid/loss": "high"}},
        {"metrics": [1]},
        {"seconds": None},
        {"time": "inf"},
        {"kept": [{"name": "best-1"}]},
        {"best": 3},
    ],
)
def test_an_end_record_of_another_form_is_said_to_be_damaged(run, broken):
    run.append(start(), end() | broken)

    with pytest.raises(DlxError, match=r"metrics\.jsonl is damaged: its last line is no record of a run"):
        run.status()


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        ({"threads": "two"}, r"lock\.json is damaged: `threads` is a number of threads, and here is \"two\""),
        ({"threads": -1}, "`threads` is a number of threads, and here is -1"),
        ({"data": [1]}, r"`data` is an object, and here is \[1\]"),
        ({"data": {"digest": 5}}, r"`data\.digest` is a text, and here is 5"),
    ],
)
def test_a_lock_of_another_form_is_said_to_be_damaged(run, lock, sentence):
    run.write_json("lock.json", lock)

    with pytest.raises(DlxError, match=sentence):
        run.lock()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: path.mkdir(), "it is a folder, and no file"),
        (os.mkfifo, "it is a named pipe, and no file"),
        (lambda path: path.symlink_to("gone"), "it is a link to gone, which is not there"),
        (lambda path: path.symlink_to(path.name), "too many levels of symbolic links"),
        (lambda path: path.write_bytes(b'{"a": ' * 100_000), "nested too deep"),
        (lambda path: path.write_bytes(b'{"a": ' * 200 + b"1" + b"}" * 200), "nested too deep"),
        (lambda path: path.write_bytes(b"\xff\x00"), "it is no text in UTF-8"),
    ],
)
@pytest.mark.parametrize("name", ["lock.json", RECORDS])
def test_what_is_no_file_or_no_json_is_reported_and_not_waited_for(run, name, make, sentence):
    run.append({**end(), "time": time.time()})
    path = run.dir / name
    path.unlink(missing_ok=True)
    make(path)
    if name == RECORDS and path.is_file():
        with path.open("ab") as file:
            file.write(b"\n")
        sentence = "its last line is no record of a run"

    with pytest.raises(DlxError, match=sentence):
        run.lock() if name == "lock.json" else run.status()


def test_last_is_found_beside_a_damaged_run(tmp_path):
    first, last = RunFolder.create(tmp_path, "a"), RunFolder.create(tmp_path, "b")
    (first.dir / "ensemble.json").write_text("[")
    for run in (first, last):
        run.append(start(), end())

    assert find("last", tmp_path).key == last.key


@pytest.mark.parametrize("name", ["~x", "~nobody/runs"])
def test_a_home_that_there_is_not_is_no_run(tmp_path, name):
    RunFolder.create(tmp_path, "a").append(start(), end())

    with pytest.raises(DlxError, match=f"there is no run `{name}`"):
        find(name, tmp_path)


def test_commands_take_a_run_elsewhere_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, elsewhere = RunFolder.create(Path("runs"), "s"), RunFolder.create(tmp_path / "my runs", "s")
    elsewhere.write_json("lock.json", {})
    assert here.argument == here.key
    assert elsewhere.argument == f"'{elsewhere.dir}'"
    assert find(elsewhere.argument.strip("'"), Path("runs")).dir == elsewhere.dir
