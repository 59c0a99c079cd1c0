"""A restored tenant beside the live one: values under keys of ours, which no rule and no search takes for data.

A value lies there without expiry, so that what was loaded can be read back exactly, however late. When it expires
stands in the set's index, a sorted set of the tenant's keys (score: milliseconds since 1970; -1: it does not), and
counts as soon as the preview is compared or promoted: what has expired by then is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tenant_lifecycle.errors import IntegrityError, StoreRejected, UsageError
from tenant_lifecycle.model.backup.fingerprint import Fingerprint, fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.model.backup.parts import MARK, Held, is_part, part_key
from tenant_lifecycle.model.backup.redis_value import Header
from tenant_lifecycle.model.backup.shape import Shape
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.stores.base import Check
from tenant_lifecycle.stores.keyed import About, checked_name, machine_us, refuse_another_tenants, short
from tenant_lifecycle.stores.redis import ours
from tenant_lifecycle.stores.redis.connection import Session, Word
from tenant_lifecycle.stores.redis.contents import Wanted, read
from tenant_lifecycle.stores.redis.restoring import Words, commands
from tenant_lifecycle.stores.redis.scan import glob_below, scan
from tenant_lifecycle.stores.redis.server import Server
from tenant_lifecycle.stores.redis.whose import OUR_PREFIX

#: Commands that are on their way at once: bytes, about, and how many.
SENT_BYTES, SENT_COMMANDS = 2**20, 2_000
#: Keys of an index that are looked at together.
PAGE = 500
POLICIES = ("keep", "shift", "drop")
NO_EXPIRY = -1


#: Which previews there are: their names with what stands for their tenants in names of our keys.
REGISTER = OUR_PREFIX + b"previews"


@dataclass(frozen=True)
class Area:
    """Where one preview lies."""

    server: Server
    tenant: TenantId
    name: str

    @property
    def base(self) -> bytes:
        return ours.our_key(self.tenant, "preview", self.name)

    @property
    def owner(self) -> str:
        return ours.our_key(self.tenant).decode()

    @property
    def about(self) -> bytes:
        return self.base + b":about"

    def index(self, set_name: str) -> bytes:
        return self.base + b":" + short(set_name).encode() + b":index"

    def value(self, set_name: str, key: bytes) -> bytes:
        """Where the value of a key lies; a part lies there too until the set is loaded."""
        return self.base + b":" + short(set_name).encode() + b":" + key.hex().encode()

    def noted(self, session: Session) -> About | None:
        text = session.call("GET", self.about)
        return About.read(text) if text is not None else None


def open_area(
    server: Server, tenant: TenantId, name: str, shapes: Mapping[str, Shape], facts: Mapping[str, Any]
) -> Area:
    """Note the preview, and the ids that say whose the live keys are.

    ``facts`` may have ``ttl``: ``keep`` the moments at which keys expire (as if nothing is said), ``shift`` them by
    the time since the restored moment ``moment_us``, or ``drop`` them.

    Raises:
        UsageError: the name, the policy, or a moment that is needed and missing.
        WrongState: the name is another tenant's.
    """
    area = Area(server, tenant, checked_name(name))
    more = {"ttl": facts.get("ttl", "keep")}
    if more["ttl"] not in POLICIES or (more["ttl"] == "shift" and "moment_us" not in facts):
        raise UsageError(
            "a policy for the expiry of restored keys is keep, shift (with the moment) or drop",
            next_step="leave it out to keep the moments at which keys expire",
        )
    if more["ttl"] == "shift":
        more["shift_ms"] = (machine_us() - int(facts["moment_us"])) // 1_000
    with server.session() as session:
        refuse_another_tenants(server.name, name, _owners(session, name), area.owner)
        session.call("HSET", REGISTER, name, area.owner)
        about = area.noted(session) or About(tenant, tuple(shapes), more=more)
        session.call("SET", area.about, about.seeing(server.whose.ids_now(tenant)).written())
    return area


def load(area: Area, set_name: str, items: Iterable[Item], check: Check) -> int:
    """Replace the set's values; the parts of big ones lie beside them until they are put together.

    Raises:
        StoreRejected: the server refused a value: memory, or a dump that it does not understand.
        IntegrityError: an item is none of a backup of Redis, or lacks a part.
    """
    with area.server.session() as session:
        _clear(session, area, set_name, check)
        sending = _Sending(session, area.server.name)
        count = 0
        for item in items:
            check()
            if is_part(item.key):
                sending.send([("SET", area.value(set_name, item.key), item.cells[0] or b"")])
            else:
                sending.send(_made(sending, area, set_name, item))
                count += 1
        sending.flush()
        for keys in scan(session, glob_below(area.value(set_name, MARK))):
            if keys:
                session.call("UNLINK", *keys)
    return count


def _made(sending: _Sending, area: Area, set_name: str, item: Item) -> Iterator[Words]:
    try:
        held = Held.read(item.cells[0] if item.cells and item.cells[0] is not None else b"")
        header = Header.read(held.header)
        place = area.value(set_name, item.key)
        score = NO_EXPIRY if header.expiry_ms is None else header.expiry_ms
        # First, so that whoever clears the set knows of a value that is half there.
        yield "ZADD", area.index(set_name), score, item.key
        content = [held.content] if held.content is not None else _parts(sending, area, set_name, held)
        yield from commands(header, place, content)
    except (ValueError, KeyError) as exc:
        raise IntegrityError(
            f"{area.server.name}: an item of set {set_name} is none of a backup of Redis ({exc})",
            next_step="check the repository: tenantctl backup check",
        ) from exc


def _parts(sending: _Sending, area: Area, set_name: str, held: Held) -> Iterator[bytes]:
    for digest in held.parts:
        part = sending.answer("GET", area.value(set_name, part_key(digest)))
        if part is None:
            raise ValueError("a part is missing")
        yield part


class _Sending:
    """Commands on their way, a bounded number at once."""

    def __init__(self, session: Session, store: str) -> None:
        self._session, self._store = session, store
        self._waiting: list[Words] = []
        self._size = 0

    def send(self, commands: Iterable[Words]) -> None:
        """Have them carried out, in order, at the latest at `flush`."""
        for words in commands:
            self._waiting.append(words)
            self._size += sum(len(word) for word in words if isinstance(word, bytes))
            if self._size >= SENT_BYTES or len(self._waiting) >= SENT_COMMANDS:
                self.flush()

    def answer(self, *words: Word) -> Any:
        """The answer to a command that sees what was sent before."""
        self.flush()
        return self._session.call(*words)

    def flush(self) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        try:
            self._session.calls(waiting)
        except StoreRejected as exc:
            if ours.NEWER_DUMP not in str(exc):
                raise
            raise StoreRejected(
                f"{self._store}: a value is the dump of a newer server, or of a module that is missing here",
                store=self._store, next_step="restore to a server of the same version, with the same modules",
            ) from exc  # fmt: skip


def _clear(session: Session, area: Area, set_name: str, check: Check) -> None:
    index = area.index(set_name)
    while keys := session.call("ZRANGE", index, 0, PAGE - 1):
        check()
        session.call("UNLINK", *(area.value(set_name, key) for key in keys))
        session.call("ZREM", index, *keys)


def indexed(session: Session, area: Area, set_name: str) -> Iterator[list[tuple[bytes, int | None]]]:
    """Pages of the set's keys with when they expire (None: they do not), each once."""
    at = 0
    while flat := session.call("ZRANGE", area.index(set_name), at, at + PAGE - 1, "WITHSCORES"):
        pairs = zip(flat[::2], flat[1::2], strict=True)
        yield [(key, None if float(moment) < 0 else int(float(moment))) for key, moment in pairs]
        at += len(flat) // 2


