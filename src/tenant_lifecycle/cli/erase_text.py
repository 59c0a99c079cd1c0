"""Requests, erasure plans and holds as JSON documents and as text."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tenant_lifecycle.cli.documents import Document, findings_document, moment
from tenant_lifecycle.cli.output import Line, NextStep, bytes_text, count_text, styled, table
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.plan import ErasurePlan, SystemPlan
from tenant_lifecycle.model.erasure.request import CLOSED, Request, RequestEvent, RequestState
from tenant_lifecycle.model.findings import Severity

_S = RequestState


def request_document(request: Request, approved_by: Sequence[str], now: float) -> Document:
    """A request with its clock."""
    deadline = request.deadline
    return {
        "id": request.id,
        "tenant": request.tenant,
        "state": request.state.value,
        "why": request.why,
        "ground": request.ground.value,
        "ticket": request.ticket,
        "requested_by": request.requested_by,
        "received_at": moment(request.received_at),
        "due_at": moment(deadline.due_at),
        "days_left": round((deadline.due_at - now) / 86400.0, 2),
        "alarm": deadline.alarm(now),
        "breached": deadline.breached(now) and request.state not in CLOSED,
        "extended_at": moment(deadline.extended_at),
        "plan_digest": request.plan_digest,
        "approved_by": list(approved_by),
        "cooling_until": moment(request.cooling_until),
        "operation": request.operation_id,
        "scope": list(request.scope),
        "aliases": list(request.aliases),
        "out_of_scope": dict(request.out_of_scope),
    }


def request_lines(request: Request, approved_by: Sequence[str], now: float) -> Iterator[Line]:
    """One request for people."""
    yield styled(f"ERASURE  {request.tenant}  {request.id}  {request.state}", "bold")
    if request.why:
        yield f"why       {request.why}"
    yield f"ground    {request.ground}" + (f"  {request.ticket}" if request.ticket else "")
    yield f"asked by  {request.requested_by}, received {moment(request.received_at)}"
    yield f"due       {moment(request.deadline.due_at)}  {clock_text(request, now)}"
    if request.deadline.extended_at is not None:
        yield f"extended  {request.deadline.extended_because} (told: {request.deadline.notice})"
    if request.plan_digest:
        yield f"plan      {request.plan_digest}"
        yield f"approved  {', '.join(approved_by) or 'by nobody yet'}"
    if request.cooling_until is not None and request.cooling_until > now:
        yield f"cooling   until {moment(request.cooling_until)}"
    if request.operation_id:
        yield f"operation {request.operation_id}"


def clock_text(request: Request, now: float) -> str:
    """``27 d 3 h left``, with the alarm that was passed."""
    left = request.deadline.due_at - now
    if request.state in CLOSED:
        return "closed"
    if left < 0:
        return f"OVERDUE by {format_duration(-left)}"
    alarm = request.deadline.alarm(now)
    return f"{format_duration(left)} left" + (f", {alarm:.0%} of the time is gone" if alarm else "")


def request_next_steps(request: Request) -> list[NextStep]:
    """What makes sense after looking at a request."""
    name = request.id
    match request.state:
        case _S.RECEIVED | _S.SCOPING | _S.PLAN_READY | _S.PARTIAL_HELD:
            return [NextStep(f"tenantctl erase plan {name}", "find out what would go")]
        case _S.AWAITING_APPROVAL:
            return [
                NextStep(
                    f"tenantctl erase approve {name} --if-plan {request.plan_digest}", "by another person"
                )
            ]
        case _S.COOLING_OFF:
            return [NextStep(f"tenantctl erase start {name} --if-plan {request.plan_digest}")]
        case _S.BLOCKED_BY_HOLD:
            return [NextStep("tenantctl hold list", f"then: tenantctl erase plan {name}")]
        case _S.NEEDS_HUMAN:
            return [
                NextStep(f"tenantctl erase residuals {name}", "what was found, and where"),
                NextStep(f"tenantctl erase again {name}", "after mending it"),
            ]
        case _S.REJECTED | _S.CANCELLED | _S.COMPLETED:
            return []
    return [NextStep(f"tenantctl erase watch {name}")]


def requests_table(found: Sequence[Request], now: float) -> list[str]:
    rows = [
        (
            one.id,
            one.tenant,
            one.state.value,
            moment(one.deadline.due_at) or "",
            clock_text(one, now),
            one.requested_by,
        )
        for one in found
    ]
    return table(("REQUEST", "TENANT", "STATE", "DUE", "CLOCK", "BY"), rows) if rows else ["no requests"]


def event_document(event: RequestEvent) -> Document:
    return {
        "seq": event.seq,
        "at": moment(event.at),
        "kind": event.kind,
        "actor": event.actor,
        "detail": dict(event.detail),
    }


def event_lines(events: Sequence[RequestEvent]) -> list[str]:
    rows = [
        (
            moment(one.at) or "",
            one.kind,
            one.actor,
            str(one.detail.get("why") or one.detail.get("error") or ""),
        )
        for one in events
    ]
    return table(("AT", "WHAT", "BY", "WHY"), rows)


def plan_document(plan: ErasurePlan, request: Request) -> Document:
    return {
        **plan.document(),
        "tenant": request.tenant,
        "digest": plan.digest,
        "state": request.state.value,
        "findings": findings_document(plan.findings),
        "refused": bool(plan.refusals),
    }


def plan_lines(plan: ErasurePlan, request: Request) -> Iterator[Line]:
    """What would go, by which method, what is proven afterwards, what stays, and what forbids it."""
    yield styled(f"PLAN  erase {request.tenant}  {request.id}", "bold")
    yield f"digest  {plan.digest}"
    yield ""
    rows = [row for one in plan.systems for row in _system_rows(one)]
    yield from table(("SYSTEM", "SET", "ITEMS", "BYTES", "METHOD", "PROOF AFTER"), rows, right=(2, 3))
    yield ""
    yield from _stays(plan)
    told = [one for one in plan.findings if one.severity is Severity.WARNING]
    yield from finding_lines(told)
    yield f"REFUSALS  {len(plan.refusals) or 'none'}"
    yield from finding_lines(plan.refusals)


def _system_rows(one: SystemPlan) -> Iterator[tuple[str, ...]]:
    for size in one.sets:
        yield (
            one.system,
            size.set,
            count_text(size.items),
            bytes_text(size.bytes),
            size.method.value,
            one.required.value,
        )
    if not one.sets:
        word = "out of scope" if one.out_of_scope else "unsupported" if one.unsupported else "nothing there"
        yield (one.system, "-", "0", "-", word, one.required.value)


def _stays(plan: ErasurePlan) -> Iterator[str]:
    for one in plan.systems:
        for name, ground in (one.retained or {}).items():
            yield f"STAYS  {one.system} {name}: {ground}"
        for name, matter in (one.held or {}).items():
            yield f"STAYS  {one.system} {'all of it' if name == '*' else name}: hold {matter}"
        if one.horizon is not None:
            yield f"UNTIL  {one.system}: {one.horizon.days} d after, {one.horizon.level} ({one.horizon.source})"


def residual_lines(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    rows = [
        (
            system,
            str(hit["place"]),
            str(hit["where"]),
            str(hit["identifier"]),
            str(hit["encoding"]),
            str(hit["proposal"]),
        )
        for system, hits in found.items()
        for hit in hits
    ]
    headers = ("SYSTEM", "PLACE", "WHERE", "WHAT", "WRITTEN AS", "LINE FOR ownership.yaml")
    return (
        table(headers, rows) if rows else ["nothing was found by the newest looks, or their key is destroyed"]
    )


def hold_document(hold: Hold, now: float) -> Document:
    return {
        "id": hold.id,
        "matter": hold.matter,
        "ground": hold.ground.value,
        "names": list(hold.names),
        "systems": list(hold.systems),
        "sets": list(hold.sets),
        "state": hold.state(now).value,
        "blocks": hold.blocks(now),
        "blocks_until": moment(hold.blocks_until(now)),
        "review_at": moment(hold.review_at),
        "unreadable": hold.unreadable,
        "history": [
            {"act": one.act.value, "by": one.by, "at": moment(one.at), "reason": one.reason}
            for one in hold.history
        ],
    }


def holds_table(holds: Sequence[Hold], now: float) -> list[str]:
    rows = [
        (
            one.id, ", ".join(one.names), one.matter, one.state(now).value, "yes" if one.blocks(now) else "no",
            moment(one.blocks_until(now)) or "", ", ".join((*one.systems, *one.sets)) or "everything",
        )
        for one in holds
    ]  # fmt: skip
    headers = ("HOLD", "TENANT", "MATTER", "STATE", "BLOCKS", "UNTIL", "WHAT")
    return table(headers, rows) if rows else ["no holds"]


def destroyed_lines(destroyed: Mapping[str, Mapping[str, int]]) -> list[str]:
    """What had gone before a hold took effect."""
    if not destroyed:
        return ["nothing of it was being erased"]
    return [f"{operation} had erased before: {jsonlib.dumps(dict(items), sort_keys=True)}"
            for operation, items in destroyed.items()]  # fmt: skip
