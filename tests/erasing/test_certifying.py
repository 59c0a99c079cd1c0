"""An erasure ends with certificates that a customer's offline verifier accepts, and with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from erasing_stage import ACME, Stage

from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.certificates import Certificates, Kept
from tenant_lifecycle.errors import StoreUnavailable
from tenant_lifecycle.evidence.certificate import export
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.trust import trust_policy
from tenant_lifecycle.evidence_file import EvidenceConfig, IssuerConfig, KeyConfig
from tenant_lifecycle.model.erasure.certificate import CertificateClass, rfc3339
from tenant_lifecycle.model.erasure.request import Exception17, RequestState
from tenant_lifecycle.model.operation import State
from tenant_lifecycle.wiring.certifying import CertificateOffice, issued_bundle

ORIGIN = "example.com/audit"
COMPLETE, INTERIM_OR_EXCEPTIONS, INVALID = 0, 10, 30


@pytest.fixture
def evidence(tmp_path: Path) -> EvidenceConfig:
    """Three keys in files, and who issues."""
    keys = {}
    for role in (Role.PERFORMER, Role.VERIFIER, Role.LOG):
        path = tmp_path / f"{role.value}.pem"
        LocalSigner.generate(role).write(path)
        keys[role.value] = KeyConfig("file", str(path))
    return EvidenceConfig(ORIGIN, keys, IssuerConfig("Example GmbH", "processor", "privacy@example.com"))


@pytest.fixture
def issuing(stage: Stage, evidence: EvidenceConfig) -> Stage:
    """A stage that has keys."""
    stage.office = CertificateOffice(stage.db, evidence)
    return stage


def policy(evidence: EvidenceConfig, revoked: Sequence[str] = ()) -> dict[str, Any]:
    roles = [Role(name) for name in evidence.keys]
    keys = [
        (role, LocalSigner.from_file(role, Path(evidence.keys[role.value].name)).public) for role in roles
    ]
    day, now = 86_400, time.time()
    made = trust_policy(ORIGIN, keys, valid_from=rfc3339(now - day), valid_until=rfc3339(now + day))
    return {**made, "revoked_certificates": list(revoked)}


def checked(
    folder: Path, bundle: Path, evidence: EvidenceConfig, revoked: Sequence[str] = ()
) -> tuple[int, str]:
    """What the customer's program says, in a process of its own."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy(evidence, revoked)))
    program = Path(sys.executable).parent / "tenant-certificate-verify"
    done = subprocess.run(
        [program, "--policy", path, bundle], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


def kept(stage: Stage, request_id: str) -> list[Kept]:
    return list(Certificates(stage.db).of_request(request_id))


def test_an_erasure_ends_with_a_certificate_that_the_offline_verifier_accepts(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path
) -> None:
    request = issuing.approved()
    operation = issuing.drive(issuing.started(request))
    assert operation.state is State.SUCCEEDED and operation.result is not None
    interim, final = kept(issuing, request.id)
    assert (interim.stage, final.stage) == ("interim/1", "final/1")
    assert interim.supersedes is None and final.supersedes == interim.id
    bundle = issued_bundle(final)
    assert operation.result["certificate"] == {"id": final.id, "digest": bundle.digest, "class": "FINAL"}
    for number, one in enumerate((interim, final)):
        folder = tmp_path / f"bundle{number}"
        export(issued_bundle(one), folder)
        code, said = checked(tmp_path, folder, evidence)
        assert code == COMPLETE and "VALID_COMPLETE" in said, said
    said = bundle.predicate
    assert [one.items.deleted for one in said.systems] == [8, 8], "seven of ours and the canary, in each"
    assert all(one.verification and one.verification.control_found for one in said.systems)
    assert said.authority.threshold == 2 and len(said.authority.approvals) == 2
    for name in (b"acme", b"ann@", b"bob", b"petra"):
        assert name not in bundle.payload


def test_one_flipped_byte_anywhere_in_the_bundle_is_rejected(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path
) -> None:
    request = issuing.approved()
    issuing.drive(issuing.started(request))
    folder = tmp_path / "bundle"
    export(issued_bundle(kept(issuing, request.id)[-1]), folder)
    for name in ("certificate.dsse.json", "inclusion.tlog-proof", "evidence/plan.json", "tenant.json"):
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
        assert checked(tmp_path, folder, evidence)[0] not in (COMPLETE, INTERIM_OR_EXCEPTIONS), name
        path.write_bytes(whole)
    assert checked(tmp_path, folder, evidence)[0] == COMPLETE


def test_without_keys_the_erasure_ends_and_says_that_there_is_no_certificate(stage: Stage) -> None:
    stage.office = CertificateOffice(stage.db, EvidenceConfig())
    request = stage.approved()
    operation = stage.drive(stage.started(request))
    assert operation.state is State.SUCCEEDED and operation.result is not None
    said = operation.result["certificate"]
    assert said["none"] == "no certificate: no keys for performer, verifier, log"
    assert "audit new-key" in said["next_step"]
    assert kept(stage, request.id) == []
    assert stage.state(request.id) is RequestState.COMPLETED


def test_under_a_hold_the_certificate_says_what_is_kept(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path
) -> None:
    issuing.holds.place("M-1", Exception17.LEGAL_CLAIMS, [ACME], actor="jura@desk", systems=["cache"])
    request = issuing.approved()
    operation = issuing.drive(issuing.started(request))
    assert issuing.state(request.id) is RequestState.PARTIAL_HELD, operation.why
    (one,) = kept(issuing, request.id)
    said = issued_bundle(one).predicate
    assert said.certificate_class is CertificateClass.PARTIAL_HELD and one.stage == "partial/1"
    assert [(hold.matter, hold.systems) for hold in said.holds.active] == [("M-1", ("blue/cache",))]
    export(issued_bundle(one), tmp_path / "bundle")
    code, told = checked(tmp_path, tmp_path / "bundle", evidence)
    assert code == INTERIM_OR_EXCEPTIONS and "VALID_WITH_EXCEPTIONS" in told, told


def test_a_providers_promise_makes_the_certificate_an_interim_one(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path
) -> None:
    issuing.shelves["blue/rows"].fault("horizon days", 90)
    request = issuing.approved()
    assert issuing.drive(issuing.started(request)).state is State.WAITING
    (one,) = kept(issuing, request.id)
    said = issued_bundle(one).predicate
    assert said.certificate_class is CertificateClass.INTERIM
    horizons = {system.system_id: system.horizon for system in said.systems}
    rows = horizons["blue/rows"]
    assert horizons["blue/cache"] is None and rows is not None and rows.source == "the shelf maker's word"
    export(issued_bundle(one), tmp_path / "bundle")
    code, told = checked(tmp_path, tmp_path / "bundle", evidence)
    assert code == INTERIM_OR_EXCEPTIONS and "VALID_INTERIM" in told, told


def test_something_that_came_back_revokes_the_certificate_and_another_one_follows(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path
) -> None:
    issuing.with_policy(rescans_s=(3600.0,))
    request = issuing.approved()
    operation_id = issuing.started(request)
    assert issuing.drive(operation_id).state is State.WAITING
    (interim,) = kept(issuing, request.id)
    assert issued_bundle(interim).predicate.rescans[0].result == "pending"
    with issuing.shelves["blue/rows"].open() as db:
        db.execute("INSERT INTO item VALUES ('documents', 'acme', 'late', 'acme:late')")
    issuing.again(operation_id)
    first, second = kept(issuing, request.id)
    assert first.revoked_at is not None and second.revoked_at is None
    assert second.stage == "interim/2" and second.supersedes == first.id
    assert any("found something again" in one for one in issued_bundle(second).predicate.residual_risk)
    for name, one in (("first", first), ("second", second)):
        export(issued_bundle(one), tmp_path / name)
    revoked = Certificates(issuing.db).revoked()
    assert checked(tmp_path, tmp_path / "first", evidence, revoked)[0] == INVALID
    assert checked(tmp_path, tmp_path / "second", evidence, revoked)[0] == INTERIM_OR_EXCEPTIONS
    log = [one.entry.type for one in AuditLog(issuing.db, ORIGIN).entries(operation_id=request.id)]
    assert log.count("certificate_issued") == 2 and log.count("certificate_revoked") == 1


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("stale_s", [3600.0, 0.5])
@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (Certificates, "numbered", True),
        (Certificates, "keep_signed", False),
        (Certificates, "keep_signed", True),
        (AuditLog, "record_certificate", True),
        (Certificates, "keep_proof", False),
        (Certificates, "keep_proof", True),
    ],
)
def test_killed_while_issuing_there_is_one_certificate_of_a_stage(
    issuing: Stage, monkeypatch: pytest.MonkeyPatch, owner: type, name: str, after: bool, stale_s: float
) -> None:
    """The exception stands for the kill: nothing of ours runs after it, and what was committed stays.

    What was signed and not logged is signed anew after ``stale_s``; the second attempt is a second later.
    """
    monkeypatch.setattr("tenant_lifecycle.catalog.certificates._STALE_S", stale_s)
    whole, calls = getattr(owner, name), 0
    office, issue = issuing.office, CertificateOffice.issue

    def dying(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1 and not after:
            raise Killed
        result = whole(*arguments, **named)
        if calls == 1:
            raise Killed
        return result

    def again(self: CertificateOffice, stage: str, found: Any) -> Any:
        try:
            return issue(self, stage, found)
        except Killed:
            return issue(self, stage, replace(found, now=found.now + 1))

    monkeypatch.setattr(owner, name, dying)
    monkeypatch.setattr(CertificateOffice, "issue", again)
    request = issuing.approved()
    assert office is not None
    assert issuing.drive(issuing.started(request)).state is State.SUCCEEDED
    assert calls >= 2
    assert [one.stage for one in kept(issuing, request.id)] == ["interim/1", "final/1"]
    log = AuditLog(issuing.db, ORIGIN).entries(operation_id=request.id)
    assert [one.entry.type for one in log].count("certificate_issued") == 2, "one of each stage"


def test_a_key_that_does_not_answer_for_good_does_not_keep_the_erasure_from_ending(
    issuing: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise StoreUnavailable("no answer", store="kms")

    monkeypatch.setattr("tenant_lifecycle.wiring.certifying.open_signer", down)
    request = issuing.approved()
    operation = issuing.drive(issuing.started(request))
    assert operation.state is State.SUCCEEDED and operation.result is not None
    assert "no answer" in operation.result["certificate"]["none"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("nth", [1, 2], ids=["interim", "final"])
@pytest.mark.parametrize(
    "point",
    [
        (Certificates, "numbered"),
        (Certificates, "keep_signed"),
        (Certificates, "keep_proof"),
        (AuditLog, "record_certificate"),
        (AuditLog, "checkpoint"),
    ],
    ids=lambda point: point[1],
)
def test_killed_while_a_certificate_is_issued_there_is_one_of_it(
    issuing: Stage, evidence: EvidenceConfig, tmp_path: Path, point: tuple[type, str], nth: int, after: bool
) -> None:
    request = issuing.approved()
    operation_id = issuing.started(request)
    assert issuing.drive_and_die(operation_id, point, nth, after), "it was never killed"
    operation = issuing.drive(operation_id)
    assert operation.state is State.SUCCEEDED, operation.why
    issued = kept(issuing, request.id)
    assert [one.stage for one in issued] == ["interim/1", "final/1"]
    log = [one.entry.type for one in AuditLog(issuing.db, ORIGIN).entries(operation_id=request.id)]
    assert log.count("certificate_issued") == 2
    for one in issued:
        export(issued_bundle(one), tmp_path / one.id)
        assert checked(tmp_path, tmp_path / one.id, evidence)[0] == COMPLETE
