"""Settings, counters, usage events and the keyless audit log."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tenant_lifecycle.sandbox.writes.hand import Draw, Hand, Setting
from tenant_lifecycle.sandbox.writes.write import Write


def increment(hand: Hand) -> Write:
    """One of three counters that all writers of the tenant share."""
    key = {"tenant": hand.tenant, "name": f"load:{hand.writer // 1000}:{hand.random.randrange(3)}"}
    write = Write("increment")
    write.run("increment", **key)
    write.add("counters", key, 1)
    return write


def put_setting(hand: Hand) -> Write:
    """A new one, or a new value of an old one."""
    settings = hand.own.settings
    fresh = not settings or hand.random.random() < 0.3
    if fresh:
        section = hand.random.choice(("retrieval", "ui"))
        setting = Setting(section, f"load {hand.ref()}", f"load-{hand.ref()}")
    else:
        setting = hand.random.choice(settings)
    version, key = setting.version + 1, _key(hand, setting)
    write = Write("put_setting", forget=lambda: _drop(hand, setting))
    value = json.dumps({"v": version, "x": [1, None]})
    write.run("insert setting" if fresh else "update setting", slug=setting.slug, value=value, **key)
    write.put("settings", key, slug=setting.slug, v=str(version))

    def done() -> None:
        setting.version = version
        if fresh:
            settings.append(setting)

    write.done = done
    return write


def swap_slugs(hand: Hand) -> Write | None:
    """Two rows exchange a unique value, over a third one."""
    if len(hand.own.settings) < 2:
        return None
    one, other = hand.random.sample(hand.own.settings, 2)
    of_one, of_other = one.slug, other.slug
    write = Write("swap_slugs", forget=lambda: _drop(hand, one, other))
    write.run("set slug", slug=f"swap-{hand.ref()}", **_key(hand, one))
    write.run("set slug", slug=of_one, **_key(hand, other))
    write.run("set slug", slug=of_other, **_key(hand, one))
    write.put("settings", _key(hand, one), slug=of_other)
    write.put("settings", _key(hand, other), slug=of_one)

    def done() -> None:
        one.slug, other.slug = of_other, of_one

    write.done = done
    return write


def rename_setting(hand: Hand) -> Write | None:
    """Its primary key changes."""
    if not hand.own.settings:
        return None
    setting, name = hand.random.choice(hand.own.settings), f"load {hand.ref()}"
    key = _key(hand, setting)
    write = Write("rename_setting", forget=lambda: _drop(hand, setting))
    write.run("rename setting", new=name, **key)
    write.gone("settings", key)
    write.put("settings", {**key, "name": name}, slug=setting.slug, v=str(setting.version))
    write.done = lambda: setattr(setting, "name", name)
    return write


def delete_setting(hand: Hand) -> Write | None:
    """And with it a value of the unique key, free for others."""
    if len(hand.own.settings) < 3:
        return None
    setting = hand.random.choice(hand.own.settings)
    write = Write("delete_setting")
    write.run("delete setting", **_key(hand, setting))
    write.gone("settings", _key(hand, setting))
    write.done = write.forget = lambda: _drop(hand, setting)
    return write


def use(hand: Hand) -> Write:
    """An event in some month's partition."""
    kind, month, quantity = f"load {hand.ref()}", hand.random.randrange(1, 13), hand.random.randrange(100_000)
    write = Write("use")
    write.run("insert event", tenant=hand.tenant, kind=kind, quantity=f"{quantity}.2500", at=_moment(month))
    write.put(
        "usage_events",
        {"tenant": hand.tenant, "kind": kind},
        quantity=f"{quantity}.2500",
        month=f"2026-{month:02}",
    )
    write.done = lambda: hand.own.events.update({kind: month})
    return write


def move_event(hand: Hand) -> Write | None:
    """Its key changes, and with it the partition."""
    events = hand.own.events
    if not events:
        return None
    kind = hand.random.choice(list(events))
    month = events[kind] % 12 + 1
    write = Write("move_event", forget=lambda: events.pop(kind))
    write.run("move event", tenant=hand.tenant, kind=kind, at=_moment(month))
    write.put("usage_events", {"tenant": hand.tenant, "kind": kind}, month=f"2026-{month:02}")
    write.done = lambda: events.update({kind: month})
    return write


def audit(hand: Hand) -> Write:
    """Equal rows, one to three of them, in a table without a key."""
    actor, count = f"load-{hand.ref()}", hand.random.randrange(1, 4)
    write = Write("audit")
    write.run("insert audit", tenant=hand.tenant, actor=actor, count=count)
    write.add("audit_log", _audited(hand, actor, "load"), count)
    write.done = lambda: hand.own.audits.update({actor: count})
    return write


def forget_audit(hand: Hand) -> Write | None:
    """Delete one of several equal rows."""
    audits = hand.own.audits
    if not audits:
        return None
    actor = hand.random.choice(list(audits))
    write = Write("forget_audit", forget=lambda: audits.pop(actor))
    write.run("delete one audit", tenant=hand.tenant, actor=actor)
    write.add("audit_log", _audited(hand, actor, "load"), -1)

    def done() -> None:
        audits[actor] -= 1
        if audits[actor] == 0:
            del audits[actor]

    write.done = done
    return write


def amend_audit(hand: Hand) -> Write | None:
    """Update all equal rows at once."""
    audits = hand.own.audits
    if not audits:
        return None
    actor = hand.random.choice(list(audits))
    write = Write("amend_audit")
    write.run("amend audit", tenant=hand.tenant, actor=actor)
    write.add("audit_log", _audited(hand, actor, "load"), -audits[actor])
    write.add("audit_log", _audited(hand, actor, "amended"), audits[actor])
    write.done = write.forget = lambda: audits.pop(actor)
    return write


def _key(hand: Hand, setting: Setting) -> dict[str, str]:
    return {"tenant": hand.tenant, "section": setting.section, "name": setting.name}


def _drop(hand: Hand, *settings: Setting) -> None:
    for setting in settings:
        if setting in hand.own.settings:
            hand.own.settings.remove(setting)


def _audited(hand: Hand, actor: str, action: str) -> dict[str, str]:
    return {"tenant": hand.tenant, "actor": actor, "action": action, "document": ""}


def _moment(month: int) -> str:
    return f"2026-{month:02}-03T04:05:06Z"


KINDS: Mapping[Draw, int] = {
    increment: 14,
    put_setting: 6,
    swap_slugs: 4,
    rename_setting: 3,
    delete_setting: 1,
    use: 8,
    move_event: 2,
    audit: 8,
    forget_audit: 3,
    amend_audit: 2,
}
