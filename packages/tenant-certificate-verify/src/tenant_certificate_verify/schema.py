"""The certificate's fields: every one is known and has its type, and a field that is not known is an error.

A form is a type (``str``, ``int``, ``bool``), a checking function, a list of one form (any number of those), a set of
allowed values, a tuple of alternatives (``None`` for null), or a dictionary: an object with exactly those members.
"""

from __future__ import annotations

import re
from typing import Any

from tenant_certificate_verify.strict import Invalid
from tenant_certificate_verify.times import time_of

_DIGEST = re.compile(r"[0-9a-f]{64}")
_MOST_TEXT = 1000
_MOST_ITEMS = 1000


def digest(value: object, what: str) -> None:
    """SHA-256 in lower-case hex."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise Invalid(f"{what}: no SHA-256 in hex")


def time(value: object, what: str) -> None:
    """A time."""
    time_of(value, what)


def word(value: object, what: str) -> None:
    """Text, not empty."""
    if not isinstance(value, str) or not value or len(value) > _MOST_TEXT:
        raise Invalid(f"{what}: no text, an empty one or too long a one")


def one(value: object, what: str) -> None:
    """The number 1."""
    if value != 1 or isinstance(value, bool):
        raise Invalid(f"{what}: this version is not known; known is 1")


MAYBE_TIME, MAYBE_DIGEST = (time, None), (digest, None)
LEVELS = {"V0", "V1", "V2", "V3", "V4", "VX", "VV"}
VERDICTS = {
    "VERIFIED",
    "RESIDUAL",
    "UNVERIFIED",
    "INCONCLUSIVE",
    "RETAINED",
    "HELD",
    "OUT_OF_SCOPE",
    "NEEDS_HUMAN",
}
SEARCH = {
    "verifier_id": word,
    "principal_ref": word,
    "method": word,
    "passes": [time],
    "control_found": bool,
    "canaries": {"planted": int, "found_before": int, "found_after": int},
    "coverage": {"objects_scanned": int, "bytes_scanned": int, "encodings": int, "identifiers_count": int},
    "at": time,
    "settle_s": int,
}
SYSTEM = {
    "system_id": word,
    "kind": word,
    "region": str,
    "provider": str,
    "engine_version": str,
    "method": {"delete", "drop", "rewrite", "crypto_erase", "anonymise", "expire", "none"},
    "nist_category": {"clear", "purge", "destroy", "none"},
    "tool": {"name": word, "version": word, "digest": MAYBE_DIGEST},
    "items": {"declared": int, "deleted": int, "failed": int, "retained": int},
    "bytes": int,
    "started_at": MAYBE_TIME,
    "finished_at": MAYBE_TIME,
    "provider_request_ids_digest": MAYBE_DIGEST,
    "outcome": VERDICTS,
    "level": (LEVELS, None),
    "level_required": LEVELS,
    "rule_id": word,
    "reason": str,
    "verification": (SEARCH, None),
    "horizon": ({"until": time, "source": word}, None),
    "evidence_digest": digest,
}
REQUEST = {
    "id": word,
    "received_at": time,
    "channel": word,
    "requester_role": word,
    "identity_check": word,
    "legal_ground": word,
    "due_at": time,
    "due_rule": {"30-days-or-calendar-month"},
    "extension": ({"until": time, "reason": str, "notified_at": time}, None),
    "completed_live_at": MAYBE_TIME,
    "days_used": int,
    "log_index": int,
}
APPROVAL = {
    "actor_commitment": digest,
    "role": word,
    "at": time,
    "decision": {"approved", "denied"},
    "plan_digest": digest,
    "method": word,
}
KEY = {
    "key_ref": word,
    "scheme": word,
    "always_encrypted_since": MAYBE_TIME,
    "copies_checked": [word],
    "scheduled_at": MAYBE_TIME,
    "destroyed_at": MAYBE_TIME,
    "decrypt_probe": ({"before": bool, "after": bool}, None),
}
BACKUP_CLASS = {
    "name": word,
    "oldest": MAYBE_TIME,
    "max_age_days": int,
    "purge_due": MAYBE_TIME,
    "lock_mode": word,
}
DRILL = {"id": word, "at": time, "result": {"passed", "failed"}}
RECIPIENT = {
    "name": word,
    "role": word,
    "notified_at": MAYBE_TIME,
    "acknowledged_at": MAYBE_TIME,
    "evidence_digest": MAYBE_DIGEST,
    "status": {"acknowledged", "notified", "not-notified", "impossible"},
}
PREDICATE: dict[str, Any] = {
    "certificate_id": word,
    "certificate_class": {"FINAL", "INTERIM", "PARTIAL_HELD"},
    "supersedes": (word, None),
    "schema_version": one,
    "semantics_version": one,
    "issued_at": time,
    "issuer": {
        "legal_name": word,
        "role": {"controller", "processor", "sub-processor"},
        "contact": word,
        "dpo_contact": str,
        "trust_policy_uri": str,
    },
    "tenant_commitment": digest,
    "request": REQUEST,
    "authority": {
        "approvals": [APPROVAL],
        "threshold": int,
        "cooling_off": ({"begins_at": time, "ends_at": time}, None),
    },
    "holds": {
        "checked_at": [time],
        "active": [{"matter": word, "placed_at": time, "systems": [word]}],
        "released_since": [word],
        "effect": str,
    },
    "scope": {
        "inventory": [word],
        "inventory_version": word,
        "record_of_processing_ref": str,
        "discovery": {"sweeps": int, "undeclared_found": int, "resolved": int},
    },
    "systems": [SYSTEM],
    "keys": [KEY],
    "backups": {
        "classes": [BACKUP_CLASS],
        "exclusion_entry_digest": MAYBE_DIGEST,
        "restore_drill": (DRILL, None),
    },
    "retained": [
        {"category": word, "ground": word, "location": word, "until": MAYBE_TIME, "restricted": {True}}
    ],
    "recipients": [RECIPIENT],
    "out_of_scope": [{"what": word, "reason": word}],
    "residual_risk": [str],
    "rescans": [
        {
            "planned_at": time,
            "done_at": MAYBE_TIME,
            "result": {"clean", "resurrection", "inconclusive", "pending"},
        }
    ],
    "audit": {"log_origin": word, "tree_size": int, "root_hash": digest},
    "statement": word,
}
STATEMENT: dict[str, Any] = {
    "_type": {"https://in-toto.io/Statement/v1"},
    "subject": [{"name": word, "digest": {"sha256": digest}}],
    "predicateType": {"https://tenant-lifecycle.dev/deletion-certificate/v1"},
    "predicate": PREDICATE,
}


def check(value: object, form: Any, what: str) -> None:
    """Raises Invalid unless the value has the form."""
    if isinstance(form, dict):
        _object(value, form, what)
    elif isinstance(form, list):
        _list(value, form[0], what)
    elif isinstance(form, tuple):
        if value is not None:
            check(value, form[0], what)
    elif isinstance(form, set):
        if not isinstance(value, str | bool) or value not in form:
            raise Invalid(f"{what}: not one of the values that may stand there")
    elif isinstance(form, type):
        _plain(value, form, what)
    else:
        form(value, what)


def _object(value: object, form: dict[str, Any], what: str) -> None:
    if not isinstance(value, dict) or set(value) != set(form):
        odd = sorted(set(value) ^ set(form)) if isinstance(value, dict) else ["an object"]
        raise Invalid(f"{what}: missing or unknown: {', '.join(odd)[:200]}")
    for name, inner in form.items():
        check(value[name], inner, f"{what}.{name}")


def _list(value: object, form: Any, what: str) -> None:
    if not isinstance(value, list) or len(value) > _MOST_ITEMS:
        raise Invalid(f"{what}: no list, or too long a one")
    for number, inner in enumerate(value):
        check(inner, form, f"{what}[{number}]")


def _plain(value: object, form: type, what: str) -> None:
    if type(value) is not form:
        raise Invalid(f"{what}: the wrong type")
    if isinstance(value, str) and len(value) > _MOST_TEXT:
        raise Invalid(f"{what}: too long")
    if form is int and isinstance(value, int) and value < 0:
        raise Invalid(f"{what}: below nothing")
