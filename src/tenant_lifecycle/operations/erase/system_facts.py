"""What a certificate says of one system, and the documents whose digests are signed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from tenant_lifecycle.evidence.bundle import Subjects
from tenant_lifecycle.evidence.commitments import canonical, sha256_hex
from tenant_lifecycle.model.erasure import certificate as said
from tenant_lifecycle.model.erasure.certificate import rfc3339
from tenant_lifecycle.model.erasure.manifest import Method
from tenant_lifecycle.model.erasure.outcome import Look, Outcome
from tenant_lifecycle.model.erasure.spellings import Writing
from tenant_lifecycle.operations.erase.proceedings import Proceedings

_PRODUCT = "tenant-lifecycle"
_MethodWord = Literal["delete", "drop", "rewrite", "crypto_erase", "anonymise", "expire", "none"]
_NistWord = Literal["clear", "purge", "destroy", "none"]
#: NIST SP 800-88: what is overwritten or freed logically is cleared; a destroyed key purges.
_NIST: Mapping[Method, tuple[_MethodWord, _NistWord]] = {
    Method.DELETE: ("delete", "clear"),
    Method.DROP: ("drop", "clear"),
    Method.REWRITE: ("rewrite", "clear"),
    Method.ANONYMISE: ("anonymise", "none"),
    Method.CRYPTO_ERASE: ("crypto_erase", "purge"),
    Method.EXPIRE: ("expire", "none"),
}


def system_facts(found: Proceedings, outcome: Outcome) -> said.System:
    """One system of the inventory: what was done there, and what can be said of it."""
    name, planned = outcome.system, found.planned(outcome.system)
    method, nist = _method(found, name)
    began = found.outputs_of("erase", name)[0].get("began")
    ended = finished_at(found, name)
    return said.System(
        system_id=name,
        kind=planned.kind,
        region="",
        provider="",
        engine_version="",
        method=method,
        nist_category=nist,
        tool=said.Tool(name=_PRODUCT, version=version(_PRODUCT), digest=None),
        items=_items(found, name),
        bytes=sum(one[3] for output in found.outputs_of("freeze", name) for one in output.get("sets", ())),
        started_at=None if began is None else rfc3339(began),
        finished_at=None if ended is None else rfc3339(ended),
        provider_request_ids_digest=None,
        outcome=outcome.verdict,
        level=outcome.level,
        level_required=outcome.required,
        rule_id=outcome.rule,
        reason=outcome.reason[:1000],
        verification=_search(found, name),
        horizon=_horizon(found, outcome),
        evidence_digest=sha256_hex(canonical(_evidence_document(found, outcome))),
    )


def finished_at(found: Proceedings, system: str) -> float | None:
    """When the last deletion, or the cleaning out after it, of the judged round ended; None: nothing ran."""
    at = found.output("settle", system).get("at")
    return None if at is None else float(at)


def _method(found: Proceedings, name: str) -> tuple[_MethodWord, _NistWord]:
    """The method by which most of the items went."""
    counts: Counter[str] = Counter()
    for output in found.outputs_of("freeze", name):
        for _, method, items, _ in output.get("sets", ()):
            counts[method] += items
    return _NIST[Method(counts.most_common(1)[0][0])] if counts else ("none", "none")


def _items(found: Proceedings, name: str) -> said.Items:
    """All rounds together; what was gone already when its turn came counts as declared and not as deleted."""
    erased = found.outputs_of("erase", name)
    return said.Items(
        declared=sum(one.get("items", 0) for one in found.outputs_of("freeze", name)),
        deleted=sum(one.get("deleted", 0) for one in erased),
        failed=found.evidence[name].refused,
        retained=sum(found.output("erase", name).get("kept", {}).values()),
    )


def _search(found: Proceedings, name: str) -> said.Search | None:
    looks, told = found.evidence[name].looks, found.looks(name)
    if not looks or not told:
        return None
    clean = [one for one in looks if one.clean]
    return said.Search(
        verifier_id=f"{_PRODUCT} {version(_PRODUCT)} looking",
        principal_ref=f"verify of {name}",
        method="items of the manifest one by one; every place that the credentials see",
        passes=tuple(rfc3339(one.at) for one in (clean or looks)),
        control_found=looks[-1].control_found,
        canaries=said.Canaries(
            planted=found.outputs.get("plant", {}).get("planted", {}).get(name, 0),
            found_before=0,
            found_after=told[-1]["canaries"],
        ),
        coverage=said.Coverage(
            objects_scanned=told[-1]["items"],
            bytes_scanned=told[-1]["bytes"],
            encodings=len(Writing),
            # The id, its other names, and the canary.
            identifiers_count=2 + len(found.request.aliases),
        ),
        at=rfc3339(looks[-1].at),
        settle_s=_settled(clean or looks),
    )


def _settled(looks: Sequence[Look]) -> int:
    return max(0, int(looks[-1].at - looks[0].at))


def _horizon(found: Proceedings, outcome: Outcome) -> said.Horizon | None:
    if outcome.until is None:
        return None
    planned = found.planned(outcome.system)
    source = planned.horizon.source if planned.horizon and outcome.rule == "horizon" else outcome.rule
    return said.Horizon(until=rfc3339(outcome.until), source=source)


# -- the documents


def subjects_of(found: Proceedings) -> Subjects:
    """Plan, inventory and evidence, as the bytes that are digested; the plan's digest is the approved one."""
    return Subjects(
        plan=found.plan.text,
        inventory=canonical({"systems": [one.system for one in found.plan.systems]}),
        evidence=canonical(
            {
                "operation": found.operation_id,
                "round": found.round,
                "systems": [_evidence_document(found, one) for one in found.outcomes],
            }
        ),
    )


def _evidence_document(found: Proceedings, outcome: Outcome) -> Mapping[str, Any]:
    """What the steps noted of a system in every round, and what was made of it."""
    name = outcome.system
    told: Mapping[str, Any] = _whole(
        {
            "system": name,
            "outcome": outcome.verdict.value,
            "rule": outcome.rule,
            "frozen": found.outputs_of("freeze", name),
            "erased": found.outputs_of("erase", name),
            "settled": found.outputs_of("settle", name),
            "looks": found.looks(name),
        }
    )
    return told


def _whole(value: Any) -> Any:
    """Times to the second: the canonical form has no fractions."""
    if isinstance(value, Mapping):
        return {str(key).encode("unicode_escape").decode(): _whole(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) else value
