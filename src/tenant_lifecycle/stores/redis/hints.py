"""Keyspace notifications: the server tells which keys were touched, without promise.

Who does not read fast enough is cut off, and what happens while nobody listens is not told. So every loss of the
connection is a gap: one is reported when it happens, and one more when we listen again, because a comparison that
began in between has missed something too.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tenant_lifecycle.errors import LifecycleError, StoreError, StoreRejected
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Listening
from tenant_lifecycle.stores.redis import notifying
from tenant_lifecycle.stores.redis.connection import Line, Reply, translating
from tenant_lifecycle.stores.redis.incarnation import incarnation
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import is_ours, text_of

logger = logging.getLogger(__name__)

#: A server that says nothing is asked after this, and given up when it does not answer within as much again.
QUIET_S = 5.0
RECONNECT_S = (0.05, 0.2, 1.0)
#: Ids of rows are read again at most this often, for keys that might have become the tenant's.
IDS_EVERY_S = 1.0
#: A row that makes a key the tenant's is waited for as long as this; its transaction may still be open.
UNDECIDED_S = 5.0
#: Keys that might become the tenant's; more than this is a gap.
MOST_UNDECIDED = 50_000


def listen(
    server: Server, tenant: TenantId, on_key: Callable[[bytes], None], on_gap: Callable[[str], None]
) -> Listening:
    """Call ``on_key`` for every touched key of the tenant, from a thread of its own, until it is stopped.

    Raises:
        StoreRejected: the server does not send what is needed.
        StoreUnavailable: it does not answer.
    """
    notifying.check(server)
    listener = _Listener(server, tenant, on_key, on_gap)
    listener.connect()
    listener.thread.start()
    return listener


@dataclass
class _Listener:
    """One subscription and its thread."""

    server: Server
    tenant: TenantId
    on_key: Callable[[bytes], None]
    on_gap: Callable[[str], None]
    life: str = ""
    _connection: Line | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _undecided: dict[bytes, float] = field(default_factory=dict)
    _ids_read: float = 0.0
    #: Words that were sent and have to come back behind everything that the server had told before them.
    _words: dict[bytes, threading.Event] = field(default_factory=dict)
    _sending: threading.Lock = field(default_factory=threading.Lock)
    #: Gaps that were reported.
    _gaps: int = 0
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name=f"{self.server.name} hints", daemon=True)

    def connect(self) -> None:
        """Subscribe; from its return on, touches are told."""
        connection = self.server.wire.dedicated()
        try:
            with translating(self.server.name):
                connection.connect()
                connection.send_command("PSUBSCRIBE", self._channel + b"*")
                connection.read_response(timeout=QUIET_S)
            with self.server.session() as session:
                self.life = incarnation(session)
        except BaseException:
            connection.disconnect()
            raise
        self._connection = connection

    def stop(self) -> None:
        """End the thread; safe to repeat, also from the thread itself."""
        self._ended.set()
        if self.thread is not threading.current_thread():
            self.thread.join(timeout=2 * QUIET_S)

    def settled(self, timeout_s: float) -> bool:
        """See `base.Listening.settled`: the server answers on this connection in the order in which it tells."""
        word, back = secrets.token_hex(8).encode(), threading.Event()
        gaps, connection = self._gaps, self._connection
        assert connection is not None, "connected before"
        self._words[word] = back
        try:
            self._send(connection, "PING", word)
            return back.wait(timeout_s) and gaps == self._gaps
        except StoreError:
            return False
        finally:
            self._words.pop(word, None)

    def _send(self, connection: Line, *words: bytes | str) -> None:
        with self._sending, translating(self.server.name):
            connection.send_command(*words)

    @property
    def _channel(self) -> bytes:
        return b"__keyspace@%d__:" % self.server.wire.database

    def _run(self) -> None:
        while not self._ended.is_set():
            try:
                self._receive()
            except StoreError as exc:
                self._report(f"{self.server.name}: notifications stopped: {exc}")
                self._connect_again()
            except Exception as exc:
                logger.exception("hints of %s failed", self.server.name)
                self._report(f"{self.server.name}: a notification was not dealt with: {type(exc).__name__}")
        if self._connection is not None:
            self._connection.disconnect()

    def _receive(self) -> None:
        """Take notifications until the end or an error of the connection."""
        connection = self._connection
        assert connection is not None, "connected before"
        heard, asked = time.monotonic(), False
        while not self._ended.is_set():
            reply = self._next(connection)
            now = time.monotonic()
            if reply is not None:
                heard, asked = now, False
                if reply[0] == b"pmessage":
                    self._told(reply[2].removeprefix(self._channel))
                elif reply[0] == b"pong" and (back := self._words.get(reply[1])) is not None:
                    self._decide(older_s=0.0)
                    back.set()
            elif now - heard > 2 * QUIET_S:
                connection.disconnect()
                with translating(self.server.name):
                    raise TimeoutError("no answer")
            elif now - heard > QUIET_S and not asked:
                asked = True
                self._send(connection, "PING")
            self._decide()

    def _next(self, connection: Line) -> Reply:
        """The next message; None if there is none for a moment."""
        with translating(self.server.name):
            if not connection.can_read(timeout=0.1):
                return None
            return connection.read_response(timeout=QUIET_S)

    def _told(self, key: bytes) -> None:
        whose = self.server.whose
        if is_ours(key):
            return
        if whose.known(self.tenant).family_of(text_of(key)) is not None:
            self.on_key(key)
        elif whose.needs_ids:
            self._undecided[key] = time.monotonic()
            if len(self._undecided) > MOST_UNDECIDED:
                self._undecided.clear()
                self._report(f"{self.server.name}: too many keys of other tenants to look at")

    def _decide(self, older_s: float = IDS_EVERY_S) -> None:
        """Look again, with ids that are not older than ``older_s``, at keys that were not the tenant's when they were touched."""
        now = time.monotonic()
        if not self._undecided or now - self._ids_read < older_s:
            return
        self._ids_read = now
        try:
            resolved = self.server.whose.resolve(self.tenant)
        except LifecycleError as exc:
            self._report(f"{self.server.name}: whose the touched keys are could not be read: {exc}")
            return
        for key, since in list(self._undecided.items()):
            ours = resolved.family_of(text_of(key)) is not None
            if ours or now - since > UNDECIDED_S:
                del self._undecided[key]
            if ours:
                self.on_key(key)

    def _connect_again(self) -> None:
        before, tries = self.life, 0
        if self._connection is not None:
            self._connection.disconnect()
        while not self._ended.is_set():
            try:
                self.connect()
            except StoreError:
                self._ended.wait(RECONNECT_S[min(tries, len(RECONNECT_S) - 1)])
                tries += 1
                continue
            what = (
                "listening again" if self.life == before else "listening again to a server that was restarted"
            )
            self._report(f"{self.server.name}: {what}")
            try:
                notifying.check(self.server)
            except StoreRejected as exc:
                self._report(str(exc))
            except StoreError:
                continue
            return

    def _report(self, reason: str) -> None:
        if self._ended.is_set():
            return
        self._gaps += 1
        try:
            self.on_gap(reason)
        except Exception:
            logger.exception("the gap could not be reported: %s", reason)
