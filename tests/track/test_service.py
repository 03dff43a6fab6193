"""The mirror that serves many trainings: each run once, whoever ends it, never with other settings or old code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from commands import dlx, started
from filelock import FileLock

from dlx import track
from dlx.data import cache, known_facts
from dlx.errors import DataError
from dlx.runs.folder import RunFolder
from dlx.track import drawing, keeper, mirror, service, spool, store
from dlx.track.sync import RunDelivery
from dlx.utils import imports, passwords

DEAD = 2**22 + 7
"""A number that no process has: Linux ends at 2**22."""


@pytest.fixture
def root(tmp_path, empty_store, monkeypatch):
    """A folder of runs with a store, and a cache of its own; a mirror stays for an hour."""
    monkeypatch.setenv("DLX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(spool.IDLE, "3600")
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    return tmp_path / "runs"


def finished(root, steps=3):
    run = RunFolder.create(root, "digits")
    run.append({"record": "start", "time": 100.0})
    for n in range(1, steps + 1):
        run.append({"record": "step", "time": 100.0 + n, "step": n, "epoch": 0.1, "metrics": {"loss": 1 / n}})
    run.append({"record": "end", "time": 200.0, "step": steps, "seconds": 1.0, "status": "finished", "metrics": {}})
    run.close()
    return run


def uri_of(root):
    return f"sqlite:///{root}/mlflow.db"


def asked(root, *runs, pid=DEAD):
    home = spool.folder_of(uri_of(root))
    home.mkdir(parents=True, exist_ok=True)
    request = spool.ask(home, [run.dir for run in runs], uri_of(root), "digits")
    made = replace(request, pid=pid)
    made.write()
    return made


def served(root):
    """Serve what was asked for in this process, and end."""
    return service.Service(spool.folder_of(uri_of(root)), 0.0).serve()


def curves(root):
    """Of each MLflow run its status and the points of its loss, by the name of its folder."""
    client = store.connect(uri_of(root))
    (experiment,) = client.search_experiments(filter_string="name = 'digits'")
    found = client.search_runs([experiment.experiment_id])
    points = {run.info.run_id: client.get_metric_history(run.info.run_id, "loss") for run in found}
    each = [(run.data.tags["dlx.run"], run.info.status, [m.step for m in points[run.info.run_id]]) for run in found]
    assert len({key for key, *_ in each}) == len(each)
    return {key: (status, steps) for key, status, steps in each}


def test_requests_of_several_trainings_are_delivered_by_one_process_each_once(root):
    first, second, third = (finished(root, n) for n in (3, 4, 5))
    asked(root, first)
    asked(root, second, third)
    assert served(root) == 0
    assert curves(root) == {
        first.key: ("FINISHED", [1, 2, 3]),
        second.key: ("FINISHED", [1, 2, 3, 4]),
        third.key: ("FINISHED", [1, 2, 3, 4, 5]),
    }
    assert not spool.requests(spool.folder_of(uri_of(root)))
    asked(root, first)  # a run that was resumed and ended at once
    assert served(root) == 0
    assert curves(root)[first.key] == ("FINISHED", [1, 2, 3])


def test_a_training_asks_the_mirror_that_is_there_and_learns_how_it_stands(root, monkeypatch):
    begun = []
    monkeypatch.setattr(mirror, "_begin", lambda *about: begun.append(about))
    run = finished(root)
    (one,) = mirror.start_all([run], None, "digits")
    ((module, (home, idle), *_),) = begun
    assert (module, Path(home), float(idle)) == ("dlx.track.service", one.request.home, 3600.0)
    with FileLock(one.request.home / spool.SERVED):
        more = finished(root)
        (other,) = mirror.start_all([more], None, "digits")
        assert len(begun) == 1
        assert (one.finish(0), other.finish(0)) == ("behind", "behind")
        assert other.request.home == one.request.home
    # whoever was to deliver is gone, and another one cannot be started
    assert one.finish(0).startswith("failed: the mirror has ended; ")
    assert len(begun) == 2
    assert service.Service(one.request.home, 0.0).serve() == 0
    assert (one.finish(0), other.finish(0)) == ("delivered", "delivered")


def test_a_mirror_that_is_killed_or_begins_anew_as_a_training_ends_has_its_work_taken_up(
    root, monkeypatch, copied_mirrors
):
    monkeypatch.setenv(spool.IDLE, "0.1")
    run = finished(root)
    home = spool.folder_of(uri_of(root))
    home.mkdir(parents=True)
    with FileLock(home / spool.SERVED):  # the mirror of another training
        (one,) = mirror.start_all([run], None, "digits")
    assert one.process is None
    assert one.finish(300) == "delivered"
    assert curves(root) == {run.key: ("FINISHED", [1, 2, 3])}


def test_a_mirror_is_begun_ahead_of_the_run_that_asks_it(root, monkeypatch):
    begun = []
    monkeypatch.setattr(mirror, "_begin", lambda *about: begun.append(about))
    track.begin(root)
    (one,) = mirror.start_all([finished(root)], None, "digits")
    (ahead, asked_for) = begun
    assert ahead == asked_for
    with FileLock(one.request.home / spool.SERVED):
        track.begin(root)
    monkeypatch.setenv(spool.IDLE, "0")
    track.begin(root)
    assert len(begun) == 2


MIRROR = """
import gc, runpy, sys

