"""Connections to one Redis server: raw replies, both sides of a pair asked at once, errors in our words.

Commands go out through `Session.send` and their replies come in through `Session.receive`, so that a caller
can have two servers work at the same time without a thread. Replies are as the server sent them: texts are
bytes, nothing is decoded or converted.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast
from urllib.parse import parse_qs, urlsplit

import redis
from redis import exceptions as driver

from tenant_lifecycle.errors import (
    ConfigError,
    Fenced,
    LifecycleError,
    StoreBusy,
    StoreReadOnly,
    StoreRejected,
    StoreUnavailable,
)

#: A hung server is given up after this; nothing of ours takes the server longer than a fraction of a second.
ANSWER_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
#: What our scripts answer to an older driver.
FENCED = "TLFENCED"

Word = bytes | str | int
#: A reply: bytes, an integer, None, a list of replies, or, inside a list, an exception.
Reply = Any


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua program; the server knows it by its digest after it ran once."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


class Line(Protocol):
    """What is used of the driver's connection, which has no types."""

    @property
    def is_connected(self) -> bool: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def pack_commands(self, commands: Sequence[Sequence[Word]]) -> list[bytes]: ...
    def send_packed_command(self, command: list[bytes]) -> None: ...
    def send_command(self, *words: Word) -> None: ...
    def can_read(self, timeout: float = 0) -> bool: ...
    def read_response(self, *, timeout: float = ANSWER_TIMEOUT_S) -> Reply: ...


class Session:
    """One borrowed connection; used by one thread. A failure in the middle leaves it disconnected."""

    def __init__(self, connection: Line, store: str) -> None:
        self.store = store
        self._connection = connection
        self._sent = self._read = 0
        #: Replies that came before the one that was asked for, by number of their command.
        self._parked: dict[int, Reply] = {}

    def send(self, *commands: Sequence[Word]) -> int:
        """Send commands, all at once; each has one reply. Returns the number of the first."""
        with translating(self.store):
            self._connection.send_packed_command(self._connection.pack_commands(commands))
        first = self._sent
        self._sent += len(commands)
        return first

    def receive(self, number: int) -> Reply:
        """The reply to a command, by its number; each is received once.

        Raises:
            StoreError: the server refused that command, or the connection broke.
        """
        while number not in self._parked:
            with translating(self.store):
                try:
                    self._parked[self._read] = self._connection.read_response()
                except driver.ResponseError as exc:
                    self._parked[self._read] = exc
            self._read += 1
        reply = self._parked.pop(number)
        if isinstance(reply, driver.RedisError):
            raise translated(reply, self.store) from reply
        return reply

    def call(self, *words: Word) -> Reply:
        """Send one command and wait for its reply."""
        return self.receive(self.send(words))

    def calls(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """Send commands and wait for all replies. Raises as `receive`."""
        first = self.send(*commands) if commands else 0
        return [self.receive(number) for number in range(first, first + len(commands))]

    def begin(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Word]) -> Running:
        """Have the server run a script; the result is fetched from what is returned."""
        number = self.send(("EVALSHA", script.sha, len(keys), *keys, *arguments))
        return Running(self, number, script, keys, arguments)

    def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Word]) -> Reply:
        """Run a script and wait for its result."""
        return self.begin(script, keys, arguments).result()

    @property
    def clean(self) -> bool:
        """Whether the connection can be used by somebody else: no reply is due."""
        return self._read == self._sent and self._connection.is_connected


@dataclass(frozen=True, slots=True)
class Running:
    """A script that was sent off; `result` is called once."""

    session: Session
    number: int
    script: Script
    keys: Sequence[bytes]
    arguments: Sequence[Word]

    def result(self) -> Reply:
        try:
            return self.session.receive(self.number)
        except StoreRejected as exc:
            if not isinstance(exc.__cause__, driver.NoScriptError):
                raise
        return self.session.call("EVAL", self.script.text, len(self.keys), *self.keys, *self.arguments)


