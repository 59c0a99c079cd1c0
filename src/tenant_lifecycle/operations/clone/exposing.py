"""Around the masking: may it be put there, into its place under its own name, read back, and out again."""

from __future__ import annotations

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import PreconditionRefused, VerificationFailed
from tenant_lifecycle.model.backup.clone import Clone, CloneState
from tenant_lifecycle.model.backup.fingerprint import fingerprint
from tenant_lifecycle.model.findings import Finding, Severity, refusals
from tenant_lifecycle.operations.backup.session import writing_name
from tenant_lifecycle.operations.clone.session import CloneSession
from tenant_lifecycle.operations.restore.loading import store_of, unequal


def findings(session: CloneSession, *, replaces: bool) -> list[Finding]:
    """Everything that forbids the clone, as far as columns and stores tell it. Changes nothing.

    ``replaces``: a clone of that name is there and is made anew.
    """
    found: list[Finding] = []
    for name in session.moment.stores():
        shapes = session.moment.shapes(name)
        found += session.registry.findings(name, shapes)
        store = session.previews(name)
        found += store.check_restore(session.tenant, shapes, session.moment.base(name).facts)
        if not replaces and session.stores[name].holds(session.tenant):
            found.append(
                Finding(
                    "clone.occupied",
                    Severity.REFUSAL,
                    f"{session.environment}/{name} has a tenant {session.tenant!r} already",
                    "choose another id with --as",
                    f"{session.environment}/{name}",
                )
            )
    return found


def check(ctx: StepContext) -> Outcome:
    """Step: places have classes, stores can take it, nobody is there.

    Raises:
        PreconditionRefused: with every reason.
    """
    session: CloneSession = ctx.session
    refused = refusals(findings(session, replaces=bool(ctx.operation.spec.get("replaces"))))
    if refused:
        raise PreconditionRefused(
            f"the clone is refused for {len(refused)} reason(s): {refused[0].message}",
            findings=refused,
            next_step=refused[0].next_step,
        )
    return Done({"at_us": session.moment.at_us})


def enter(ctx: StepContext) -> Outcome:
    """Step: the clone has an owner and an end from before there is data."""
    session: CloneSession = ctx.session
    spec = ctx.operation.spec
    now = float(ctx.operation.created_at)
    replaced = spec.get("replaces")
    if replaced:
        session.register.move(replaced, CloneState.DELETED)
    session.register.enter(
        Clone(
            session.operation_id, session.source, session.chosen.at_us, session.tenant, session.environment,
            spec["mode"], spec["owner"], spec["purpose"], CloneState.BUILDING, now, now + float(spec["ttl_s"]),
        )
    )  # fmt: skip
    return Done()


def destroyed(ctx: StepContext) -> Outcome:
    """Undo of `enter`: nobody ever saw it; the one that it was to replace is there still if nothing was put there."""
    session: CloneSession = ctx.session
    session.register.move(session.operation_id, CloneState.DESTROYED)
    replaced = ctx.operation.spec.get("replaces")
    if replaced and not any(key.startswith("expose/") for key in ctx.outputs.begun):
        session.register.move(replaced, CloneState.EXPOSED)
    return Done()


def expose(ctx: StepContext) -> Outcome:
    """Step: the store's preview becomes the tenant of the clone's name. Key: ``expose/STORE``."""
    session: CloneSession = ctx.session
    changed = session.preview(store_of(ctx.key)).promote(session.writing, None, ctx.check)
    return Done({"sets": dict(changed)})


def confirm(ctx: StepContext) -> Outcome:
    """Step: the store has of the clone exactly what passed the gate. Key: ``confirm/STORE``.

    Raises:
        VerificationFailed: it has something else; all of it is taken away.
    """
    session: CloneSession = ctx.session
    name, key = store_of(ctx.key), session.repository.fingerprint_key()
    expected = session.preview(name).fingerprints(key)
    with session.backs(name).read_base(session.tenant, ctx.check) as reading:
        found = {one: fingerprint(key, reading.items(one)) for one in reading.shapes}
    differing = unequal(expected, found)
    if differing:
        raise VerificationFailed(
            f"{name}: the clone differs from what passed the gate: {', '.join(differing)}"
        )
    return Done({"items": sum(one.items for one in found.values())})


def discard(ctx: StepContext) -> Outcome:
    """Step: the store's preview is gone. Key: ``discard/STORE``."""
    session: CloneSession = ctx.session
    session.preview(store_of(ctx.key)).discard()
    return Done()


def discard_all(ctx: StepContext) -> Outcome:
    """Undo of `build`: no preview of it is left."""
    session: CloneSession = ctx.session
    for name in ctx.operation.spec["stores"]:
        session.preview(name).discard()
    return Done()


def show(ctx: StepContext) -> Outcome:
    """Step: it may be used."""
    session: CloneSession = ctx.session
    session.register.move(session.operation_id, CloneState.EXPOSED)
    return Done()


def empty(ctx: StepContext) -> Outcome:
    """Step, and undo of `expose`: the store has nothing of the clone's tenant. Key: ``empty/STORE``."""
    session: CloneSession = ctx.session
    name = store_of(ctx.key)
    with session.backs(name).read_base(session.tenant, ctx.check) as reading:
        shapes, facts = reading.shapes, reading.facts
    nothing = session.previews(name).open_preview(
        session.tenant, f"{writing_name(session.operation_id)}_e", shapes, facts
    )
    for set_name in shapes:
        nothing.load(set_name, (), ctx.check)
    changed = nothing.promote(session.writing, None, ctx.check)
    nothing.discard()
    return Done({"sets": dict(changed)})


def mark_deleting(ctx: StepContext) -> Outcome:
    """Step: it may not be used any more."""
    session: CloneSession = ctx.session
    session.register.move(ctx.operation.spec["clone"], CloneState.DELETING)
    return Done()


def deleted(ctx: StepContext) -> Outcome:
    """Step: it is gone."""
    session: CloneSession = ctx.session
    session.register.move(ctx.operation.spec["clone"], CloneState.DELETED)
    return Done()
