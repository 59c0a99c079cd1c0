"""Beside the live tenant: previews are made, loaded, proved by their fingerprints and compared with what is live."""

from __future__ import annotations

from collections.abc import Mapping

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import PreconditionRefused, VerificationFailed
from tenant_lifecycle.model.backup.fingerprint import Fingerprint
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.operations.restore.session import RestoreSession
from tenant_lifecycle.stores.backing import Migrates, SetDiff


def check(ctx: StepContext) -> Outcome:
    """Step: the moment can be restored still, and every store can take it.

    Raises:
        NotRestorable: retention took it away meanwhile.
        PreconditionRefused: a store cannot; nothing was changed.
    """
    session: RestoreSession = ctx.session
    moment, tenant = session.moment, session.backup.tenant
    findings = [
        finding
        for name in ctx.operation.spec["stores"]
        for finding in session.backup.previews(name).check_restore(
            tenant, session.shapes(name), moment.base(name).facts
        )
    ]
    refused = refusals(findings)
    if refused:
        raise PreconditionRefused(
            f"the restore is refused: {refused[0].message}", findings=refused, next_step=refused[0].next_step
        )
    managed = session.backup.judge.fence_row(tenant) is not None
    return Done({"base": moment.manifest.id, "at_us": moment.at_us, "managed": managed})


def load(ctx: StepContext) -> Outcome:
    """Step: the moment lies in the store's preview. Key: ``load/STORE``."""
    session: RestoreSession = ctx.session
    name = store_of(ctx.key)
    preview, loaded = session.preview(name), {}
    for set_name in session.shapes(name):
        ctx.check()
        loaded[set_name] = preview.load(set_name, session.moment.items(name, set_name), ctx.check)
        ctx.progress(sum(loaded.values()))
    return Done({"sets": loaded})


def discard(ctx: StepContext) -> Outcome:
    """Step, and undo of `load`: the store's preview is gone."""
    session: RestoreSession = ctx.session
    session.preview(store_of(ctx.key)).discard()
    return Done()


def prove(ctx: StepContext) -> Outcome:
    """Step: what the store says it holds is what base and log say. Key: ``prove/STORE``.

    Raises:
        VerificationFailed: it is not; nothing live was touched, and the previews are taken away.
    """
    session: RestoreSession = ctx.session
    name = store_of(ctx.key)
    expected = session.moment.fingerprints(name)
    found = session.preview(name).fingerprints(session.backup.repository.fingerprint_key())
    differing = unequal(expected, found)
    if differing:
        raise VerificationFailed(
            f"{name}: the preview is not what the log says of {', '.join(differing)}; nothing live was touched",
            next_step="tenantctl backup check --level L3; report it if that finds nothing",
        )
    return Done({"items": sum(one.items for one in expected.values()), "sets": len(expected)})


def unequal(expected: Mapping[str, Fingerprint], found: Mapping[str, Fingerprint]) -> list[str]:
    """Sets whose fingerprints differ, each with the items expected and found."""
    none = Fingerprint()
    return [
        f"{name} ({expected.get(name, none).items} items, {found.get(name, none).items} found)"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name, none) != found.get(name, none)
    ]


def migrate(ctx: StepContext) -> Outcome:
    """Step: the preview has the shape that live data has now, by the application's migrations. Key: ``migrate/STORE``.

    Raises:
        PreconditionRefused: it cannot be brought there; names the columns.
    """
    session: RestoreSession = ctx.session
    preview = session.preview(store_of(ctx.key))
    if not isinstance(preview, Migrates):
        return Done()
    return Done({"shapes": {name: shape.digest() for name, shape in preview.migrate(ctx.check).items()}})


def compare(ctx: StepContext) -> Outcome:
    """Step: how the preview differs from what is live, by counts. Key: ``compare/STORE``."""
    session: RestoreSession = ctx.session
    return Done({"sets": diff_document(session.preview(store_of(ctx.key)).diff(0, ctx.check))})


def diff_document(diffs: list[SetDiff]) -> dict[str, dict[str, int]]:
    """Counts by set."""
    return {
        one.set: {
            "only_restored": one.only_restored,
            "only_live": one.only_live,
            "changed": one.changed,
            "equal": one.equal,
        }
        for one in diffs
    }


def store_of(key: str) -> str:
    """The store of a key ``load/postgres`` or ``undo/load/postgres``."""
    return key.removeprefix("undo/").split("/", 1)[1]