@dataclass
class Wire:
    """How to reach one server. Connections are kept open between uses: a flip has no time to connect."""

    #: For people and errors: ``blue/redis``.
    name: str
    url: str = field(repr=False)
    _pool: redis.ConnectionPool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            _refuse_what_the_driver_would_take(self.url)
            self._pool = redis.ConnectionPool.from_url(
                self.url,
                protocol=2,
                socket_timeout=ANSWER_TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_keepalive=True,
                max_connections=256,
                client_name="tenant-lifecycle",
                decode_responses=False,
            )
        except (ValueError, TypeError):
            # The driver's sentence may quote the address, and with it the password.
            raise ConfigError(
                f"store {self.name}: its url is no address of a Redis server",
                next_step="write redis://user:password@host:6379/0, or rediss:// for TLS",
            ) from None

    @property
    def database(self) -> int:
        """Number of the database that is used."""
        return int(self._pool.connection_kwargs.get("db", 0))

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Borrow a connection; the driver's errors become ours."""
        with translating(self.name):
            connection = self._pool.get_connection()
        line = cast("Line", connection)
        session = Session(line, self.name)
        try:
            yield session
        finally:
            if not session.clean:
                line.disconnect()
            self._pool.release(connection)

    def dedicated(self) -> Line:
        """A connection of the caller's own, not yet connected, which the caller disconnects."""
        return cast("Line", self._pool.connection_class(**self._pool.connection_kwargs))

    def close(self) -> None:
        """Close idle connections; safe to repeat."""
        self._pool.disconnect(inuse_connections=False)


def _refuse_what_the_driver_would_take(url: str) -> None:
    """Addresses that the driver accepts and that would not mean what they say, or change what replies look like.

    Raises:
        ValueError: it is one.
    """
    parts = urlsplit(url)
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError("the driver would take database 0")
    if {"decode_responses", "protocol", "encoding"} & set(parse_qs(parts.query)):
        raise ValueError("replies have to be raw")


@contextmanager
def translating(store: str) -> Iterator[None]:
    """Turn what the driver raises inside the block into our errors; the cause is kept."""
    try:
        yield
    except driver.RedisError as exc:
        raise translated(exc, store) from exc
    except OSError as exc:
        raise StoreUnavailable(f"{store}: {exc}", store=store, next_step="tenantctl doctor") from exc


def translated(exc: driver.RedisError, store: str) -> LifecycleError:
    """Our error for one of redis-py's, most specific first."""
    said = _without_arguments(str(exc).strip()) or type(exc).__name__
    match exc:
        case driver.NoPermissionError():
            return StoreRejected(
                f"{store}: {said}", store=store, next_step="grant the user what tenantctl doctor names"
            )
        case (
            driver.AuthenticationError()
            | driver.AuthorizationError()
            | driver.AuthenticationWrongNumberOfArgsError()
        ):
            return StoreRejected(f"{store}: {said}", store=store, next_step="check the url of this store")
        case driver.BusyLoadingError():
            return StoreUnavailable(f"{store}: the server is loading its data", store=store)
        case driver.ReadOnlyError():
            return StoreReadOnly(
                f"{store}: the server is a replica and accepts no writes", store=store,
                next_step="point the url at the primary",
            )  # fmt: skip
        case driver.OutOfMemoryError():
            return _out_of_memory(store)
        case driver.ConnectionError() | driver.TimeoutError():
            return StoreUnavailable(f"{store}: {said}", store=store, next_step="tenantctl doctor")
    return _by_what_it_said(said, store)


def _by_what_it_said(said: str, store: str) -> LifecycleError:
    """Errors that the driver does not tell apart, and those that come out of a script."""
    code = re.sub(r"^-?(ERR Error running script[^:]*:.*?: )?", "", said)
    if FENCED in said:
        return Fenced(f"{store}: a newer driver writes here")
    if code.startswith("READONLY") or " -READONLY" in said:
        return StoreReadOnly(
            f"{store}: the server is a replica and accepts no writes", store=store,
            next_step="point the url at the primary",
        )  # fmt: skip
    if "OOM " in said or "used memory > 'maxmemory'" in said:
        return _out_of_memory(store)
    if code.startswith("BUSY"):
        return StoreBusy(f"{store}: a script of somebody else keeps the server busy", store=store)
    if code.startswith(("MISCONF", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "LOADING")):
        return StoreUnavailable(f"{store}: {said}", store=store)
    return StoreRejected(f"{store}: {said}", store=store)


def _out_of_memory(store: str) -> LifecycleError:
    """Not retryable: memory that is used up does not come back by waiting, and each try would cost the others."""
    return StoreRejected(
        f"{store}: the server has used up its memory (maxmemory) and refuses to store more", store=store,
        next_step="raise maxmemory or free memory, then resume",
    )  # fmt: skip


def _without_arguments(said: str) -> str:
    """An error about an unknown command quotes its arguments, which are keys."""
    return said.partition(", with args beginning with")[0]
