"""A certificate for tests: facts of an erasure, keys, a log in memory of a database, and the customer's policy."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.evidence import certificate
from tenant_lifecycle.evidence.bundle import Bundle, Subjects
from tenant_lifecycle.evidence.commitments import TenantOpening, canonical, sha256_hex
from tenant_lifecycle.evidence.entries import Happening
from tenant_lifecycle.evidence.keys import LocalSigner, Role, Signer
from tenant_lifecycle.evidence.trust import trust_policy
from tenant_lifecycle.model.erasure.certificate import CertificateFacts, rfc3339

ORIGIN = "tenant-lifecycle.example/audit"
TENANT = "acme'; DROP TABLE tenants; -- {*}\n\N{SNOWMAN}"
INVENTORY = ["postgres", "redis", "s3"]
_A_DAY = 86_400


def system(name: str, now: int, **changes: Any) -> dict[str, Any]:
    """A system that was erased and verified."""
    return {
        "system_id": name,
        "kind": name,
        "region": "eu-central-1",
        "provider": "",
        "engine_version": "18.1",
        "method": "delete",
        "nist_category": "clear",
        "tool": {"name": "tenant-lifecycle", "version": "0.1.0", "digest": None},
        "items": {"declared": 12, "deleted": 12, "failed": 0, "retained": 0},
        "bytes": 4096,
        "started_at": rfc3339(now - 3_000),
        "finished_at": rfc3339(now - 2_000),
        "provider_request_ids_digest": None,
        "outcome": "VERIFIED",
        "level": "V2",
        "level_required": "V2",
        "rule_id": "clean",
        "reason": "2 searches, the last 2 clean",
        "verification": {
            "verifier_id": "verifier-1",
            "principal_ref": "role/read-only",
            "method": "enumeration",
            "passes": [rfc3339(now - 1_500), rfc3339(now - 1_000)],
            "control_found": True,
            "canaries": {"planted": 3, "found_before": 3, "found_after": 0},
            "coverage": {
                "objects_scanned": 900,
                "bytes_scanned": 1_000_000,
                "encodings": 7,
                "identifiers_count": 4,
            },
            "at": rfc3339(now - 1_000),
            "settle_s": 500,
        },
        "horizon": None,
        "evidence_digest": "ab" * 32,
        **changes,
    }


def facts_of(now: int, plan: bytes, opening: TenantOpening, **changes: Any) -> dict[str, Any]:
    """Facts as JSON, of an erasure that is complete."""
    received = now - 3 * _A_DAY
    return {
        "certificate_id": "cert_0001",
        "supersedes": None,
        "issued_at": rfc3339(now),
        "issuer": {
            "legal_name": "Example GmbH",
            "role": "processor",
            "contact": "privacy@vendor.example",
            "dpo_contact": "",
            "trust_policy_uri": "https://vendor.example/trust",
        },
        "tenant_commitment": opening.commitment,
        "request": {
            "id": "req_0001",
            "received_at": rfc3339(received),
            "channel": "api",
            "requester_role": "controller",
            "identity_check": "signed-contract",
            "legal_ground": "28(3)(g)",
            "due_at": due(received),
            "due_rule": "30-days-or-calendar-month",
            "extension": None,
            "completed_live_at": rfc3339(now - 1_000),
            "days_used": 2,
            "log_index": 0,
        },
        "authority": _authority(now, plan),
        "holds": {"checked_at": [rfc3339(now - 3_000)], "active": [], "released_since": [], "effect": ""},
        "scope": {
            "inventory": INVENTORY,
            "inventory_version": "sha256:1",
            "record_of_processing_ref": "",
            "discovery": {"sweeps": 2, "undeclared_found": 1, "resolved": 1},
        },
        "systems": [system(name, now) for name in INVENTORY],
        "keys": [],
        "backups": {"classes": [], "exclusion_entry_digest": "cd" * 32, "restore_drill": None},
        "retained": [],
        "recipients": [],
        "out_of_scope": [{"what": "web archives", "reason": "not under the issuer's control"}],
        "residual_risk": ["Mentions of the tenant in other tenants' documents were not searched for."],
        "rescans": [{"planned_at": rfc3339(now - 500), "done_at": rfc3339(now - 400), "result": "clean"}],
        **changes,
    }


def _authority(now: int, plan: bytes) -> dict[str, Any]:
    """Two people agreed to the plan, and a day passed."""
    approvals = [
        {
            "actor_commitment": letter * 64,
            "role": role,
            "at": rfc3339(now - 2 * _A_DAY),
            "decision": "approved",
            "plan_digest": sha256_hex(plan),
            "method": "password+totp",
        }
        for letter, role in (("a", "privacy"), ("b", "technical"))
    ]
    cooling = {"begins_at": rfc3339(now - 2 * _A_DAY), "ends_at": rfc3339(now - _A_DAY)}
    return {"approvals": approvals, "threshold": 2, "cooling_off": cooling}


def due(received: int) -> str:
    """By hand, as the test of the deadline does it for odd months."""
    from tenant_certificate_verify.times import due as of
    from tenant_certificate_verify.times import text_of, time_of

    return text_of(of(time_of(rfc3339(received), "received")))


@dataclass
class Office:
    """Whoever issues, and the customer who checks."""

    control: ControlDatabase
    folder: Path
    now: int
    performer: Signer = field(default_factory=lambda: LocalSigner.generate(Role.PERFORMER))
    verifier: Signer = field(default_factory=lambda: LocalSigner.generate(Role.VERIFIER))
    log_key: Signer = field(default_factory=lambda: LocalSigner.generate(Role.LOG))
    tenant: str = TENANT

    def __post_init__(self) -> None:
        self.log = AuditLog(self.control, ORIGIN, self.log_key)
        if self.log.head().size == 0:
            self.log.append(Happening("requested", "anna", self.tenant))
        self.opening = TenantOpening(self.tenant, bytes(32))
        self.plan = canonical({"plan": "erase", "systems": INVENTORY})

    def facts(self, **changes: Any) -> CertificateFacts:
        given = facts_of(self.now, self.plan, self.opening, **changes)
        return CertificateFacts.model_validate_json(json.dumps(given))

    def subjects(self, inventory: list[str] | None = None) -> Subjects:
        listed = canonical({"systems": INVENTORY if inventory is None else inventory})
        return Subjects(self.plan, listed, canonical({"looks": 6}))

    def issue(self, facts: CertificateFacts | None = None, **changes: Any) -> Bundle:
        facts = facts or self.facts(**changes)
        return certificate.issue(
            facts,
            self.subjects(list(facts.scope.inventory)),
            self.opening,
            [self.performer, self.verifier],
            self.log,
            actor="eraser",
        )

    def policy(self, **changes: Any) -> dict[str, Any]:
        signers = [self.performer, self.verifier, self.log_key]
        day = 86_400
        times = (rfc3339(self.now - 30 * day), rfc3339(self.now + 30 * day))
        keys = [(signer.role, signer.public) for signer in signers]
        return {**trust_policy(ORIGIN, keys, valid_from=times[0], valid_until=times[1]), **changes}

    def write_policy(self, policy: dict[str, Any] | None = None) -> Path:
        path = self.folder / "policy.json"
        path.write_text(json.dumps(policy or self.policy()))
        return path

    def export(self, bundle: Bundle, name: str = "bundle") -> Path:
        folder = self.folder / name
        for file, data in bundle.files().items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return folder
