"""The one step that sees the source: mask into previews, prove what lies there, and ask the gate.

It is one step because what the masking knows (people, secrets, a key that is made anew for each attempt) lives in
memory only. What the gate looks at is the masked stream once more; that the previews hold exactly that stream, their
own fingerprints say, which are read back from the stores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import VerificationFailed
from tenant_lifecycle.masking.gate import Gate
from tenant_lifecycle.masking.keying import MaskingKey, new_master
from tenant_lifecycle.masking.masker import Masker
from tenant_lifecycle.masking.modes import Mode, data_types
from tenant_lifecycle.masking.report import GateReport
from tenant_lifecycle.masking.setting import Target
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.operations.backup.taking import Seen
from tenant_lifecycle.operations.clone.session import CloneSession
from tenant_lifecycle.operations.restore.loading import unequal

#: Fingerprints of one store's sets.
Prints = dict[str, Fingerprint]


def build(ctx: StepContext) -> Outcome:
    """Step: the masked clone lies in previews and has passed the gate.

    Raises:
        VerificationFailed: the gate found something, or a store holds something else; the clone is destroyed.
        PreconditionRefused: a place has no class.
    """
    session: CloneSession = ctx.session
    masker = masker_of(session, ctx.operation.spec)
    try:
        _prepare(ctx, session, masker)
        loaded = _load(ctx, session, masker)
        _prove(session, loaded)
        report = _judge(ctx, session, masker, loaded)
    finally:
        masker.close()
    _keep(session, report)
    if not report.passed:
        raise VerificationFailed(
            f"the leak gate found {report.leaked} leak(s) and {len(_failed(report))} broken check(s)"
            f"{': ' + _failed(report)[0] if _failed(report) else ''}; the clone is destroyed",
            next_step=f"tenantctl clone get {session.operation_id}: give these places another class, then start again",
        )
    return Done({"items": sum(report.items.values()), "values": sum(kind.values for kind in report.kinds)})


def masker_of(session: CloneSession, spec: Mapping[str, object]) -> Masker:
    """A masker with a key that is made now and forgotten with it."""
    key = MaskingKey(new_master(), session.source, session.tenant)
    registry = session.registry
    target = Target(
        session.source,
        session.tenant,
        email_domain=registry.email_domain,
        email_domain_owned=registry.email_domain_owned,
        email_label=email_label(session.tenant, session.environment),
        phone_regions=registry.phone_regions,
        k=registry.k,
    )
    types = data_types(Mode(str(spec["mode"])), list(map(str, spec.get("types") or ())))  # type: ignore[call-overload]
    return Masker(registry, key, target, types=types, row_keys=session.row_keys, forms=session.forms)


def email_label(tenant: str, environment: str) -> str:
    """A host name of the clone's own, so that clones can share a table whose addresses are unique."""
    plain = "".join(c for c in f"{tenant}-{environment}".lower() if c.isascii() and (c.isalnum() or c == "-"))
    return plain.strip("-")[:40].strip("-") or "clone"


def _sets(session: CloneSession) -> Iterator[tuple[str, str]]:
    """Stores and sets; the store with rows first, for the others' vectors are made from its text."""
    stores = sorted(session.moment.stores(), key=lambda name: name not in session.row_keys)
    for store in stores:
        for set_name in session.moment.shapes(store):
            yield store, set_name


def _checked(ctx: StepContext, items: Iterator[Item]) -> Iterator[Item]:
    for item in items:
        ctx.check()
        yield item


def _prepare(ctx: StepContext, session: CloneSession, masker: Masker) -> None:
    for store, name in _sets(session):
        shape = session.moment.shapes(store)[name]
        masker.prepare(store, shape, _checked(ctx, session.moment.items(store, name)))
    masker.ready()


def _masked(ctx: StepContext, session: CloneSession, masker: Masker, store: str, name: str) -> Seen:
    shape = session.moment.shapes(store)[name]
    source = _checked(ctx, session.moment.items(store, name))
    return Seen(session.repository.fingerprint_key(), masker.mask(store, shape, source))


def _load(ctx: StepContext, session: CloneSession, masker: Masker) -> dict[str, Prints]:
    """Load every set; what was loaded."""
    loaded: dict[str, Prints] = {}
    for store, name in _sets(session):
        seen = _masked(ctx, session, masker, store, name)
        session.preview(store).load(name, seen, ctx.check)
        loaded.setdefault(store, {})[name] = seen.fingerprint
        ctx.progress(sum(one.items for sets in loaded.values() for one in sets.values()))
    return loaded


def _prove(session: CloneSession, loaded: Mapping[str, Prints]) -> None:
    key = session.repository.fingerprint_key()
    for store, expected in loaded.items():
        differing = unequal(expected, session.preview(store).fingerprints(key))
        if differing:
            raise VerificationFailed(f"{store}: the clone is not what was masked of {', '.join(differing)}")


def _judge(
    ctx: StepContext, session: CloneSession, masker: Masker, loaded: Mapping[str, Prints]
) -> GateReport:
    gate = Gate(masker)
    for store, name in _sets(session):
        shape = session.moment.shapes(store)[name]
        gate.learn(store, shape, _checked(ctx, session.moment.items(store, name)))
    for store, name in _sets(session):
        seen = _masked(ctx, session, masker, store, name)
        gate.look(store, session.moment.shapes(store)[name], seen)
        if seen.fingerprint != loaded[store][name]:
            raise VerificationFailed(
                f"{store}: {name}: masking it again gave something else; nothing is proved"
            )
    return gate.report()


def _keep(session: CloneSession, report: GateReport) -> None:
    envelope = None if session.sign is None else report.signed(session.sign)
    session.register.judged(session.operation_id, report.document(), envelope)


def _failed(report: GateReport) -> list[str]:
    return [f"{check.name}: {check.problems[0]}" for check in report.checks if not check.passed]
