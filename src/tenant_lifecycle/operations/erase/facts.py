"""What a certificate says of an erasure: pure functions from the proceedings to its fields.

Nothing personal: people are commitments under one salt, so that one person twice is seen; the tenant is a commitment;
everything else is ids of ours, counts, digests, dates, and reasons that people approved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from tenant_lifecycle.errors import NotCertifiable
from tenant_lifecycle.evidence.commitments import ACTOR_DOMAIN, commit_text
from tenant_lifecycle.model.erasure import certificate as said
from tenant_lifecycle.model.erasure.certificate import CertificateFacts, rfc3339, seconds_of
from tenant_lifecycle.model.erasure.holds import Hold
from tenant_lifecycle.model.erasure.outcome import Verdict
from tenant_lifecycle.model.erasure.people import person
from tenant_lifecycle.operations.erase.backup_facts import backups_of, keys_of
from tenant_lifecycle.operations.erase.proceedings import Proceedings
from tenant_lifecycle.operations.erase.system_facts import finished_at, system_facts

#: What nobody wrote down for a request.
_UNRECORDED = "not recorded"


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one certificate from another."""

    certificate_id: str
    #: The certificate before it; None: it is the request's first.
    supersedes: str | None
    issuer: said.Issuer
    tenant_commitment: str
    #: 32 bytes; whoever has it and a name can see whether that person approved.
    actor_salt: bytes = field(repr=False)
    #: Number of the request's first entry in the audit log.
    log_index: int


def facts_of(found: Proceedings, identity: Identity) -> CertificateFacts:
    """The facts of a certificate.

    Raises:
        NotCertifiable: a hold covers what was erased, or something does not fit into a certificate.
    """
    try:
        return CertificateFacts(
            certificate_id=identity.certificate_id,
            supersedes=identity.supersedes,
            issued_at=rfc3339(found.now),
            issuer=identity.issuer,
            tenant_commitment=identity.tenant_commitment,
            request=_request(found, identity.log_index),
            authority=_authority(found, identity.actor_salt),
            holds=_holds(found),
            scope=_scope(found),
            systems=tuple(system_facts(found, one) for one in found.outcomes),
            keys=keys_of(found),
            backups=backups_of(found),
            retained=_retained(found),
            recipients=(),
            out_of_scope=_out_of_scope(found),
            residual_risk=_residual_risk(found),
            rescans=_rescans(found),
        )
    except ValueError as exc:
        raise NotCertifiable(
            f"no certificate: what was found does not fit into one: {exc}",
            next_step=f"tenantctl erase get {found.request.id}",
        ) from exc


def _request(found: Proceedings, log_index: int) -> said.Request:
    request, deadline = found.request, found.request.deadline
    live = _verified_at(found)
    received, done = rfc3339(request.received_at), rfc3339(found.now if live is None else live)
    extension = None
    if deadline.extended_at is not None:
        extension = said.Extension(
            until=rfc3339(deadline.due_at),
            reason=deadline.extended_because,
            notified_at=rfc3339(deadline.extended_at),
        )
    return said.Request(
        id=request.id,
        received_at=received,
        channel="register of requests",
        requester_role=_UNRECORDED,
        identity_check=_UNRECORDED,
        legal_ground=request.ground.value,
        due_at=rfc3339(deadline.first_due_at),
        due_rule="30-days-or-calendar-month",
        extension=extension,
        completed_live_at=None if live is None else done,
        days_used=timedelta(seconds=seconds_of(done) - seconds_of(received)).days,
        log_index=log_index,
    )


def _verified_at(found: Proceedings) -> float | None:
    """When the second search of the judged round ended; None: a hold keeps a part."""
    seen = [found.output("look", f"2/{one.system}").get("at") for one in found.plan.systems]
    held = any(one.verdict is Verdict.HELD for one in found.outcomes)
    return None if held else max((at for at in seen if at is not None), default=None)


def _authority(found: Proceedings, salt: bytes) -> said.Authority:
    given = [
        said.Approval(
            actor_commitment=commit_text(ACTOR_DOMAIN, salt, person(one.by)),
            role="approver",
            at=rfc3339(one.at),
            decision="approved",
            plan_digest=one.plan_digest.removeprefix("sha256:"),
            method="login of the command line",
        )
        for one in found.approvals
    ]
    ends, cooling = found.request.cooling_until, None
    if ends is not None and found.approvals:
        begins = min(max(one.at for one in found.approvals), ends)
        cooling = said.CoolingOff(begins_at=rfc3339(begins), ends_at=rfc3339(ends))
    return said.Authority(approvals=tuple(given), threshold=found.policy.approvals, cooling_off=cooling)


# -- holds


