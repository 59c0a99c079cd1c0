"""What is wrong with the object emulator right now: put off, failing, or cut off in the middle of an answer.

``POST /_emulator/faults`` with some of the names of `ObjectFaults` changes them, ``GET`` shows them, as the vector
emulator's does. A share of the failures comes *after* the request had its effect: a client that takes an error for
"nothing happened" is wrong about those, as it is with the real service.
"""

from __future__ import annotations

import json
import random
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

CONTROL = "/_emulator/faults"
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class ObjectFaults:
    """Shares of requests, 0 to 1; the default is none."""

    #: Get 503 ``SlowDown``; nothing was done.
    slow_down: float = 0.0
    #: Get 500 ``InternalError``; half of them after the request was done.
    errors: float = 0.0
    #: Are done, and the connection breaks in the middle of the answer, or before it if it has no content.
    resets: float = 0.0

    def changed(self, values: dict[str, Any]) -> ObjectFaults:
        """These with some changed.

        Raises:
            ValueError: no such fault, or not a share.
        """
        known = {one.name for one in fields(self)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"no fault is called {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if wrong := sorted(name for name, share in values.items() if not _is_share(share)):
            raise ValueError(f"{wrong[0]} is a share, 0 to 1")
        return replace(self, **values)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


class Faulty:
    """A WSGI application with these faults in front of it and behind it."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.faults = ObjectFaults()

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == CONTROL:
            return self._control(environ, start_response)
        faults, dice = self.faults, random.random()
        if dice < faults.slow_down:
            _read_all(environ)
            return _refuse(environ, start_response, "503 Slow Down", "SlowDown")
        dice -= faults.slow_down
        if dice < faults.errors:
            if random.random() < 0.5:
                _done(self._application, environ)
            else:
                _read_all(environ)
            return _refuse(environ, start_response, "500 Internal Server Error", "InternalError")
        if dice - faults.errors < faults.resets:
            return self._cut_off(environ, start_response)
        return self._application(environ, start_response)

    def _control(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        status = "200 OK"
        try:
            if environ["REQUEST_METHOD"] == "POST":
                self.faults = self.faults.changed(json.loads(_read_all(environ)))
            body = json.dumps(asdict(self.faults)).encode()
        except (ValueError, AttributeError, TypeError) as exc:
            status, body = "400 Bad Request", json.dumps({"error": {"message": str(exc)}}).encode()
        return _answer(start_response, status, "application/json", body)

    def _cut_off(self, environ: Environ, start_response: Callable[..., Any]) -> Iterator[bytes]:
        """Do it, give half of the answer, and have the system reset the connection when it is closed."""
        connection: socket.socket = environ["werkzeug.socket"]
        body = b"".join(self._application(environ, start_response))
        if len(body) > 1 and environ["REQUEST_METHOD"] != "HEAD":
            yield body[: len(body) // 2]
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        raise ConnectionResetError


def _done(application: Application, environ: Environ) -> None:
    """Have the effect, and forget the answer."""
    for _ in application(environ, lambda *_: None):
        pass


def _read_all(environ: Environ) -> bytes:
    content: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return content


def _refuse(environ: Environ, start_response: Callable[..., Any], status: str, code: str) -> Iterable[bytes]:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told to fail</Message></Error>".encode()
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
    return _answer(start_response, status, "application/xml", body)


def _answer(start_response: Callable[..., Any], status: str, kind: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]
