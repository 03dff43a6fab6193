"""Commands of dlx, each in a process of its own: copies of one process that has imported torch.

A copy begins with the modules that every command needs, and with none of the kinds that a spec may name. It has its
own working directory, environment, standard streams, process id and exit status, and is killed as any other. Tests of
the start itself begin `python -m dlx` anew.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryFile
from types import SimpleNamespace
from typing import IO, Any, NoReturn

ROOT = Path(__file__).parents[1]
LONGEST_REQUEST = 2**20
NOTHING = Path(os.devnull)
EXECUTABLE = sys.executable
HEAVY = dict.fromkeys(
    ("dlx.track", "dlx.track.service", "dlx.sweeps.mlflow_study"), "mlflow.store.tracking.sqlalchemy_store"
)
"""What modules begin with beside that."""
MIRROR = "dlx.track"


def dlx(
    *argv: object,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    check: bool = False,
    timeout: float = 600,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m dlx` with its output in files, as `subprocess.run` does with pipes.

    With `check`, a status other than 0 raises CalledProcessError. It is killed after `timeout` seconds.
    """
    command = started(*argv, cwd=cwd, env=env)
    try:
        out, err = command.communicate(timeout)
    except subprocess.TimeoutExpired:
        command.kill()
        raise
    assert command.returncode is not None
    done = subprocess.CompletedProcess(["dlx", *argv], command.returncode, out, err)
    if check:
        done.check_returncode()
    return done


def dlx_on_terminal(*argv: object, cwd: Path = ROOT, columns: int = 80) -> tuple[int, str]:
    """Run a command on a terminal of so many columns; its exit status and what it prints."""
    master, slave = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color"}
    for name in ("NO_COLOR", "CI"):
        env.pop(name, None)
    with NOTHING.open() as nothing:
        command = _begin("dlx", argv, cwd, env, nothing.fileno(), slave, slave)
    os.close(slave)
    output = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(master, 65536):
            output += part
    os.close(master)
    return command.wait(600), output.decode()


def started(*argv: object, cwd: Path = ROOT, env: Mapping[str, str] | None = None, module: str = "dlx") -> Started:
    """Start `python -m MODULE`, as `subprocess.Popen` does, with its output in files."""
    with contextlib.ExitStack() as stack, NOTHING.open() as nothing:
        out, err = (stack.enter_context(TemporaryFile()) for _ in range(2))
        command = _begin(module, argv, cwd, env, nothing.fileno(), out.fileno(), err.fileno())
        command.files, command.close = (out, err), stack.pop_all().close
    return command


def piped(*argv: object, module: str, log: IO[bytes], env: Mapping[str, str]) -> Started:
    """Start a module that is talked to over pipes, its errors in a file."""
    (their_in, our_out), (our_in, their_out) = os.pipe(), os.pipe()
    command = _begin(module, argv, Path.cwd(), env, their_in, their_out, log.fileno())
    os.close(their_in)
    os.close(their_out)
    command.stdin, command.stdout = os.fdopen(our_out, "wb"), os.fdopen(our_in, "rb")
    return command


def mirror(
    words: Sequence[str], server: socket.socket | None = None, **options: Any
) -> Started | subprocess.Popen[bytes]:
    """Begin a mirror as a copy that has imported MLflow; arguments as `subprocess.Popen`'s.

    The commands that `server` is passed on to ask it themselves.
    """
    python, _, _, module, *argv = words
    if python != EXECUTABLE:
        return subprocess.Popen(words, **options)
    their_in, our_out = os.pipe()
    output = options["stdout"].fileno()
    begun = _begin(module, argv, Path.cwd(), options["env"], their_in, output, output, server)
    os.close(their_in)
    if options["stdin"] == subprocess.PIPE:
        begun.stdin = os.fdopen(our_out, "wb")
    else:
        os.close(our_out)
    return begun


def mirrors_of(server: socket.socket | None = None) -> Any:
    """What `dlx.track.mirror` takes for `subprocess`, so that mirrors are copies."""
    names = {name: getattr(subprocess, name) for name in ("DEVNULL", "PIPE", "TimeoutExpired")}
    return SimpleNamespace(Popen=partial(mirror, server=server), **names)


