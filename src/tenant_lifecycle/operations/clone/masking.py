"""The one step that sees the source: mask into previews, and ask the gate about what lies in them.

It is one step because what the masking knows (people, secrets, a key that is made anew for each attempt) lives in
memory only. The gate reads the clone back from the stores, before anybody else can.
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
from tenant_lifecycle.model.backup.items import Item
from tenant_lifecycle.operations.clone.session import CloneSession
from tenant_lifecycle.stores.backing import ReservesIds


def build(ctx: StepContext) -> Outcome:
    """Step: the masked clone lies in previews and has passed the gate.

    Raises:
        VerificationFailed: the gate found something; the clone is destroyed.
        PreconditionRefused: a place has no class.
    """
    session: CloneSession = ctx.session
    masker = masker_of(session, ctx.operation.spec)
    try:
        _prepare(ctx, session, masker)
        _load(ctx, session, masker)
        report = _judge(ctx, session, masker)
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
    _reserve_ids(session, masker)


def _reserve_ids(session: CloneSession, masker: Masker) -> None:
    """The clone's whole numbers are ones that its environment gives nobody else; every attempt takes new ones."""
    for need in masker.id_needs():
        target = session.stores.get(need.store)
        start = (
            target.reserve_ids(need.set, need.column, need.size) if isinstance(target, ReservesIds) else None
        )
        if start is not None:
            masker.start_ids(need.domain, start)


def _load(ctx: StepContext, session: CloneSession, masker: Masker) -> None:
    items = 0
    for store, name in _sets(session):
        shape = session.moment.shapes(store)[name]
        source = _checked(ctx, session.moment.items(store, name))
        items += session.preview(store).load(name, masker.mask(store, shape, source), ctx.check)
        ctx.progress(items)


def _judge(ctx: StepContext, session: CloneSession, masker: Masker) -> GateReport:
    gate = Gate(masker)
    for store, name in _sets(session):
        shape = session.moment.shapes(store)[name]
        gate.learn(store, shape, _checked(ctx, session.moment.items(store, name)))
    for store, name in _sets(session):
        shape = session.moment.shapes(store)[name]
        gate.look(store, shape, _checked(ctx, session.read_back(store).items(name)))
    return gate.report()


def _keep(session: CloneSession, report: GateReport) -> None:
    envelope = None if session.sign is None else report.signed(session.sign)
    session.register.judged(session.operation_id, report.document(), envelope)


def _failed(report: GateReport) -> list[str]:
    return [f"{check.name}: {check.problems[0]}" for check in report.checks if not check.passed]
