"""People, their memberships and bookmarks, and API keys under row security."""

from __future__ import annotations

from collections.abc import Mapping

from tenant_lifecycle.sandbox.writes.hand import Draw, Hand
from tenant_lifecycle.sandbox.writes.write import Write


def invite(hand: Hand) -> Write:
    """A person comes before the membership that says whose the person is."""
    id, name = hand.uuid(), hand.text.person()[0]
    write = Write("invite")
    write.run("insert person", id=id, name=name, email=f"{hand.ref()}@example.com")
    write.run("insert membership", id=id, tenant=hand.tenant)
    write.put("users", {"id": id}, name=name)
    write.put("memberships", {"tenant": hand.tenant, "user": id}, role="member")
    write.done = lambda: hand.own.people.append(id)
    return write


def rename_person(hand: Hand) -> Write | None:
    """Of this tenant alone."""
    if not hand.own.people:
        return None
    id, name = hand.random.choice(hand.own.people), hand.text.person()[0]
    write = Write("rename_person", forget=lambda: _drop(hand, id))
    write.run("rename person", id=id, name=name)
    write.put("users", {"id": id}, name=name)
    return write


def dismiss(hand: Hand) -> Write | None:
    """The membership goes first, then the person, who for a moment is nobody's."""
    if not hand.own.people:
        return None
    id = hand.random.choice(hand.own.people)
    write = Write("dismiss")
    write.run("delete membership", id=id, tenant=hand.tenant)
    write.run("delete person", id=id)
    write.gone("memberships", {"tenant": hand.tenant, "user": id})
    write.gone("users", {"id": id})
    write.done = write.forget = lambda: _drop(hand, id)
    return write


def bookmark(hand: Hand) -> Write | None:
    """Insert or update in one statement; every name has to be quoted."""
    people, marks = hand.own.people, hand.own.bookmarks
    if not people:
        return None
    fresh = not marks or hand.random.random() < 0.5
    person, order = (hand.random.choice(people), len(marks)) if fresh else hand.random.choice(marks)
    weight, url = hand.random.randrange(1, 100) / 4, f"https://example.com/{hand.ref()}"
    write = Write("bookmark")
    write.run("upsert bookmark", tenant=hand.tenant, user=person, order=order, url=url, weight=weight)
    key = {"tenant": hand.tenant, "user": person, "order": str(order)}
    write.put("Bookmarks", key, url=url, weight=f"{weight:g}")
    if fresh:
        write.done = lambda: marks.append((person, order))
    write.forget = lambda: _drop(hand, person)
    return write


def rotate_key(hand: Hand) -> Write:
    """Row security: the session has to say whose keys it means."""
    keys, id, label = hand.own.keys, hand.uuid(), f"load {hand.ref()}"
    secret, old = f"{hand.random.getrandbits(256):064x}", keys[0] if len(keys) > 2 else None
    write = Write("rotate_key")
    write.run("as tenant", tenant=hand.tenant)
    write.run("insert key", id=id, tenant=hand.tenant, label=label, secret=bytes.fromhex(secret))
    write.put("api_keys", {"id": id}, label=label, secret=secret, **{"from": "{10.1.0.0/16}"})
    if old is not None:
        write.run("delete key", id=old)
        write.gone("api_keys", {"id": old})

    def forget() -> None:
        if old is not None:
            keys.remove(old)

    def done() -> None:
        forget()
        keys.append(id)

    write.done, write.forget = done, forget
    return write


def _drop(hand: Hand, id: str) -> None:
    """The person, and what hangs on the person."""
    hand.own.people = [person for person in hand.own.people if person != id]
    hand.own.bookmarks = [(person, order) for person, order in hand.own.bookmarks if person != id]


KINDS: Mapping[Draw, int] = {invite: 2, rename_person: 2, dismiss: 1, bookmark: 3, rotate_key: 1}
