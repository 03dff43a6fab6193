"""A password in an address is used, and stands in nothing that is printed or kept."""

import base64
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

from dlx import track
from dlx.errors import Problem, SpecError
from dlx.runs.folder import RunFolder
from dlx.spec import load
from dlx.spec.why import why
from dlx.sweeps.plan import plan
from dlx.track import store
from dlx.utils import passwords

SECRET = "s3cret-word"  # noqa: S105
SPEC = """\
data: {{digits: {{valid: 0.2}}}}
network: {{layers: [flatten, {{linear: 10}}]}}
train: {{epochs: 1, batch_size: 256}}
track: {{uri: "{uri}"}}
"""
ADDRESSES = {
    f"postgresql://me:{SECRET}@host/db": "postgresql://me:***@host/db",
    f"http://me:{SECRET}@host:5000": "http://me:***@host:5000",
    f"http://me:{SECRET}/@#?{SECRET}@host": "http://me:***@host",
    f"mysql+pymysql://:{SECRET}@host/db": "mysql+pymysql://:***@host/db",
    f"https://{SECRET}@host/mlflow": "https://***@host/mlflow",
    f"http://host/a?x=1&password={SECRET}&y=2": "http://host/a?x=1&password=***&y=2",
    f"https://host?access_token={SECRET}": "https://host?access_token=***",
}
HARMLESS = [
    "http://host:5000",
    "http://host:5000/a@b",
    "sqlite:///a.db",
    "postgresql://me@host/db",
    "a:b@c",
    "file:///x",
]


@pytest.mark.parametrize(("address", "shown"), ADDRESSES.items(), ids=ADDRESSES.values())
def test_an_address_is_shown_without_its_password(address, shown):
    assert passwords.masked(address) == shown == passwords.masked(shown)
    assert passwords.masked(f"`track.uri={address}` is odd").count(SECRET) == 0
    assert passwords.mask_and_remember(address) == shown
    assert passwords.unmask(shown) == address


@pytest.mark.parametrize("address", HARMLESS)
def test_an_address_without_a_password_stays_as_it_is(address):
    assert passwords.mask_and_remember(address) == address
    assert not passwords.is_known(address)


def test_a_mistake_in_an_override_does_not_repeat_a_password(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC.format(uri="sqlite:///a.db"))
    for address in ADDRESSES:
        for change in (f"track.url='{address}'", f"track.uri={address} [", f"~track.uri='{address}'", f"=[{address}"):
            problems = load(tmp_path / "s.yaml", [change]).problems
            assert problems
            assert SECRET not in str(SpecError(*problems)) + json.dumps([p.as_json() for p in problems])
    assert SECRET not in str(Problem("x", f"not {list(ADDRESSES)}"))


@pytest.mark.parametrize(("address", "shown"), ADDRESSES.items(), ids=ADDRESSES.values())
@pytest.mark.parametrize("where", ["yaml", "toml", "override", "variable"])
def test_what_is_saved_of_a_spec_has_no_password(tmp_path, where, address, shown):
    path = tmp_path / f"s.{'toml' if where == 'toml' else 'yaml'}"
    plain = SPEC.format(uri=address)
    texts = {
        "yaml": plain,
        "toml": f'track = {{uri = "{address}"}}\n[network]\ninputs = [4]\nlayers = ["relu"]\n',
        "override": SPEC.format(uri="sqlite:///before.db"),
        "variable": plain.replace(address, "${where}") + f'vars: {{where: "{address}"}}\n',
    }
    path.write_text(texts[where])
    changes = [f"track.uri='{address}'"] if where == "override" else []
    experiment = load(path, changes)
    assert experiment.track.uri == shown
    assert store.passwords.unmask(shown) == address
    assert SECRET not in experiment.resolved() + repr(experiment)
    assert SECRET not in json.dumps(why(experiment, "track.uri", changes).as_json())
    problem = experiment.password_warning()
    assert problem.message == "the password in `track.uri` is used, and kept in no file"
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or the whole address as MLFLOW" in problem.hint


def test_an_address_that_is_put_together_from_a_password_is_refused(tmp_path):
    text = SPEC.format(uri="http://me:${pw}@host") + f"vars: {{pw: {SECRET}}}\n"
    (tmp_path / "s.yaml").write_text(text)
    (problem,) = load(tmp_path / "s.yaml").problems
    assert problem.message == "`track.uri` puts an address together with its password, which would be kept in files"
    assert SECRET not in str(problem)


def test_a_study_over_addresses_has_no_password(tmp_path):
    (tmp_path / "s.yaml").write_text(SPEC.format(uri="sqlite:///a.db"))
    made = plan(tmp_path / "s.yaml", [f"track.uri=http://me:{SECRET}@a,http://me:{SECRET}@b"], tmp_path)
    assert SECRET not in json.dumps(made.identity) + json.dumps(list(made.space.grid())) + repr(made.space)


class Asked(http.server.BaseHTTPRequestHandler):
    """A server that takes note of who asks, and gives nothing."""

    def do_GET(self):
        self.server.authorizations.append(self.headers.get("Authorization"))
        self.send_error(404)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.HTTPServer(("127.0.0.1", 0), Asked)
    made.authorizations = []
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def files_with(word, folder):
    return [path.name for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_a_process_of_its_own_gets_what_it_has_to_know(monkeypatch):
    address, shown = next(iter(ADDRESSES.items()))
    passwords.mask_and_remember(address)
    monkeypatch.setenv(passwords.OF_PARENT, passwords.for_children()[passwords.OF_PARENT])
    monkeypatch.setattr(passwords, "_KNOWN", {})
    assert passwords.unmask(shown) == address


@pytest.mark.slow
def test_a_training_gives_the_password_to_the_server_and_to_nobody_else(tmp_path, server):
    spec, runs = tmp_path / "s.yaml", tmp_path / "runs"
    port = server.server_port
    spec.write_text(SPEC.format(uri="sqlite:///a.db"))
    command = [sys.executable, "-m", "dlx", "train", str(spec), f"track.uri=http://me:{SECRET}@127.0.0.1:{port}"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    done = subprocess.run([*command, "--json", "--runs", str(runs)], capture_output=True, text=True, env=clean)
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr.count("the password in `track.uri` is used, and kept in no file") == 1
    assert json.loads(done.stdout)["tracking"]["uri"] == f"http://me:***@127.0.0.1:{port}"
    assert set(server.authorizations) == {"Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()}
    assert files_with(SECRET, runs) == []
    assert "lock.json" in files_with(f"http://me:***@127.0.0.1:{port}", runs)


def test_a_run_whose_password_is_not_saved_goes_on_with_that_of_the_environment(tmp_path, server, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    address = f"http://me:***@127.0.0.1:{server.server_port}"
    run = RunFolder.create(tmp_path, "s")
    run.write_text("spec.yaml", SPEC.format(uri=address))
    assert track.sync(run).error.endswith(
        f"the password of {address} is kept in no file. Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
        "or MLFLOW_TRACKING_URI to the whole address."
    )
    assert server.authorizations == []
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "you")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", SECRET)
    assert track.sync(run).uri == address
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    monkeypatch.delenv("MLFLOW_TRACKING_PASSWORD")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://they:{SECRET}@127.0.0.1:{server.server_port}")
    assert track.sync(run).uri == address.replace("me", "they")
    users = [base64.b64decode(output.split()[1]).decode().split(":") for output in server.authorizations if output]
    assert {tuple(user) for user in users} == {("you", SECRET), ("they", SECRET)}
    assert files_with(SECRET, tmp_path) == []
