"""What transformers of one clone have in common: key, people, ids, where mail may go."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.masking.bijections import IdRange, IntegerIds, TextIds, UuidIds
from tenant_lifecycle.masking.embedding import Embedder, HashingEmbedder, Shelf
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.names import Names
from tenant_lifecycle.masking.patterns import Phones
from tenant_lifecycle.masking.people import People

#: Names of RFC 2606 and 6761, which nobody can register.
_RESERVED = ("example", "test", "invalid", "localhost", "example.com", "example.org", "example.net")


class Row(Protocol):
    """What stands beside a value."""

    def raw(self, _name: str, /) -> str | None:
        """As it was in the source."""

    def masked(self, _name: str, /) -> str | None:
        """As it is in the clone; only of what is no embedding."""


#: A value's pseudonym; the value is text as the store writes it. None: nothing is to stand there.
Transform = Callable[[str, Row], str | None]


@dataclass(frozen=True, slots=True)
class Target:
    """Who the clone is."""

    tenant: str
    target: str
    #: Other texts that name the source tenant: its name, its domain. They are masked in prose too.
    aliases: Sequence[str] = ()
    target_name: str = ""
    #: Of made-up addresses.
    email_domain: str = "example.com"
    #: ``user_1@acme-copy.example.com``: where clones share a table whose addresses are unique.
    email_label: str = ""
    #: Whether ``email_domain`` is ours or swallowed by a sink; otherwise only reserved ones are taken.
    email_domain_owned: bool = False
    #: Where phone numbers without a country are dialled.
    phone_regions: tuple[str, ...] = ()
    #: Rows with the same quasi-identifiers below which they are generalised.
    k: int = 5

    def check(self) -> None:
        """Refuse what would make a clone that writes to strangers or stays the same tenant.

        Raises:
            UsageError: with what to give instead.
        """
        if not self.target or self.target == self.tenant:
            raise UsageError("a clone needs a tenant id of its own", next_step="give another id with --as")
        if not self.email_domain_owned and not is_reserved(self.email_domain):
            raise UsageError(
                f"{self.email_domain} may be somebody's: made-up addresses would reach strangers",
                next_step="use example.com, or say that the domain is owned or swallowed by a sink",
            )
        if self.k < 2:
            raise UsageError(f"k = {self.k} hides nobody", next_step="k is 5 by default, 2 at least")

    @property
    def mail_host(self) -> str:
        return f"{self.email_label}.{self.email_domain}" if self.email_label else self.email_domain


def is_reserved(host: str) -> bool:
    """Whether nobody can own the host."""
    plain = host.casefold().rstrip(".")
    return any(plain == name or plain.endswith(f".{name}") for name in _RESERVED)


@dataclass(slots=True)
class Setting:
    """What a transformer is made from; complete once the source was looked through."""

    key: MaskingKey
    target: Target
    people: People
    embedder: Embedder = field(default_factory=HashingEmbedder)
    #: Vectors of texts that other stores hold as well.
    shelf: Shelf = field(default_factory=Shelf)
    #: Digests of vectors of texts in which nothing was masked: they may be what they were.
    unchanged: set[int] = field(default_factory=set)
    #: Smallest and largest whole number seen, by domain, and the bits of the narrowest column.
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    bits: dict[str, int] = field(default_factory=dict)
    #: Where the clone's whole numbers begin, by domain.
    starts: dict[str, int] = field(default_factory=dict)
    names: Names = field(init=False)
    phones: Phones = field(init=False)
    uuids: UuidIds = field(init=False)
    #: Masks prose; set when all people are known.
    text: Callable[[str], str] = field(init=False, default=str)
    #: Whether a text mentions somebody.
    mentions: Callable[[str], bool] = field(init=False, default=lambda _: False)
    #: Of aggregated amounts, by domain.
    means: dict[str, Any] = field(default_factory=dict)
    _integers: dict[str, IntegerIds] = field(default_factory=dict)
    _texts: dict[str, TextIds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = Names(self.key, ())
        self.phones = Phones(self.target.phone_regions)
        self.uuids = UuidIds(self.key.derive("ids.uuid"))

    def see(self, domain: str, number: int, bits: int) -> None:
        """A whole number of the source's ids."""
        low, high = self.seen.get(domain, (number, number))
        self.seen[domain] = (min(low, number), max(high, number))
        self.bits[domain] = min(bits, self.bits.get(domain, 64))

    def id_range(self, domain: str) -> IdRange:
        """Where the domain's ids lie, with room; the clone's begin at the domain's start, if it has one."""
        ids = _range(*self.seen.get(domain, (1, 999)))
        return IdRange(ids.low, ids.size, self.starts.get(domain))

    def integers(self, domain: str) -> IntegerIds:
        """The bijection of a domain's whole numbers."""
        if domain not in self._integers:
            key, bits = self.key.derive(f"ids.{domain}"), self.bits.get(domain, 64)
            self._integers[domain] = IntegerIds(key, self.id_range(domain), bits)
        return self._integers[domain]

    def texts(self, domain: str) -> TextIds:
        """The bijection of a domain's texts."""
        if domain not in self._texts:
            self._texts[domain] = TextIds(self.key.derive(f"texts.{domain}"))
        return self._texts[domain]


def _range(low: int, high: int) -> IdRange:
    """From 1 up to so many nines: sequences of the clone can go on behind it, and ids hide how many there were."""
    if low < 1:
        return IdRange(0, max(high, -low) + 1)
    if low > 10_000:
        return IdRange(low, max(1000, high - low + 1))
    return IdRange(1, max(999, 10 ** len(str(high)) - 1))
