"""Issuing certificates as steps of an erasure: after the live systems are verified, at the end, and under a hold.

Without keys, or where a certificate may not be, the step says so and the erasure goes on: a certificate can be issued
later from what the journal holds. Killed anywhere, the next attempt ends with the same certificate.
"""

from __future__ import annotations

from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import ConfigError, LifecycleError, NotCertifiable, StoreError
from tenant_lifecycle.model.erasure import outcome as outcomes
from tenant_lifecycle.model.erasure.people import counting
from tenant_lifecycle.model.operation import Outputs
from tenant_lifecycle.operations.erase.opening import failure_of
from tenant_lifecycle.operations.erase.proceedings import Proceedings
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.operations.erase.verifying import evidence_of

#: What to do where nothing is configured to sign with.
SET_KEYS = "tenantctl audit new-key FILE for each role, and lifecycle.yaml: evidence.keys and evidence.issuer"


def certify(ctx: StepContext) -> Outcome:
    """Step: issue a certificate. Key: ``certificate/STAGE/ROUND``, stage ``interim``, ``final`` or ``partial``."""
    session: ErasureSession = ctx.session
    _, stage, number = ctx.key.split("/")
    if session.certificates is None:
        return _none(ctx, ConfigError("nothing is configured to sign with", next_step=SET_KEYS))
    found = proceedings_of(session, ctx.outputs, int(number), ctx.now())
    try:
        issued = session.certificates.issue(f"{stage}/{number}", found)
    except StoreError as error:
        failure_of(ctx, error)
        return _none(ctx, error)
    except (ConfigError, NotCertifiable) as error:
        return _none(ctx, error)
    ctx.event("certificate", certificate=issued.id, digest=issued.digest, verdict=issued.certificate_class)
    return Done({"id": issued.id, "digest": issued.digest, "class": issued.certificate_class})


def _none(ctx: StepContext, error: LifecycleError) -> Outcome:
    why = {"none": f"no certificate: {error}", "next_step": error.next_step}
    ctx.event("no_certificate", error=type(error).__name__)
    return Done(why)


def noted(outputs: Outputs, stage: str, number: int) -> dict[str, Any]:
    """What the step came to, for the operation's result."""
    return dict(outputs.get(f"certificate/{stage}/{number}", {}))


def proceedings_of(session: ErasureSession, outputs: Outputs, number: int, now: float) -> Proceedings:
    """Everything that is known of round ``number`` and those before it."""
    request, plan = session.register.get(session.request.id), session.plan
    evidence = {one.system: evidence_of(session, outputs, number, one.system) for one in plan.systems}
    given = session.register.approvals(request.id)
    begun = outputs.get("no-return", {}).get("at", now)
    return Proceedings(
        operation_id=session.operation_id,
        request=request,
        plan=plan,
        approvals=tuple(counting(given, plan.digest, begun, session.policy.approval_valid_s)),
        holds=tuple(session.gate.blocking(request.names)),
        policy=session.policy,
        outputs=outputs,
        round=number,
        evidence=evidence,
        outcomes=tuple(outcomes.judge(evidence[one.system], now) for one in plan.systems),
        now=now,
    )


def stage_of(outputs: Outputs) -> tuple[str, int] | None:
    """Stage and round that a certificate can be issued of now; None: nothing is verified, or something came back."""
    for stage, key in (("final", "complete"), ("partial", "partial"), ("interim", "interim")):
        rounds = [int(name.split("/")[1]) for name in outputs if name.startswith(f"{key}/")]
        if rounds:
            return None if _reopened(outputs, max(rounds)) else (stage, max(rounds))
    return None


def _reopened(outputs: Outputs, number: int) -> bool:
    later = (f"rescan/{number}/", f"age/{number}/")
    return any(key.startswith(later) and one.get("next") == "again" for key, one in outputs.items())
