"""A delivery to MLflow whose process ends in the middle of it."""

import contextlib

CALLS = [
    "create_run",
    "log_artifact",
    "log_batch",
    "log_inputs",
    "log_text",
    "set_terminated",
    "update_run",
]


class Killed(BaseException):
    """An end in which nothing more is noted."""


def killed_behind(number, client, monkeypatch, deliver):
    """Deliver, and end behind the `number`-th call that changes something in MLflow; whether it came so far."""
    made = 0

    def counted(name, call):
        def do(*args, **named):
            nonlocal made
            done = call(*args, **named)
            made += 1
            if made == number:
                raise Killed(name)
            return done

        return do

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        for name in CALLS:
            patch.setattr(client, name, counted(name, getattr(client, name)))
        deliver()
    return made >= number
