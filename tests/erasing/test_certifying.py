"""An erasure ends with certificates that a customer's offline verifier accepts, and with nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from erasing_stage import Stage

from tenant_lifecycle.catalog.certificates import Certificates, Kept
from tenant_lifecycle.evidence.certificate import export
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.trust import trust_policy
from tenant_lifecycle.evidence_file import EvidenceConfig, IssuerConfig, KeyConfig
from tenant_lifecycle.model.erasure.certificate import rfc3339
from tenant_lifecycle.model.erasure.request import RequestState
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
