"""The fourteen checks of a bundle, in an order in which nothing is read before it is known who signed it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tenant_certificate_verify import envelope, log, schema, systems, timestamp, trust
from tenant_certificate_verify.strict import MOST_BYTES, Invalid, parse
from tenant_certificate_verify.times import due, months_later, time_of

SUBJECTS = {
    "erasure-plan": "evidence/plan.json",
    "system-inventory": "evidence/inventory.json",
    "evidence-bundle": "evidence/evidence.json",
}
#: Clocks of honest people differ by so much.
SLACK = timedelta(minutes=5)
WORDING = (
    "This certificate records what was deleted and what was checked, by whom, when and how, in the systems listed. "
    "It is not a guarantee that no copy exists anywhere else, and it is not legal advice."
)


@dataclass(frozen=True, slots=True)
class Given:
    """What the checker brings."""

    policy: bytes
    now: datetime
    #: A head of the log kept from before, and the proof from it to the bundle's.
    head: str | None = None
    consistency: str | None = None
    tenant: str | None = None
    salt: bytes | None = None


@dataclass(slots=True)
class Report:
    """What was found, check by check."""

    passed: list[str] = field(default_factory=list)
    #: True things that a reader should know.
    notes: list[str] = field(default_factory=list)
    certificate_id: str = ""
    verdict: str = ""


def verify(folder: Path, given: Given, report: Report) -> None:
    """Do all checks; ``report`` has the verdict afterwards, and what passed if a check raises.

    Raises:
        Invalid, Untrusted: the first check that does not hold.
    """
    policy = trust.read(given.policy)
    report.passed.append("1 trust policy: the checker's own")
    data = _file(folder, "certificate.dsse.json")
    signed = envelope.open_envelope(data, policy)
    report.passed.append("2 signatures: " + ", ".join(sorted(key.role for key in signed.keys)))
    statement = parse(signed.payload, "statement")
    schema.check(statement, schema.STATEMENT, "statement")
    said = statement["predicate"]
    report.certificate_id = said["certificate_id"]
    if said["statement"] != WORDING:
        raise Invalid("statement: the wording of the claim is another")
    report.passed.append("3 form: every field known, each of its type")
    proof = log.read_proof(_file(folder, "inclusion.tlog-proof"))
    head, log_key = log.read_head(proof.note, policy, "inclusion proof")
    entry = log.entry(proof.leaf)
    logged = datetime.fromtimestamp(entry["at_ms"] // 1000, UTC)
    stamped = timestamp.check(folder, data, policy.tsa_roots)
    _times(said, (*signed.keys, log_key), logged, stamped, policy, given.now)
    report.passed.append("4 time: keys valid, certificate not dated back")
    _logged(entry, proof, head, data, said, policy)
    report.passed.append(f"5 log: entry {proof.index} of {head.size}")
    _consistent(head, given, policy, report)
    _subjects(statement["subject"], folder, said)
    report.passed.append("7 documents: plan, inventory and evidence are those that were signed")
    found = systems.class_of(said["systems"], said["rescans"], time_of(said["issued_at"], "issued_at"))
    if found != said["certificate_class"]:
        raise Invalid(f"class: the systems make it {found}, it says {said['certificate_class']}")
    report.passed.append(f"8 class: {found}, computed from the systems")
    _authority(said, statement["subject"], policy)
    report.passed.append("9 approvals: for this plan, by different people, before the start")
    _holds(said)
    report.passed.append("10 holds: none covers what was erased")
    _deadline(said, report)
    report.passed.append("11 deadline: computed again")
    systems.each_once(said["systems"], said["scope"]["inventory"])
    _discovery(said, found)
    report.passed.append("12 systems: each of the inventory once")
    if said["certificate_id"] in policy.revoked_certificates:
        raise Invalid("revocation: the policy lists this certificate as revoked")
    report.passed.append("13 revocation: not revoked")
    _tenant(folder, said, given, report)
    report.verdict = systems.VERDICTS[found]


def _file(folder: Path, name: str) -> bytes:
    try:
        with (folder / name).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{name}: cannot be read") from error
    if len(data) > MOST_BYTES:
        raise Invalid(f"{name}: too large")
    return data


def _times(
    said: dict[str, Any],
    keys: tuple[trust.TrustedKey, ...],
    logged: datetime,
    stamped: datetime | None,
    policy: trust.Policy,
    now: datetime,
) -> None:
    issued = time_of(said["issued_at"], "issued_at")
    for system in said["systems"]:
        for name in ("finished_at", "started_at"):
            if system[name] is not None and time_of(system[name], name) > issued:
                raise Invalid(f"time: {system['system_id']} was erased after the certificate was issued")
        search = system["verification"]
        if search is not None and time_of(search["at"], "at") > issued:
            raise Invalid(f"time: {system['system_id']} was searched after the certificate was issued")
    times = [logged] if stamped is None else [logged, stamped]
    for time in times:
        if time > now + SLACK:
            raise Invalid("time: the log or the time-stamp is in the future")
        if issued > time + SLACK:
            raise Invalid("time: the certificate is dated after its entry in the log or its time-stamp")
        if time - issued > timedelta(seconds=policy.max_log_delay_s):
            raise Invalid(
                "time: the certificate is dated back: it came into the log, or was stamped, too late"
            )
        for key in keys:
            if not key.counts_at(time):
                raise Invalid(f"time: the {key.role}'s key was not valid then, or was revoked")


def _logged(
    entry: dict[str, Any],
    proof: log.Proof,
    head: log.Head,
    data: bytes,
    said: dict[str, Any],
    policy: trust.Policy,
) -> None:
    if entry["type"] != "certificate_issued" or entry["digest"] != hashlib.sha256(data).hexdigest():
        raise Invalid("log: the entry is not that of this certificate")
    if entry["seq"] != proof.index or not log.included(proof, head):
        raise Invalid("log: the proof does not lead from the entry to the signed head")
    audit = said["audit"]
    if audit["log_origin"] != policy.log_origin or audit["tree_size"] > proof.index:
        raise Invalid("log: the certificate names another log, or a later state of it")
    if said["request"]["log_index"] >= audit["tree_size"]:
        raise Invalid("log: the request was not in the log before the certificate")


def _consistent(head: log.Head, given: Given, policy: trust.Policy, report: Report) -> None:
    if given.head is None:
        report.notes.append(
            "6 no earlier head of the log was given: whether it was rewritten was not checked"
        )
        return
    kept, _ = log.read_head(given.head, policy, "kept head")
    path = log.read_hashes((given.consistency or "").split(), "consistency proof")
    # The kept head may be the newer one: then the bundle's has to be its beginning.
    old, new = (kept, head) if kept.size <= head.size else (head, kept)
    if not log.consistent(old, new, path):
        raise Invalid("log: it was cut off, forked or written anew since the head that was kept")
    report.passed.append(f"6 consistency: with the kept head of {kept.size} entries")


def _subjects(subjects: list[dict[str, Any]], folder: Path, said: dict[str, Any]) -> None:
    if sorted(one["name"] for one in subjects) != sorted(SUBJECTS):
        raise Invalid("documents: plan, inventory and evidence have to be there, each once")
    for one in subjects:
        data = _file(folder, SUBJECTS[one["name"]])
        if hashlib.sha256(data).hexdigest() != one["digest"]["sha256"]:
            raise Invalid(f"documents: {SUBJECTS[one['name']]} is not the one that was signed")
    listed = parse(_file(folder, SUBJECTS["system-inventory"]), "inventory").get("systems")
    if listed != said["scope"]["inventory"]:
        raise Invalid("documents: the inventory lists other systems than the certificate")


def _authority(said: dict[str, Any], subjects: list[dict[str, Any]], policy: trust.Policy) -> None:
    plan = next(one["digest"]["sha256"] for one in subjects if one["name"] == "erasure-plan")
    authority = said["authority"]
    starts = [time_of(one["started_at"], "started_at") for one in said["systems"] if one["started_at"]]
    if any(one["plan_digest"] != plan for one in authority["approvals"]):
        raise Invalid("approvals: one is for another plan")
    if any(one["decision"] != "approved" for one in authority["approvals"]):
        raise Invalid("approvals: somebody denied this plan")
    people = {one["actor_commitment"] for one in authority["approvals"]}
    if len(people) != len(authority["approvals"]):
        raise Invalid("approvals: one person approved twice")
    if len(people) < max(authority["threshold"], policy.min_approvals):
        raise Invalid("approvals: too few people approved")
    for start in starts:
        if any(time_of(one["at"], "approval") > start for one in authority["approvals"]):
            raise Invalid("approvals: the erasure began before one of them")
        cooling = authority["cooling_off"]
        if cooling is not None and time_of(cooling["ends_at"], "cooling off") > start:
            raise Invalid("approvals: the erasure began before the cooling-off time ended")


def _holds(said: dict[str, Any]) -> None:
    kept = {one["system_id"] for one in said["systems"] if one["outcome"] == "HELD"}
    for hold in said["holds"]["active"]:
        covered = set(hold["systems"]) or {one["system_id"] for one in said["systems"]}
        if not covered <= kept:
            raise Invalid("holds: an active hold covers a system that is not HELD")


def _deadline(said: dict[str, Any], report: Report) -> None:
    request, issued = said["request"], time_of(said["issued_at"], "issued_at")
    received = time_of(request["received_at"], "received_at")
    if time_of(request["due_at"], "due_at") != due(received):
        raise Invalid("deadline: not 30 days or one month after the request, whichever is earlier")
    limit = due(received)
    if request["extension"] is not None:
        until = time_of(request["extension"]["until"], "extension")
        told = time_of(request["extension"]["notified_at"], "extension")
        if told > limit or until > months_later(received, 3) or until < limit:
            raise Invalid("deadline: the extension is too long, or was told too late")
        limit = until
    done = (
        issued if request["completed_live_at"] is None else time_of(request["completed_live_at"], "completed")
    )
    if done < received or done > issued or request["days_used"] != (done - received).days:
        raise Invalid("deadline: the days used are not those between request and completion")
    if done > limit:
        report.notes.append("11 the live systems were erased after the deadline; the certificate says so")


def _discovery(said: dict[str, Any], found: str) -> None:
    discovery = said["scope"]["discovery"]
    if discovery["undeclared_found"] > discovery["resolved"]:
        raise Invalid("systems: places that nobody declared were found and not dealt with")
    if any(one["result"] == "resurrection" for one in said["rescans"]):
        raise Invalid("systems: a later search found the tenant's data again")
    drill = said["backups"]["restore_drill"]
    if found == "FINAL" and drill is not None and drill["result"] != "passed":
        raise Invalid("systems: the restore drill failed")
    if not said["out_of_scope"]:
        raise Invalid("systems: a certificate has to say what it does not speak of")


def _tenant(folder: Path, said: dict[str, Any], given: Given, report: Report) -> None:
    tenant, salt = given.tenant, given.salt
    if (folder / "tenant.json").exists():
        told = parse(_file(folder, "tenant.json"), "tenant.json")
        schema.check(told, {"tenant": str, "salt": schema.digest}, "tenant.json")
        tenant = told["tenant"] if tenant is None else tenant
        salt = bytes.fromhex(told["salt"]) if salt is None else salt
    if tenant is None or salt is None:
        report.notes.append("14 neither tenant nor salt was given: whose certificate it is was not checked")
        return
    content = tenant.encode("utf-8", "surrogatepass")
    if hashlib.sha256(b"tenant-commit/v1" + salt + content).hexdigest() != said["tenant_commitment"]:
        raise Invalid("tenant: the certificate is another tenant's")
    report.passed.append(f"14 tenant: {json.dumps(tenant)}")