mirrors_are_copies = False
"""Whether the mirrors that commands start are."""


@dataclass
class Started:
    """A process that was started, to be waited for or killed, as a `subprocess.Popen`."""

    pid: int
    end: socket.socket
    """What tells its exit status once it has ended."""
    returncode: int | None = None
    files: tuple[IO[bytes], ...] = ()
    """Where its output goes, if nobody else takes it."""
    close: Callable[[], None] = lambda: None
    printed: tuple[str, ...] = ()
    """Its output, once it has ended."""
    stdin: IO[bytes] | None = None
    stdout: IO[bytes] | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status; a signal's number below 0. Raises TimeoutExpired, as `subprocess.Popen.wait`."""
        if self.returncode is None:
            self.end.settimeout(timeout)
            try:
                self.returncode = int(self.end.recv(64))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired([str(self.pid)], timeout or 0) from None
            self.end.close()
            for file in self.files:
                file.seek(0)
            self.printed = tuple(file.read().decode() for file in self.files)
            self.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and return what it has printed."""
        self.wait(timeout)
        out, err = self.printed
        return out, err


def _begin(
    module: str,
    argv: Sequence[object],
    cwd: Path,
    env: Mapping[str, str] | None,
    stdin: int,
    stdout: int,
    stderr: int,
    server: socket.socket | None = None,
) -> Started:
    request = {
        "module": module,
        "argv": [str(word) for word in argv],
        "cwd": str(cwd),
        "env": dict(os.environ if env is None else env),
    }
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        files = [stdin, stdout, stderr, theirs.fileno()]
        if mirrors_are_copies:
            files.append(_server(HEAVY[MIRROR]).fileno())
        socket.send_fds(server or _server(HEAVY.get(module, "")), [json.dumps(request).encode()], files)
    ours.settimeout(600)
    return Started(int(ours.recv(64)), ours)


@cache
def _server(more: str) -> socket.socket:
    """The process to copy, with one more module. It ends with this one, whose end of the socket is closed then."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, __file__, str(theirs.fileno()), *([more] if more else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it runs until the socket is closed
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(requests: socket.socket, more: Sequence[str]) -> None:
    """Begin one command after the other, until nobody can ask for one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that keep a command
    del sys.path[0]  # the folder of this file
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    import torch  # noqa: F401

    import dlx.experiment.runner
    import dlx.graph
    import dlx.show.console
    import dlx.training.fit  # noqa: F401
    from dlx.cli import COMMANDS
    from dlx.track.store import QUIET

    dict(COMMANDS)  # their options, which every copy has then
    os.environ.update(QUIET)
    for name in more:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is here already need not be looked at, or copied, by any command
    while True:
        data, files, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 5)
        if not data:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside idle threads of numpy
            keeper = not os.fork()
        if keeper:
            requests.close()
            _keep(files[:3], socket.socket(fileno=files[3]), files[4:], json.loads(data))
        for file in files:
            os.close(file)


def _keep(files: list[int], asking: socket.socket, mirrors: list[int], request: dict[str, Any]) -> NoReturn:
    """Begin a command, and tell its process and its end to the one that asks for it."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        asking.close()
        if mirrors:
            import dlx.track.mirror

            dlx.track.mirror.subprocess = mirrors_of(socket.socket(fileno=mirrors[0]))
        _run(files, **request)
    for file in files + mirrors:
        os.close(file)
    with contextlib.suppress(BrokenPipeError):  # it was killed itself
        asking.send(str(child).encode())
        asking.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())
    os._exit(0)


def _run(files: list[int], module: str, argv: list[str], cwd: str, env: dict[str, str]) -> NoReturn:
    """Be `python -m MODULE`, from its first line to the end of the process."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    sys.stdout = sys.__stdout__ = _stream(1, sys.stdout)
    sys.stderr = sys.__stderr__ = _stream(2, sys.stderr)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    sys.argv = [module, *argv]
    status: Any = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
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
    _serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
