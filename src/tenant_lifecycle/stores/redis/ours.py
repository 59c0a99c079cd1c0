"""Writing into a target as ourselves: an older driver is refused in the same step that would write.

The largest driver token that was seen for a tenant is kept in a key of ours, beside the tenant's keys. Names of
our keys are made of a digest of the tenant's id, never of the id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from redis import exceptions as driver

from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.redis.connection import Running, Session, Word, translated
from tenant_lifecycle.stores.redis.scripts import WRITE
from tenant_lifecycle.stores.redis.whose import OUR_PREFIX, key_of

#: What RESTORE says to a dump of a newer server.
NEWER_DUMP = "DUMP payload version or checksum are wrong"


def our_key(tenant: TenantId, *parts: str) -> bytes:
    """A key of ours for one tenant: ``tenant_lifecycle:{digest}:part:part``."""
    digest = hashlib.sha256(key_of(tenant)).hexdigest()[:32]
    return OUR_PREFIX + ":".join(["{" + digest + "}", *parts]).encode()


def token_key(tenant: TenantId) -> bytes:
    """Where the largest driver token is kept."""
    return our_key(tenant, "token")


@dataclass(frozen=True, slots=True)
class Command:
    """One command and the keys that its words name."""

    words: tuple[Word, ...]
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """Commands on their way."""

    running: Running

    def answers(self) -> list[int | bytes]:
        """For each command that was tried the number it answered, or 0, or the text of its error.

        Raises:
            Fenced: a newer driver was here; nothing was written.
        """
        return cast("list[int | bytes]", self.running.result())

    def done(self) -> list[int]:
        """For each command the number it answered, or 0.

        Raises:
            StoreError: the server refused one of them; those before it are done, and none after it.
            Fenced: as `answers`.
        """
        return [self._number(answer) for answer in self.answers()]

    def _number(self, answer: int | bytes) -> int:
        if isinstance(answer, bytes):
            raise refused(answer, self.running.session.store)
        return answer


def begin(session: Session, feed: Feed, commands: Sequence[Command], *, go_on: bool = False) -> Written:
    """Send commands to be carried out in one step of the server, in the feed's name.

    After one that fails the others are not tried, unless ``go_on``.
    """
    keys = [token_key(feed.tenant), *dict.fromkeys(key for command in commands for key in command.keys)]
    arguments: list[Word] = [feed.token, "go on" if go_on else "stop"]
    for command in commands:
        arguments += [len(command.words), *command.words]
    return Written(session.begin(WRITE, keys, arguments))


def write(session: Session, feed: Feed, commands: Sequence[Command]) -> list[int]:
    """Carry out commands in one step of the server; the numbers they answered. Raises as `Written.done`."""
    return begin(session, feed, commands).done()


def refused(answer: bytes, store: str) -> Exception:
    """The error for what a command inside a script was answered."""
    exc = driver.ResponseError(answer.decode("utf-8", "replace"))
    error = translated(exc, store)
    error.__cause__ = exc
    return error
