"""What names a tenant, so that a search knows what to look for, and whether it can be looked for at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tenant_lifecycle.model.erasure.match import Whose
from tenant_lifecycle.model.erasure.recognising import Recogniser
from tenant_lifecycle.model.erasure.spellings import Identifier
from tenant_lifecycle.model.names import TenantId

#: The handle of what was planted to be found before and not after.
CANARY = "canary"


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Everything that names one tenant. Results carry handles; the texts stay here."""

    tenant: TenantId
    #: The id first, then aliases, then canaries.
    all: tuple[Identifier, ...]
    #: Ids of others that hold one of these inside: not to be mistaken for it.
    neighbours: tuple[Identifier, ...] = ()

    @property
    def too_short(self) -> bool:
        """Whether nothing that the application writes names the tenant in four characters or more.

        Then a text that mentions the tenant cannot be told from one that does not, and a search of texts is
        inconclusive. An alias helps: the tenant's slug, name or domain.
        """
        return all(one.short or one.handle.startswith(CANARY) for one in self.all)


def identifiers_of(
    tenant: TenantId,
    aliases: Sequence[str] = (),
    canaries: Sequence[str] = (),
    neighbours: Iterable[str] = (),
) -> Identifiers:
    """The identifiers of a tenant; ``neighbours`` are the ids of all other tenants, as far as they are known.

    Raises:
        ValueError: one of them is empty.
    """
    named = {"id": str(tenant)}
    named |= {f"alias/{number}": text for number, text in enumerate(aliases, 1)}
    named |= {f"{CANARY}/{number}": text for number, text in enumerate(canaries, 1)}
    if not all(text.strip() for text in named.values()):
        raise ValueError("an identifier that is empty would be found everywhere")
    others = frozenset(neighbours) - set(named.values())
    folded = frozenset(other.casefold() for other in others)
    mine = tuple(
        Identifier(handle, text, Whose.TENANT, exact_case=text.casefold() in folded)
        for handle, text in named.items()
    )
    return Identifiers(tenant, mine, _mistakable(mine, others))


def found(identifiers: Identifiers, control: Identifiers | None = None) -> Recogniser:
    """What recognises the tenant, and the control that every search has to find, in bytes."""
    if control is None:
        return Recogniser((*identifiers.all, *identifiers.neighbours))
    theirs = tuple(replace(one, whose=Whose.CONTROL) for one in control.all)
    own = {one.text for one in (*identifiers.all, *theirs)}
    others = {one.text: one for one in (*identifiers.neighbours, *control.neighbours) if one.text not in own}
    return Recogniser((*identifiers.all, *theirs, *others.values()))


def _mistakable(mine: Sequence[Identifier], others: frozenset[str]) -> tuple[Identifier, ...]:
    texts = [one.text.casefold() for one in mine]
    return tuple(
        Identifier("neighbour", other, None)
        for other in sorted(others)
        if any(text in other.casefold() for text in texts)
    )
