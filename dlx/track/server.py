"""MLflow's server on a store, as a process that ends with this one."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import IO

from ..errors import DlxError, RunError
from ..utils import passwords, system
from . import store
from .store_errors import known_sentence

PATIENCE = 120.0
"""Seconds until a server that does not answer is given up."""
WEB = ("http://", "https://")
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
"""Environment variable by which a server starts five processes more, for jobs that dlx has none of."""
ALL_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104
"""Addresses that mean all of a machine's, and where the machine itself finds them."""


def is_server(uri: str) -> bool:
    """Whether an address is one of a server of MLflow, which shows its pages itself."""
    return uri.startswith(WEB)


def url_of(host: str, port: int) -> str:
    """Return the address at which this machine finds a server."""
    shown = f"[{host}]" if ":" in host and host not in ALL_HOSTS else ALL_HOSTS.get(host, host)
    return f"http://{shown}:{port}"


def check(host: str, port: int) -> None:
    """Raise DlxError where mlflow is not installed, or nothing can listen at that host and port."""
    if importlib.util.find_spec("mlflow") is None:
        raise DlxError("MLflow is not installed", hint="`pip install mlflow` installs it.")
    try:
        _bind(host, port)
    except (OSError, OverflowError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        hint = f"`--port {_free_port(host)}` is free." if _can_bind(host) else "`--host 127.0.0.1` is this machine."
        raise DlxError(f"nothing can listen at port {port} of {host}: {reason}", hint=hint) from error


def _bind(host: str, port: int) -> int:
    """Take a port for a moment, and return it; 0 takes one that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as one:
        # as servers do: connections of a server that has just ended do not keep its port
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind((host, port))
        return int(one.getsockname()[1])


def _free_port(host: str) -> int:
    return _bind(host, 0)


def _can_bind(host: str) -> bool:
    with suppress(OSError):
        return bool(_free_port(host))
    return False


@contextmanager
def serving(uri: str, host: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start MLflow's server on a store, and give its process once it answers; it ends with the block.

    RunError with its last words where it ends before, or does not answer in two minutes.
    """
    store.check(uri)
    with tempfile.TemporaryFile() as log, _ended_by_signals():
        process = _launch(uri, host, port, log)
        try:
            _wait(process, url_of(host, port), log, passwords.masked(uri))
            yield process
        finally:
            _end(process)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal that ends this process, or its terminal, be as Ctrl-C: the server would go on without it."""

    def interrupt(_: int, __: FrameType | None) -> None:
        raise KeyboardInterrupt

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, interrupt) for number in (getattr(signal, name) for name in names)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _launch(uri: str, host: str, port: int, log: IO[bytes]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    path = store.sqlite_path(uri)
    if path is not None:
        command += ["--artifacts-destination", str(path.parent / "mlartifacts")]
    # the address through the environment: other users of the machine can read a command line
    environment = {"MLFLOW_BACKEND_STORE_URI": store.whole_address(uri)}
    return subprocess.Popen(  # noqa: S603
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=store.QUIET | {JOBS: "false"} | os.environ | environment,
        process_group=0,  # so that Ctrl-C comes to dlx alone, which ends all of its processes
    )


def _wait(process: subprocess.Popen[bytes], url: str, log: IO[bytes], uri: str) -> None:
    until = time.monotonic() + PATIENCE
    while not answers(url):
        if process.poll() is not None:
            raise RunError(f"MLflow's server ended with {process.returncode}: {_last_words(log, uri)}")
        if time.monotonic() > until:
            raise RunError(f"MLflow's server does not answer at {url}: {_last_words(log, uri)}")
        time.sleep(0.1)


def answers(url: str) -> bool:
    """Whether a server of MLflow answers at an address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def _last_words(log: IO[bytes], uri: str) -> str:
    """Return what a server ended in: a sentence with the way out, or the last line that it printed, no passwords."""
    log.seek(0)
    text = log.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return known_sentence(text, uri) or (passwords.masked(lines[-1]) if lines else "it printed nothing")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server with the processes that it has started."""
    for forcibly in (False, True):
        system.end_group(process.pid, forcibly=forcibly)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)
            break
