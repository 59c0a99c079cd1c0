"""Values as JSON documents: what ``--json`` prints. A published form: fields may be added, none is taken away.

Times are ISO 8601 in UTC, durations seconds, sizes bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from tenant_lifecycle.cli.why import why
from tenant_lifecycle.model.findings import Finding
from tenant_lifecycle.model.operation import ErrorRecord, Event, Operation, StepAhead, StepRecord
from tenant_lifecycle.model.plan import MigrationPlan
from tenant_lifecycle.model.tenant import Tenant
from tenant_lifecycle.model.verification import VerificationReport

Document = dict[str, Any]


def moment(seconds: float | None) -> str | None:
    """Seconds since 1970 as ``2026-01-02T03:04:05.678Z``."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def operation_document(operation: Operation) -> Document:
    return {
        "id": operation.id,
        "kind": operation.kind,
        "definition": operation.definition,
        "tenant": operation.tenant_id,
        "state": operation.state.value,
        "desired": operation.desired.value,
        "terminal": operation.terminal,
        "spec": dict(operation.spec),
        "plan_hash": operation.plan_hash,
        "owner": operation.owner,
        "token": operation.token,
        "lease_until": moment(operation.lease_until) if operation.owner else None,
        "wake_at": moment(operation.wake_at) if operation.wake_at else None,
        "reason": operation.reason,
        "requested_by": operation.requested_by,
        "created_at": moment(operation.created_at),
        "started_at": moment(operation.started_at),
        "finished_at": moment(operation.finished_at),
        "result": dict(operation.result) if operation.result is not None else None,
        "error": error_document(operation.error),
    }


def error_document(error: ErrorRecord | None) -> Document | None:
    if error is None:
        return None
    return {
        "kind": error.kind,
        "message": error.message,
        "next_step": error.next_step,
        "retryable": error.retryable,
        "step": error.step,
    }


def step_document(step: StepRecord) -> Document:
    return {
        "key": step.key,
        "title": step.title,
        "kind": step.kind.value,
        "status": step.status.value,
        "attempt": step.attempt,
        "failures": step.failures,
        "done": step.done_units,
        "total": step.total_units,
        "exact": step.exact,
        "detail": dict(step.detail),
        "output": dict(step.output) if step.output is not None else None,
        "error": error_document(step.error),
        "first_at": moment(step.first_at),
        "last_at": moment(step.last_at),
        "done_at": moment(step.done_at),
        "next_try_at": moment(step.next_try_at),
    }


def event_document(event: Event) -> Document:
    return {
        "seq": event.seq,
        "operation": event.operation_id,
        "at": moment(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "token": event.token,
        "detail": dict(event.detail),
    }


def snapshot(
    operation: Operation,
    steps: Sequence[StepRecord],
    ahead: Sequence[StepAhead],
    events: Sequence[Event],
    now: float,
) -> Document:
    """One operation with everything a picture of it needs."""
    return {
        "operation": operation_document(operation),
        "steps": [step_document(step) for step in steps],
        "ahead": [{"key": step.key, "title": step.title} for step in ahead],
        "events": [event_document(event) for event in events],
        "why": why(operation, steps, now),
        "at": moment(now),
    }


def finding_document(finding: Finding) -> Document:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "subject": finding.subject,
        "message": finding.message,
        "next_step": finding.next_step,
    }


def findings_document(findings: Iterable[Finding]) -> list[Document]:
    return [finding_document(finding) for finding in findings]


def plan_document(plan: MigrationPlan) -> Document:
    return {
        "plan_hash": plan.hash,
        "tenant": plan.tenant,
        "source": plan.source,
        "target": plan.target,
        "cutover": plan.cutover.value,
        "settle_s": plan.settle_s,
        "workers": plan.workers,
        "strategy": plan.strategy.value,
        "why": plan.why,
        "steps": list(plan.steps),
        "stores": [
            {
                "store": store.store,
                "kind": store.kind,
                "how": store.how,
                "items": store.items,
                "bytes": store.bytes,
                "sets": [
                    {"name": size.name, "items": size.items, "bytes": size.bytes, "exact": size.exact}
                    for size in store.sets
                ],
            }
            for store in plan.stores
        ],
        "estimate": {"seconds": plan.estimate.seconds, "exact": False, "basis": plan.estimate.basis},
        "pause": plan.pause and {"seconds": plan.pause.seconds, "exact": False, "basis": plan.pause.basis},
        "window": plan.window and {"opens_at": plan.window.opens_at, "seconds": plan.window.seconds},
        "findings": findings_document(plan.findings),
        "refusals": findings_document(plan.refusals),
    }


def report_document(report: VerificationReport) -> Document:
    """``key`` may be personal data: it is shown to who asked, and kept nowhere."""
    return {
        "source": report.source,
        "target": report.target,
        "consistent": report.consistent,
        "items": report.items,
        "seconds": report.seconds,
        "repaired": report.repaired,
        "sets": [
            {
                "store": verdict.store,
                "set": verdict.set,
                "items": verdict.items,
                "leaves": verdict.leaves,
                "rechecked": verdict.rechecked,
                "differences": len(verdict.differences),
            }
            for verdict in report.sets
        ],
        "differences": [
            {
                "store": verdict.store,
                "set": difference.set,
                "key": difference.key_text,
                "kind": difference.kind.value,
                "fields": list(difference.fields),
            }
            for verdict in report.sets
            for difference in verdict.differences
        ],
    }


def tenant_document(tenant: Tenant, active: Operation | None) -> Document:
    return {
        "id": tenant.id,
        "display_name": tenant.display_name,
        "tier": tenant.tier,
        "environment": tenant.environment,
        "state": tenant.state,
        "created_at": moment(tenant.created_at),
        "updated_at": moment(tenant.updated_at),
        "operation": operation_document(active) if active is not None else None,
    }
