"""Verification as steps: everything compared while writes go on, and once more before the old side goes."""

from __future__ import annotations

import time

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import VerificationFailed
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.operation import Json
from tenant_lifecycle.model.verification import VerificationReport
from tenant_lifecycle.operations.migrate.session import BACK, FORWARD, Session
from tenant_lifecycle.stores.base import Schemas


def verify(ctx: StepContext) -> Outcome:
    """Step: source and target hold the same, item by item, and every reference is met on the target."""
    session: Session = ctx.session
    reports = prove(ctx, FORWARD)
    for pair in session.pair.stores:
        if isinstance(pair.target, Schemas):
            unmet = refusals(pair.target.check_references(session.tenant))
            if unmet:
                raise VerificationFailed(unmet[0].message, next_step=unmet[0].next_step)
    return Done(summary(reports))


def verify_before_leaving(ctx: StepContext) -> Outcome:
    """Step: the new side and the old one still hold the same; only then may the old side go (I8)."""
    return Done(summary(prove(ctx, BACK)))


def prove(ctx: StepContext, way: str) -> list[VerificationReport]:
    """Verify every store in one direction; the session keeps the proofs.

    Raises:
        VerificationFailed: something differs.
    """
    session: Session = ctx.session
    reports = []
    done: dict[str, int] = {}

    def progress(name: str, items: int) -> None:
        done[name] = items
        ctx.progress(sum(done.values()), detail={"verified": dict(done)})

    def check() -> None:
        ctx.check()
        session.check_window()

    for pair in session.way(way).stores:
        reports.append(session.proof(way, pair, check).verify(progress))
    for report in reports:
        if not report.consistent:
            first = report.differences[0]
            raise VerificationFailed(
                f"{len(report.differences)} item(s) differ between {report.source} and {report.target}; "
                f"first: {first.set}: {first.kind.value}",
                next_step="tenantctl verify lists every differing key",
            )
    return reports


def ensure_proved(ctx: StepContext, way: str) -> None:
    """Verify again what is not proved (after a new driver took over) or whose proof is too old."""
    session: Session = ctx.session
    for pair in session.way(way).stores:
        proof = session.proof(way, pair, ctx.check)
        age = time.time() - proof.verified_at
        if proof.outdated() or age > session.policy.verification_max_age_s:
            proof.verify()


def summary(reports: list[VerificationReport]) -> Json:
    """Counts only: what a journal may keep of a verification."""
    stores: dict[str, int] = {}
    for report in reports:
        for verdict in report.sets:
            stores[verdict.store] = stores.get(verdict.store, 0) + len(verdict.differences)
    return {
        # Differences by store.
        "stores": stores,
        "items": sum(report.items for report in reports),
        "sets": sum(len(report.sets) for report in reports),
        "rechecked": sum(verdict.rechecked for report in reports for verdict in report.sets),
        "differences": sum(len(report.differences) for report in reports),
        "repaired": sum(report.repaired for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 3),
    }
