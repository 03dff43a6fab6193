"""Commands of dlx, each in a process of its own: copies of one process that has imported torch.

A copy begins with the modules that every command needs, and with none of the kinds that a spec may name. It has its
own working directory, environment, standard streams and exit status. Tests of the start itself begin `python -m dlx`
anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pty
import runpy
import signal
import socket
import subprocess
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn

ROOT = Path(__file__).parents[1]
LONGEST_REQUEST = 2**20


def dlx(
    *argv: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `python -m dlx` with its output in files, as `subprocess.run` does with pipes.

    With `check`, a status other than 0 raises CalledProcessError.
    """
    with TemporaryFile() as out, TemporaryFile() as err:
        _begin(argv, cwd, env, out.fileno(), err.fileno())
        status = _status()
        for file in (out, err):
            file.seek(0)
        done = subprocess.CompletedProcess(["dlx", *argv], status, out.read().decode(), err.read().decode())
    if check:
        done.check_returncode()
    return done


def dlx_on_terminal(*argv: object, cwd: Path = ROOT, columns: int = 80) -> tuple[int, str]:
    """Run a command on a terminal of so many columns; its exit status and what it prints."""
    master, slave = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    _begin(argv, cwd, env, slave, slave)
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(master, 65536):
            output += part
    os.close(master)
    return _status(), output.decode()


def _begin(argv: tuple[object, ...], cwd: Path, env: Mapping[str, str] | None, out: int, err: int) -> None:
    request = {"argv": [str(word) for word in argv], "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
    socket.send_fds(_server(), [json.dumps(request).encode()], [out, err])


def _status() -> int:
    """The exit status of the command that runs; a signal's number below 0."""
    return int(_server().recv(64))


@cache
def _server() -> socket.socket:
    """The process to copy. It ends with this one, whose end of the socket is closed then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(600)
    command = [sys.executable, __file__, str(theirs.fileno())]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it runs until the socket is closed
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(requests: socket.socket) -> None:
    """Begin one command after the other, until nobody can ask for one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    del sys.path[0]  # the folder of this file
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import torch  # noqa: F401

    import dlx.cli
    import dlx.experiment.runner
    import dlx.graph
    import dlx.show.console
    import dlx.training.fit  # noqa: F401

    gc.collect()
    gc.freeze()  # what is here already need not be looked at, or copied, by any command
    while True:
        data, files, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
        if not data:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside idle threads of numpy
            child = os.fork()
        if not child:
            requests.close()
            _run(files, **json.loads(data))
        for file in files:
            os.close(file)
        requests.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _run(files: list[int], argv: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    """Be `python -m dlx`, from its first line to the end of the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for file, number in zip(files, (1, 2), strict=True):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    sys.stdout = sys.__stdout__ = _stream(1, sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, sys.stderr)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    sys.argv = ["dlx", *argv]
    status: Any = 0
    try:
        runpy.run_module("dlx", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:  # noqa: BLE001 - the interpreter would print it too
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):  # closed already
            stream.flush()
    os._exit((status or 0) & 0xFF)


def _stream(number: int, like: Any) -> Any:
    buffering = 1 if number == 2 or os.isatty(number) else -1
    return open(number, "w", buffering, encoding=like.encoding, errors=like.errors, closefd=False)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
