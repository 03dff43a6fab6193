"""Stores of another version of MLflow, and files that are none, are refused at once and stay as they are."""

import hashlib
import shutil
import sqlite3
from contextlib import closing

import pytest
from commands import dlx

from dlx import track
from dlx.errors import DlxError
from dlx.runs.folder import RunFolder
from dlx.track import schema, server

ANOTHER = (
    "the database sqlite:///{path} was written by another version of MLflow than the one installed here: install "
    "that one, or, where this one is newer, copy the database and run `mlflow db upgrade` with its address"
)


@pytest.fixture
def run(tmp_path):
    made = RunFolder.create(tmp_path / "runs", "digits")
    made.append({"record": "start", "time": 100.0})
    made.append({"record": "end", "time": 200.0, "step": 3, "seconds": 1.0, "status": "finished", "metrics": {}})
    return made


def older(path, empty_store):
    """A store as a version of MLflow left it that did not have its newest table yet."""
    shutil.copy(empty_store, path)
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE alembic_version SET version_num = '181f10493468'")
        file.execute("DROP TABLE scorers")
        file.commit()


def junk(path, _):
    path.write_bytes(b"\x07 no database of anybody " * 100)


def test_the_version_that_mlflow_writes_is_read_from_its_files():
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert schema.newest_version() == _get_latest_schema_revision()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [(older, ANOTHER), (junk, "{path} is no database of MLflow: file is not a database; move it away")],
)
def test_a_store_that_mlflow_cannot_read_is_refused_at_once_and_stays_as_it_is(run, empty_store, make, sentence):
    path = run.root / "mlflow.db"
    make(path, empty_store)
    before, said = hashlib.sha256(path.read_bytes()).hexdigest(), sentence.format(path=path)

    done = dlx("runs", "sync", "--wait", cwd=run.root.parent, timeout=60)  # MLflow waits 101 s between its tries
    assert (done.returncode, said in done.stdout) == (1, True), done.stdout + done.stderr
    assert track.sync(run, f"sqlite:///{path}").error.startswith(said)
    with pytest.raises(DlxError) as refused, server.serving(f"sqlite:///{path}", "127.0.0.1", 0):
        pass
    assert refused.value.problems[0].message.startswith(said)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_store_of_this_version_an_empty_file_and_a_database_of_something_else_are_taken(tmp_path, empty_store):
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE notes (text TEXT)")
        file.commit()
    (tmp_path / "empty.db").touch()

    for one in (path, tmp_path / "empty.db", tmp_path / "missing.db", empty_store):
        schema.check(f"sqlite:///{one}", one)
