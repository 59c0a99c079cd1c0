"""What a deletion certificate says: its fields, strict, and the class that follows from its systems.

`CertificateFacts` is what an erasure found out; `Predicate` is what is signed. The class is computed from the
systems' outcomes and the inventory by `outcome.overall` and stands in no field that anybody fills in. Times are
RFC 3339 in UTC to the second, numbers are whole, sizes are bounded, an unknown field is an error. Nothing here
names the tenant or a person: commitments, ids of ours, counts and digests.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tenant_lifecycle.errors import NotCertifiable
from tenant_lifecycle.model.erasure.outcome import Level, Outcome, Overall, Verdict, overall

SCHEMA_VERSION: Literal[1] = 1
#: Grows when the meaning of levels, verdicts or classes changes.
SEMANTICS_VERSION: Literal[1] = 1
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://tenant-lifecycle.dev/deletion-certificate/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

#: The ceiling of the claim, word by word in every certificate.
STATEMENT = (
    "This certificate records what was deleted and what was checked, by whom, when and how, in the systems listed. "
    "It is not a guarantee that no copy exists anywhere else, and it is not legal advice."
)


class CertificateClass(StrEnum):
    """What kind of certificate it is."""

    FINAL = "FINAL"
    #: Live systems are verified; the rest is gone at the dates stated, or later searches are still to come.
    INTERIM = "INTERIM"
    #: Something is kept under a hold, on a legal ground, or was out of scope.
    PARTIAL_HELD = "PARTIAL_HELD"


_CLASSES = {
    Overall.COMPLETE: CertificateClass.FINAL,
    Overall.INTERIM: CertificateClass.INTERIM,
    Overall.COMPLETE_WITH_EXCEPTIONS: CertificateClass.PARTIAL_HELD,
}


def rfc3339(seconds: float) -> str:
    """A time as certificates write it: UTC, to the second, rounded down."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> int:
    """Seconds since 1970 of `rfc3339`.

    Raises:
        ValueError: it is no such time.
    """
    return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp())


def _real_time(text: str) -> str:
    seconds_of(text)
    return text


Time = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_real_time),
]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
#: A word of ours: an id, a kind.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Sentence = Annotated[str, StringConstraints(max_length=1000)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]


class Part(BaseModel):
    """A part of a certificate."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Issuer(Part):
    """Who certifies."""

    legal_name: Word
    role: Literal["controller", "processor", "sub-processor"]
    contact: Word
    dpo_contact: Sentence
    trust_policy_uri: Sentence


class Extension(Part):
    """Of the time to answer, Art. 12(3)."""

    until: Time
    reason: Sentence
    notified_at: Time


class Request(Part):
    """What was asked, and by when it was due."""

    id: Word
    received_at: Time
    channel: Word
    requester_role: Word
    identity_check: Word
    legal_ground: Word
    due_at: Time
    due_rule: Literal["30-days-or-calendar-month"]
    extension: Extension | None
    #: When the live systems were verified; None: they are not.
    completed_live_at: Time | None
    #: Whole days from reception to that, or to the issue.
    days_used: Count
    #: Number of the request's first entry in the audit log.
    log_index: Count


class Approval(Part):
    """One person's decision on the plan."""

    actor_commitment: Digest
    role: Word
    at: Time
    decision: Literal["approved", "denied"]
    plan_digest: Digest
    method: Word


class CoolingOff(Part):
    """The time in which the request could be taken back."""

    begins_at: Time
    ends_at: Time


class Authority(Part):
    """Who allowed it."""

    approvals: tuple[Approval, ...]
    threshold: Count
    cooling_off: CoolingOff | None


class Hold(Part):
    """A legal hold that was active when the certificate was issued."""

    matter: Word
    placed_at: Time
    #: Systems that it covers.
    systems: tuple[Word, ...]


class Holds(Part):
    """What legal holds did."""

    checked_at: tuple[Time, ...]
    active: tuple[Hold, ...]
    released_since: tuple[Word, ...]
    effect: Sentence


class Discovery(Part):
    """The search for what nobody declared."""

    sweeps: Count
    undeclared_found: Count
    resolved: Count


class Scope(Part):
    """Which systems there are."""

    inventory: tuple[Word, ...] = Field(min_length=1, max_length=1000)
    inventory_version: Word
    record_of_processing_ref: Sentence
    discovery: Discovery


class Tool(Part):
    """What did it."""

    name: Word
    version: Word
    digest: Digest | None


class Items(Part):
    """How many, of the manifest."""

    declared: Count
    deleted: Count
    failed: Count
    retained: Count


class Canaries(Part):
    """Planted markers."""

    planted: Count
    found_before: Count
    found_after: Count


class Coverage(Part):
    """What a search went through."""

    objects_scanned: Count
    bytes_scanned: Count
    encodings: Count
    identifiers_count: Count


class Search(Part):
    """How a system was verified."""

    verifier_id: Word
    principal_ref: Word
    method: Word
    passes: tuple[Time, ...]
    control_found: bool
    canaries: Canaries
    coverage: Coverage
    at: Time
    settle_s: Count


class Horizon(Part):
    """Until when something may remain, and who says so."""

    until: Time
    source: Word


