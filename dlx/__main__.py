"""Entry point of `dlx` and `python -m dlx`. Ctrl-C ends it in one line, during the first imports too."""

from __future__ import annotations

import _signal  # `signal` itself takes a while to import, in which Ctrl-C would end in a traceback
import os
import sys

INTERRUPTED = 130


def leave(*_: object) -> None:
    """End the process at once: before a command begins and after it has ended there is nothing to save."""
    os.write(2, b"  interrupted\n")
    os._exit(INTERRUPTED)


def main() -> None:
    """Run a command and end the process with its exit status."""
    try:
        run()
    except SystemExit as end:
        _end_at_once(end.code)
        raise


def run() -> None:
    """Run a command and raise SystemExit with its exit status."""
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, leave)
    if os.environ.get("_DLX_COMPLETE"):
        complete()
    from .cli import main as command
    from .utils.imports import own_process
    from .utils.installed import without_pydantic_plugins

    own_process()
    without_pydantic_plugins()
    command()


def _end_at_once(status: object) -> None:
    """End the process without taking its objects apart one by one, a tenth of the time of `dlx inspect`.

    torch alone takes more than a tenth of a second. Returns where the interpreter should end as usual: CUDA, a
    plugin or another thread is there and may have more to do, such as to write its files out, a profiler waits for
    the end, or what was printed does not arrive. A thread that still imports torch has nothing to do any more: an
    error came before its first use.
    """
    from .utils.imports import unfinished

    threads, plugins = sys.modules.get("threading"), sys.modules.get("dlx.plugins.announcements")
    imports = unfinished()
    if not isinstance(status, int | None) or (not imports and _has_cuda()) or _is_watched():
        return
    if (threads is not None and threads.active_count() > 1 + imports) or (plugins is not None and plugins.have_run()):
        return
    import atexit

    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # closed, or nobody reads it: the interpreter has its own way to say so
        return
    os._exit((status or 0) & 0xFF)


def _has_cuda() -> bool:
    """Whether torch holds a GPU, whose library ends with the interpreter."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def _is_watched() -> bool:
    """Whether a profiler, debugger or coverage is at work; from Python 3.12 on they are tools by number."""
    monitoring = getattr(sys, "monitoring", None)
    tools = [monitoring.get_tool(number) for number in range(6)] if monitoring is not None else []
    return bool(sys.getprofile() or sys.gettrace() or any(tools))


def complete() -> None:
    """Answer the shell that completes a command line; nothing is printed into that line on errors."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        from .cli import app

        app(prog_name="dlx")
    except Exception:  # noqa: BLE001
        os._exit(1)


if __name__ == "__main__":
    main()