def _holds(found: Proceedings) -> said.Holds:
    """The holds that could have kept something; those placed after the last deletion are told apart."""
    ends = [at for one in found.plan.systems if (at := finished_at(found, one.system)) is not None]
    last = max(ends, default=0.0)
    earlier = [one for one in found.holds if _placed_at(one) <= last]
    active = [_hold(one, _covered(found, one)) for one in earlier if _covered(found, one)]
    _refuse_violated(found, active)
    late = len(found.holds) - len(earlier)
    effects = [f"{len(active)} hold(s) kept a part of it"] if active else []
    effects += [f"{late} hold(s) were placed after the last deletion"] if late else []
    begun = found.outputs.get("no-return", {}).get("at")
    checked = [rfc3339(at) for at in (begun, found.now) if at is not None]
    return said.Holds(
        checked_at=tuple(checked), active=tuple(active), released_since=(), effect="; ".join(effects)
    )


def _placed_at(hold: Hold) -> float:
    return hold.history[0].at if hold.history else 0.0


def _covered(found: Proceedings, hold: Hold) -> tuple[str, ...]:
    """Systems that the hold covers as a whole, and those in which it kept a set."""
    held = {one.system for one in found.outcomes if one.verdict is Verdict.HELD}
    kept = {name for name in held if any(hold.covers(name, one.set) for one in found.planned(name).sets)}
    return tuple(one.system for one in found.plan.systems if hold.covers(one.system) or one.system in kept)


def _hold(hold: Hold, systems: tuple[str, ...]) -> said.Hold:
    return said.Hold(matter=hold.matter, placed_at=rfc3339(_placed_at(hold)), systems=systems)


def _refuse_violated(found: Proceedings, active: Sequence[said.Hold]) -> None:
    held = {one.system for one in found.outcomes if one.verdict is Verdict.HELD}
    violated = sorted({name for one in active for name in one.systems} - held)
    if violated:
        raise NotCertifiable(
            f"no certificate: a hold covers {', '.join(violated)}, and it was erased",
            next_step="tenantctl hold list, and tell whoever placed it",
        )


# -- what was searched, what stays, what is not spoken of


def _scope(found: Proceedings) -> said.Scope:
    looks = {one.system: found.looks(one.system) for one in found.plan.systems}
    seen = sum(max((look["undeclared"] for look in some), default=0) for some in looks.values())
    left = sum(some[-1]["undeclared"] for some in looks.values() if some)
    return said.Scope(
        inventory=tuple(one.system for one in found.plan.systems),
        inventory_version=found.plan.digest,
        record_of_processing_ref="",
        discovery=said.Discovery(
            sweeps=max(map(len, looks.values()), default=0), undeclared_found=seen, resolved=seen - left
        ),
    )


def _retained(found: Proceedings) -> tuple[said.Retained, ...]:
    kept = []
    for planned in found.plan.systems:
        until = found.evidence[planned.system].retained_until
        for name, ground in (planned.retained or {}).items():
            kept.append(
                said.Retained(
                    category=name,
                    ground=ground.partition(":")[0],
                    location=planned.system,
                    until=None if until is None else rfc3339(until),
                    restricted=True,
                )
            )
    return tuple(kept)


def _out_of_scope(found: Proceedings) -> tuple[said.OutOfScope, ...]:
    declared = [
        said.OutOfScope(what=one.system, reason=one.out_of_scope)
        for one in found.plan.systems
        if one.out_of_scope
    ]
    always = [
        said.OutOfScope(what="systems that the inventory does not name", reason="nobody searched them"),
        said.OutOfScope(
            what="the control database of the issuer",
            reason="it keeps the request, and with it the tenant's id, as the record of this erasure",
        ),
        said.OutOfScope(
            what="recipients of the data (Art. 19 GDPR)", reason="who they are is not recorded here"
        ),
    ]
    if not any(one.kind == "backups" for one in found.plan.systems):
        always.append(
            said.OutOfScope(what="backups", reason="the inventory names no system that keeps backups")
        )
    return (*declared, *always)


def _residual_risk(found: Proceedings) -> tuple[str, ...]:
    traces = [
        f"{one.system}: {trace}"
        for one in found.plan.systems
        for trace in found.output("settle", one.system).get("traces", ())
    ]
    back = sum(
        output.get("next") == "again" and "looks" in output
        for key, output in found.outputs.items()
        if key.startswith(("rescan/", "age/"))
    )
    again = [f"{back} later search(es) found something again; it was erased in another round"] if back else []
    return (*traces, *again)


def _rescans(found: Proceedings) -> tuple[said.Rescan, ...]:
    """Those of the judged round; one of an earlier round that found something stands under the residual risks."""
    if _verified_at(found) is None:
        return ()
    live = found.outputs.get(f"interim/{found.round}", {}).get("at", found.now)
    return tuple(
        _rescan(found, index, live + after_s) for index, after_s in enumerate(found.policy.rescans_s)
    )


def _rescan(found: Proceedings, index: int, planned: float) -> said.Rescan:
    output = found.outputs.get(f"rescan/{found.round}/{index}", {})
    times = [look["at"] for look in output.get("looks", {}).values()]
    done = rfc3339(max(times)) if times else None
    return said.Rescan(
        planned_at=rfc3339(planned), done_at=done, result="pending" if done is None else "clean"
    )