class System(Part):
    """One system of the inventory: what was done there, and what can be said of it."""

    system_id: Word
    kind: Word
    region: Sentence
    provider: Sentence
    engine_version: Sentence
    method: Literal["delete", "drop", "rewrite", "crypto_erase", "anonymise", "expire", "none"]
    nist_category: Literal["clear", "purge", "destroy", "none"]
    tool: Tool
    items: Items
    bytes: Count
    started_at: Time | None
    finished_at: Time | None
    provider_request_ids_digest: Digest | None
    outcome: Verdict
    level: Level | None
    level_required: Level
    rule_id: Word
    reason: Sentence
    verification: Search | None
    horizon: Horizon | None
    evidence_digest: Digest

    def as_outcome(self) -> Outcome:
        """What `outcome.overall` judges.

        Raises:
            ValueError: level, verdict and date do not fit together.
        """
        until = float(seconds_of(self.horizon.until)) if self.horizon is not None else None
        return Outcome(
            self.system_id, self.outcome, self.level, self.level_required, self.rule_id, self.reason, until
        )


class DecryptProbe(Part):
    """Whether a planted ciphertext could be decrypted."""

    before: bool
    after: bool


class Key(Part):
    """A tenant's key that was destroyed, or will be."""

    key_ref: Word
    scheme: Word
    always_encrypted_since: Time | None
    copies_checked: tuple[Word, ...]
    scheduled_at: Time | None
    destroyed_at: Time | None
    decrypt_probe: DecryptProbe | None


class BackupClass(Part):
    """Backups of one kind."""

    name: Word
    oldest: Time | None
    max_age_days: Count
    purge_due: Time | None
    lock_mode: Word


class RestoreDrill(Part):
    """The proof that a restored backup is erased again before anybody can use it."""

    id: Word
    at: Time
    result: Literal["passed", "failed"]


class Backups(Part):
    """What backups still hold, and why nobody can use it."""

    classes: tuple[BackupClass, ...]
    exclusion_entry_digest: Digest | None
    restore_drill: RestoreDrill | None


class Retained(Part):
    """Data that is kept, and restricted."""

    category: Word
    ground: Word
    location: Word
    until: Time | None
    restricted: Literal[True]


class Recipient(Part):
    """Somebody to whom the data had gone, Art. 19."""

    name: Word
    role: Word
    notified_at: Time | None
    acknowledged_at: Time | None
    evidence_digest: Digest | None
    status: Literal["acknowledged", "notified", "not-notified", "impossible"]


class OutOfScope(Part):
    """What the certificate does not speak of."""

    what: Word
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Rescan(Part):
    """A later search."""

    planned_at: Time
    done_at: Time | None
    result: Literal["clean", "resurrection", "inconclusive", "pending"]


class CertificateFacts(Part):
    """What an erasure found out: everything of a certificate that is not computed."""

    certificate_id: Word
    supersedes: Word | None
    issued_at: Time
    issuer: Issuer
    tenant_commitment: Digest
    request: Request
    authority: Authority
    holds: Holds
    scope: Scope
    systems: tuple[System, ...] = Field(max_length=1000)
    keys: tuple[Key, ...]
    backups: Backups
    retained: tuple[Retained, ...]
    recipients: tuple[Recipient, ...]
    out_of_scope: tuple[OutOfScope, ...] = Field(min_length=1)
    residual_risk: tuple[Sentence, ...]
    rescans: tuple[Rescan, ...]


class AuditReference(Part):
    """Where the audit log was just before the certificate went into it."""

    log_origin: Word
    tree_size: Count
    root_hash: Digest


class Predicate(CertificateFacts):
    """What is signed: the facts, and what follows from them."""

    certificate_class: CertificateClass
    schema_version: Literal[1]
    semantics_version: Literal[1]
    audit: AuditReference
    statement: Sentence


def certificate_class(facts: CertificateFacts) -> CertificateClass:
    """The class that follows from the systems, the inventory and the searches still planned, and from nothing else.

    Raises:
        NotCertifiable: a system is missing, twice there, or not in a state that may be certified.
    """
    try:
        outcomes = [system.as_outcome() for system in facts.systems]
        whole = overall(outcomes, facts.scope.inventory)
    except ValueError as exc:
        raise NotCertifiable(f"no certificate: {exc}", next_step=_LOOK) from exc
    if whole not in _CLASSES:
        raise NotCertifiable(f"no certificate: {_why_not(outcomes, facts.scope.inventory)}", next_step=_LOOK)
    if whole is Overall.COMPLETE and any(one.result == "pending" for one in facts.rescans):
        return CertificateClass.INTERIM
    return _CLASSES[whole]


def predicate_of(facts: CertificateFacts, audit: AuditReference) -> Predicate:
    """What is to be signed.

    Raises:
        NotCertifiable: as `certificate_class`.
    """
    return Predicate(
        **{name: getattr(facts, name) for name in CertificateFacts.model_fields},
        certificate_class=certificate_class(facts),
        schema_version=SCHEMA_VERSION,
        semantics_version=SEMANTICS_VERSION,
        audit=audit,
        statement=STATEMENT,
    )


_LOOK = "look at the erasure's residuals; a certificate follows when every system is verified or excepted"


def _why_not(outcomes: list[Outcome], inventory: tuple[str, ...]) -> str:
    seen = [one.system for one in outcomes]
    odd = sorted({name for name in (*inventory, *seen) if seen.count(name) != 1 or name not in inventory})
    if odd or len(set(inventory)) != len(inventory):
        return f"every system of the inventory must stand in it once: {', '.join(odd) or 'inventory'}"
    bad = [one for one in outcomes if one.verdict in _BAD]
    return "; ".join(f"{one.system} is {one.verdict}" for one in bad)


_BAD = frozenset({Verdict.RESIDUAL, Verdict.UNVERIFIED, Verdict.INCONCLUSIVE, Verdict.NEEDS_HUMAN})