try:
    runpy.run_module("dlx.track.service", run_name="__main__")
finally:
    print("mlflow" in sys.modules, gc.get_freeze_count() > 100_000, gc.isenabled())
"""


def test_a_mirror_that_nobody_has_asked_yet_imports_mlflow_without_a_look_for_garbage_in_it(root):
    home = spool.folder_of(uri_of(root))
    home.mkdir(parents=True)
    done = subprocess.run([sys.executable, "-c", MIRROR, str(home), "0"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "True"]


SPEC = "name: s\ndata: {digits: {train: 40}}\nnetwork: {layers: [flatten, {linear: 10}]}\ntrain: {epochs: 1}\n"
TRAINING = """
import sys
from dlx.experiment import runner
from dlx.spec import load
from dlx.track import mirror

mirror._begin = lambda *about: print("torch" in sys.modules)
runner.run(load("s.yaml", sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("changes", "begun"),
    [
        ((), ["False", "True"]),  # and again, as the first has not come to serve
        (("track.mlflow=false",), []),
        (("data={images: {path: nowhere}}",), []),
        (("network.layers=[flatten, {linear: 9}]",), []),
    ],
)
def test_a_training_begins_its_mirror_when_its_spec_is_right_and_torch_is_not_imported(root, changes, begun):
    (root / "s.yaml").write_text(SPEC)
    done = subprocess.run(
        [sys.executable, "-c", TRAINING, *changes], capture_output=True, text=True, cwd=root, check=False
    )
    assert done.stdout.split() == begun
    assert (done.returncode == 0) == (not changes or changes == ("track.mlflow=false",)), done.stderr


def test_a_user_without_a_folder_for_caches_has_a_mirror_of_the_training_alone(root, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("DLX_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)

    assert mirror._asked([finished(root)], uri_of(root), "digits") == []


def test_a_request_is_seen_by_a_mirror_that_is_about_to_end(root):
    home = spool.folder_of(uri_of(root))
    one = service.Service(home, 0.0)
    run = finished(root)
    asked(root, run)
    lock = FileLock(home / spool.SERVED)
    lock.acquire()
    assert not one.closes(lock)
    assert spool.is_served(home)
    spool.requests(home)[0].path.unlink()
    assert one.closes(lock)
    assert not spool.is_served(home)


def test_two_mirrors_of_a_store_do_not_serve_together(root):
    asked(root, finished(root))
    with FileLock(spool.folder_of(uri_of(root)) / spool.SERVED):
        assert served(root) == 0
    assert len(spool.requests(spool.folder_of(uri_of(root)))) == 1


def test_what_a_killed_mirror_has_begun_is_gone_on_with_and_dropped_where_it_ends_each(root):
    run = finished(root)
    request = asked(root, run)
    service.Job(request)  # it is killed here
    (left,) = spool.requests(request.home)
    assert left.begun == 1
    for begun in range(1, spool.TRIES):
        service.Job(replace(left, begun=begun))
    assert served(root) == 0
    assert not spool.requests(request.home)
    assert not (run.dir / "mlflow.json").exists()  # each was ended by it: `dlx runs sync` says why
    asked(root, run)
    assert served(root) == 0
    assert curves(root) == {run.key: ("FINISHED", [1, 2, 3])}


def test_what_a_keeper_has_ended_the_starved_mirrors_of_is_delivered_by_the_last(root):
    run = finished(root)
    request = asked(root, run)
    for begun, _ in enumerate(keeper.STEPS):
        service.Job(replace(request, begun=begun))  # on a busy machine it ended this one, which it may not raise
    assert spool.requests(request.home)[0].begun == len(keeper.STEPS)
    assert served(root) == 0
    assert curves(root) == {run.key: ("FINISHED", [1, 2, 3])}


def test_a_store_that_was_replaced_is_for_another_process(root, empty_store):
    one, run = service.Service(spool.folder_of(uri_of(root)), 0.0), finished(root)
    request = asked(root, run)
    one.take()
    assert not one.is_outdated()
    with (root / "mlflow.db").open():  # as a connection has it: the number of a file that nobody has is used anew
        (root / "mlflow.db").unlink()
        shutil.copy(empty_store, root / "mlflow.db")
        assert one.serve() == service.AGAIN
    assert [left.begun for left in spool.requests(request.home)] == [0]
    assert served(root) == 0
    assert run.read_json("mlflow.json")["error"] == ""


def test_code_that_has_changed_on_disk_is_for_another_process(root, tmp_path, monkeypatch):
    (tmp_path / "changing.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    import changing

    os.utime(changing.__file__, (2.0, 2.0))
    found = imports.Files()
    assert not found.have_changed()
    os.utime(changing.__file__, (1.0, 1.0))  # an older version is put in its place
    assert found.have_changed()
    found = imports.Files()
    os.utime(changing.__file__, ns=(time.time_ns(),) * 2)
    assert found.have_changed()  # written after this process began
    os.utime(changing.__file__, (time.time() + 86_400,) * 2)
    found = imports.Files()
    assert not found.have_changed()  # of a clock that is ahead: begun anew, a process would find the same
    os.utime(changing.__file__, (time.time() + 86_401,) * 2)
    assert found.have_changed()
    del sys.modules["changing"]


def test_other_settings_have_another_mirror_and_other_terminals_do_not(root, monkeypatch, tmp_path):
    here = spool.folder_of("http://x")
    monkeypatch.setenv("SHLVL", "7")
    monkeypatch.setenv("COLUMNS", "77")
    assert spool.folder_of("http://x") == here
    seen = {here, spool.folder_of("http://y")}
    for name in ("MLFLOW_TRACKING_TOKEN", "AWS_PROFILE", "NEVER_HEARD_OF"):
        monkeypatch.setenv(name, "other")
        seen.add(spool.folder_of("http://x"))
        monkeypatch.delenv(name)
    with monkeypatch.context() as patched:
        patched.setattr(spool, "__version__", "0.0.9")
        seen.add(spool.folder_of("http://x"))
    with monkeypatch.context() as patched:
        patched.setattr(sys, "executable", "/other/python")
        seen.add(spool.folder_of("http://x"))
    with monkeypatch.context() as patched:
        patched.chdir(tmp_path)
        seen.add(spool.folder_of("http://x"))
    with monkeypatch.context() as patched:
        patched.setattr(passwords, "_KNOWN", {"http://me:***@x": "http://me:secret@x"})
        seen.add(spool.folder_of("http://x"))
    assert len(seen) == 9
    assert "secret" not in str(seen)


def nobody():
    raise RuntimeError("Could not determine home directory.")


def test_who_cannot_share_a_mirror_has_one_of_its_own(root, monkeypatch):
    def own(run, **more):
        with monkeypatch.context() as patched:
            patched.setattr(mirror, "_launch", lambda *_: None)
            patched.setattr(mirror, "_begin", lambda *_: None)
            return mirror.start_all([run], None, "digits", **more)[0].request is None

    run = finished(root)
    assert not own(run)
    assert own(run, system_metrics=True)
    assert own(run, mlflow=False)
    (run.dir / "plugins").mkdir()
    assert own(run)  # its kinds would stay in the process
    (run.dir / "plugins").rmdir()
    monkeypatch.setattr(spool, "DOOR_SECONDS", 0.0)
    with FileLock(spool.folder_of(uri_of(root)) / spool.DOOR):
        assert own(run)
    monkeypatch.setenv(spool.IDLE, "0")
    assert own(run)
    monkeypatch.setenv(spool.IDLE, "3600")
    monkeypatch.setenv("DLX_CACHE", "/dev/null/x")
    assert own(run)
    monkeypatch.setattr(cache.Path, "home", nobody)
    for name in ("DLX_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert own(run)
    with pytest.raises(DataError, match="there is no home folder for the cache"):
        cache.cache_folder()
    assert known_facts.known_facts(None, [], lambda: "read") == "read"


def test_a_folder_that_is_gone_keeps_nobody_waiting(root, capsys):
    gone, run = finished(root), finished(root)
    asked(root, gone)
    shutil.rmtree(gone.dir)
    asked(root, run)
    assert served(root) == 0
    assert curves(root)[run.key] == ("FINISHED", [1, 2, 3])
    assert not spool.requests(spool.folder_of(uri_of(root)))


def test_a_run_that_is_removed_while_its_process_lives_is_not_followed(root, monkeypatch):
    monkeypatch.setattr("dlx.track.model.load_guests", lambda: None)
    run = finished(root)
    (run.dir / "metrics.jsonl").unlink()
    one = service.Service(spool.folder_of(uri_of(root)), 0.0)
    asked(root, run, pid=os.getpid())
    one.take()
    one.step(one.jobs[0])
    assert one.jobs
    shutil.rmtree(run.dir)
    one.step(one.jobs[0])
    assert not one.jobs
    assert not spool.requests(one.home)


def test_a_run_that_is_removed_while_it_is_delivered_stays_removed(root, monkeypatch):
    run, other = finished(root), finished(root)
    deliver = RunDelivery.deliver

    def removed(self, final):
        if self.folder.dir == run.dir:
            shutil.rmtree(run.dir)
        deliver(self, final)

    monkeypatch.setattr(RunDelivery, "deliver", removed)
    asked(root, run, other)
    assert served(root) == 0
    assert sorted(path.name for path in run.dir.parent.iterdir()) == [other.id]
    assert curves(root)[other.key] == ("FINISHED", [1, 2, 3])
    assert not RunDelivery(run.dir, uri_of(root), "digits").sync().complete
    assert not run.dir.exists()


def test_a_process_that_got_the_number_of_a_training_later_is_not_that_training(root):
    request = asked(root, finished(root), pid=os.getpid())
    assert request.trains
    assert not replace(request, number=10**9).trains


def test_folders_that_nobody_has_had_for_a_week_are_removed(root):
    home = spool.folder_of(uri_of(root))
    old, used, new = (home.parent / name for name in ("old", "used", "new"))
    for one in (home, old, used, new):
        one.mkdir(parents=True)
    with FileLock(used / spool.SERVED):
        for one in (old, used):
            os.utime(one, (1.0, 1.0))
        spool.prune(home)
    assert sorted(one.name for one in home.parent.iterdir()) == sorted([home.name, "used", "new"])


def test_pictures_are_drawn_beside_it_by_one_process_and_arrive(root, monkeypatch):
    monkeypatch.setenv("DLX_MIRROR_FIGURES", "")
    each, drawers = [finished(root), finished(root)], set()
    for run in each:
        asked(root, run)
    begin = drawing.Drawer.begin

    def noted(drawer, folders):
        begin(drawer, folders)
        drawers.add(drawer.process.pid)

    monkeypatch.setattr(drawing.Drawer, "begin", noted)
    assert served(root) == 0
    assert len(drawers) == 1
    assert not drawers & set(psutil.pids())
    for run in each:
        client, state = store.connect(uri_of(root)), run.read_json("mlflow.json")
        assert [found.path for found in client.list_artifacts(state["run_id"], "figures")] == ["figures/curves.svg"]
        assert f"network.svg of {run.key} was not drawn: " in (run.dir / "mlflow.log").read_text()


def drawn_with(root, run, drawer, disturb):
    """Have the pictures of a run drawn, with `disturb` called for each process that begins; return its log."""
    job = service.Job(asked(root, run))
    while not job.is_delivered:
        job.poll()
    drawer.begin([run.dir])
    job.draws, seen, until = True, [], time.monotonic() + 120
    while True:
        if time.monotonic() > until:  # without its limit it would wait for ever
            drawer.process.kill()
            pytest.fail("the pictures have not come to an end")
        if drawer.process.pid not in seen:
            seen.append(drawer.process.pid)
            disturb(drawer.process, len(seen))
        if job.draw(drawer):
            break
        time.sleep(0.05)
    job.close()
    return (run.dir / "mlflow.log").read_text()


def test_pictures_that_do_not_come_to_an_end_are_left_to_the_command(root, monkeypatch):
    monkeypatch.setenv("DLX_MIRROR_FIGURES", "")
    monkeypatch.setattr(drawing, "LONGEST", 0.0)
    first, second, drawer, hanging = finished(root), finished(root), drawing.Drawer(root), []

    def stopped(process, _):
        hanging.append(process)
        process.send_signal(signal.SIGSTOP)

    log = drawn_with(root, first, drawer, stopped)
    assert [one.poll() for one in hanging] == [-signal.SIGKILL]
    assert "there are no pictures: they take more than 0 seconds; `dlx runs sync RUN` draws them" in log
    monkeypatch.setattr(drawing, "LONGEST", 600.0)
    drawn_with(root, second, drawer, lambda *_: None)  # the next has its pictures
    drawer.close()
    assert (second.dir / "artifacts/figures/curves.svg").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_pictures_whose_process_is_killed_are_drawn_by_another_and_after_two_by_the_command(root, monkeypatch, times):
    monkeypatch.setenv("DLX_MIRROR_FIGURES", "")
    run, drawer = finished(root), drawing.Drawer(root)
    log = drawn_with(root, run, drawer, lambda process, count: process.kill() if count <= times else None)
    drawer.close()

    sentences = {
        1: "the process that draws pictures was ended, and another one has drawn these",
        2: "there are no pictures: 2 processes that were to draw them were ended; `dlx runs sync RUN` draws them",
    }
    assert sentences[times] in log
    assert (run.dir / "artifacts/figures/curves.svg").exists() == (times == 1)
    state = run.read_json("mlflow.json")
    there = store.connect(uri_of(root)).list_artifacts(state["run_id"], "figures")
    assert [found.path for found in there] == (["figures/curves.svg"] if times == 1 else [])


@pytest.mark.slow
def test_pictures_are_drawn_by_the_code_that_is_on_disk(root, monkeypatch, tmp_path):
    (tmp_path / "code").mkdir()
    package = Path(drawing.__file__).parents[1]
    shutil.copytree(package, tmp_path / "code" / "dlx", ignore=shutil.ignore_patterns("__pycache__"))
    environment = mirror.child_environment() | {"PYTHONPATH": str(tmp_path / "code"), "DLX_MIRROR_FIGURES": ""}
    monkeypatch.setattr(drawing, "child_environment", lambda: environment)
    drawer, first, second = drawing.Drawer(root), finished(root), finished(root)

    def drawn(run):
        drawer.begin([run.dir])
        while (problems := drawer.problems()) is None:
            time.sleep(0.05)
        return problems

    drawn(first)
    process = drawer.process
    pictures = tmp_path / "code" / "dlx" / "report" / "artifacts.py"
    pictures.write_text(pictures.read_text() + "\n\ndef write(_):\n    return ['drawn by the new code']\n")
    assert drawn(second) == [["drawn by the new code"]]
    drawer.close()
    assert process.poll() == drawing.AGAIN


SPEC = """\
dlx: 1
name: tiny
data: {synthetic: {shape: [4], classes: 2, train: 40, test: 10}}
network: {layers: [{linear: 2}]}
train: {steps: 60, batch_size: 5, log_every: 1}
"""


@pytest.mark.slow
def test_killed_at_any_moment_and_everything_with_it_the_rest_arrives_once(root, monkeypatch, copied_mirrors):
    """Training, keeper and mirror are killed together, as when the machine is switched off."""
    left = []
    for seconds in (0.0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4):
        work = root.parent / f"after-{seconds}"
        shutil.copytree(root, work / "runs")
        (work / "tiny.yaml").write_text(SPEC)
        command = started("train", "tiny.yaml", "--json", cwd=work)
        out, _ = command.communicate(600)
        folder = Path(json.loads(out)["dir"])
        run = RunFolder(work / folder)
        time.sleep(seconds)
        _kill_mirrors(work / "runs")
        done = track.sync(run)
        assert done.complete, done.error
        left.append(done.sent)
        assert not track.sync(run).sent
        there = store.connect(store.tracking_uri(run))
        (experiment,) = there.search_experiments(filter_string="name = 'tiny'")
        (found,) = there.search_runs([experiment.experiment_id])
        assert found.info.status == "FINISHED"
        steps = sorted(m.step for m in there.get_metric_history(found.info.run_id, "train/running_loss"))
        assert [n for n in steps if n] == [*range(1, 61)], seconds
        assert len(there.search_logged_models([experiment.experiment_id])) == 1
    assert any(left)  # some were cut off


def _kill_mirrors(runs):
    """Kill the processes that serve the store of a folder: those whose arguments name the folder of its requests."""
    homes = {path.parent.name for path in Path(os.environ["DLX_CACHE"]).glob("mirrors/*/served.lock")}
    for process in psutil.process_iter():
        try:
            files = {Path(one.path).parent.name for one in process.open_files()}
        except psutil.Error:
            continue
        if files & homes and process.pid != os.getpid():
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)


@pytest.mark.slow
def test_a_second_training_finds_the_mirror_of_the_first(root, copied_mirrors, monkeypatch):
    monkeypatch.setenv(spool.IDLE, "60")
    (root.parent / "tiny.yaml").write_text(SPEC)
    for _ in range(2):
        dlx("train", "tiny.yaml", cwd=root.parent, check=True)
        done = dlx("runs", "sync", "--wait", "last", cwd=root.parent, check=True)
        assert "  delivered " in done.stdout or "  already in " in done.stdout  # the mirror may be the first
    (home,) = Path(os.environ["DLX_CACHE"]).glob("mirrors/*")
    assert spool.is_served(home)
    _kill_mirrors(root)