def fingerprints(area: Area, sets: Iterable[str], key: bytes) -> dict[str, Fingerprint]:
    """Of every set, read back."""
    return {name: fingerprint(key, read_back(area, name)) for name in sets}


def read_back(area: Area, set_name: str) -> Iterator[Item]:
    """What lies in a set."""
    with area.server.session() as walker, area.server.session() as session:
        for page in indexed(walker, area, set_name):
            for _, item in read(session, wanted(area, set_name, page), machine_us):
                if item is not None:
                    yield item


def wanted(area: Area, set_name: str, page: Iterable[tuple[bytes, int | None]]) -> list[Wanted]:
    """What to read for keys of the index."""
    return [Wanted(set_name, key, area.value(set_name, key), moment) for key, moment in page]


def policy(about: About) -> Callable[[int | None], int | None]:
    """When a key expires that is restored, by when it would have."""
    more = about.more
    if more["ttl"] == "drop":
        return lambda _: None
    shift = int(more.get("shift_ms", 0))
    return lambda moment: None if moment is None else moment + shift


def discard(area: Area) -> None:
    """Everything of the preview; its note goes last, so that a discard that was killed is seen."""
    with area.server.session() as session:
        for keys in scan(session, glob_below(area.base + b":")):
            some = [key for key in keys if key != area.about]
            if some:
                session.call("UNLINK", *some)
        if area.owner in _owners(session, area.name):
            session.call("HDEL", REGISTER, area.name)
        session.call("UNLINK", area.about)


def names(server: Server) -> list[str]:
    """Of the previews that are here, whoever's."""
    with server.session() as session:
        found = sorted(one.decode() for one in session.call("HKEYS", REGISTER))
        return [name for name in found if _owners(session, name)]


def _owners(session: Session, name: str) -> list[str]:
    """Whose the preview of that name is, as it stands in names of our keys; a register that was left behind counts not."""
    owner = session.call("HGET", REGISTER, name)
    if owner is None or not session.call("EXISTS", owner + f":preview:{name}:about".encode()):
        return []
    return [owner.decode()]
