"""The offline verifier accepts the real thing, and nothing else: every attack of the specification."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from issuing import INVENTORY, Office, system

from tenant_certificate_verify import cli, trust
from tenant_certificate_verify.checks import Given, Report, verify
from tenant_certificate_verify.envelope import open_envelope
from tenant_certificate_verify.strict import Invalid, Untrusted, parse
from tenant_lifecycle.catalog.audit_log import AuditLog
from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.evidence import dsse, notes
from tenant_lifecycle.evidence.bundle import Bundle
from tenant_lifecycle.evidence.commitments import canonical, sha256_hex
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.model.erasure.certificate import PAYLOAD_TYPE, rfc3339

DAY = 86_400


def verdict(office: Office, folder: Path, *arguments: str, policy: dict[str, Any] | None = None) -> int:
    return cli.main(["--policy", str(office.write_policy(policy)), *arguments, str(folder)])


def resigned(office: Office, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A bundle whose statement an issuer with all keys forged, properly signed and properly logged."""
    bundle = office.issue()
    statement = json.loads(bundle.payload)
    change(statement["predicate"])
    return relogged(office, bundle, canonical(statement))


def relogged(office: Office, bundle: Bundle, payload: bytes) -> Path:
    envelope = dsse.envelope(PAYLOAD_TYPE, payload, [office.performer, office.verifier])
    proof = office.log.record_certificate(sha256_hex(envelope), actor="eraser", tenant="")
    return office.export(Bundle(envelope, proof, bundle.subjects, bundle.opening), f"forged{len(payload)}")


def test_the_real_thing_is_valid_and_complete(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    folder = office.export(office.issue())
    assert verdict(office, folder, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "VALID_COMPLETE"
    numbers = [int(line.split()[0]) for line in (*told["passed"], *told["notes"])]
    assert sorted(numbers) == list(range(1, 15)), "every one of the fourteen checks is told of"


def test_the_program_runs_by_itself_and_says_so_by_its_exit_code(office: Office) -> None:
    folder = office.export(office.issue())
    command = [sys.executable, "-m", "tenant_certificate_verify", "--policy", str(office.write_policy())]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "VALID_COMPLETE cert_0001")
    (folder / "evidence" / "plan.json").write_bytes(b"{}")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 30
    assert "plan.json is not the one that was signed" in done.stdout


def test_what_remains_is_said_by_the_verdict(office: Office) -> None:
    later = {"until": rfc3339(office.now + 90 * DAY), "source": "terms"}
    for changes in ({"level": "VV", "horizon": later}, {"outcome": "HELD", "level": None}):
        systems = [system(name, office.now) for name in INVENTORY]
        systems[2] |= changes
        assert (
            verdict(office, office.export(office.issue(systems=systems), changes.get("level") or "held"))
            == 10
        )


def test_every_flipped_byte_of_the_certificate_is_found(office: Office) -> None:
    """Already by the signatures, before anything in it is read; the log's digest would find it again."""
    good = office.issue().envelope
    policy = trust.read(office.write_policy().read_bytes())
    open_envelope(good, policy)
    for at in range(len(good)):
        with pytest.raises((Invalid, Untrusted)):
            open_envelope(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :], policy)


def test_every_flipped_byte_of_the_proof_is_found(office: Office) -> None:
    folder = office.export(office.issue())
    path = folder / "inclusion.tlog-proof"
    good = path.read_bytes()
    given = Given(office.write_policy().read_bytes(), datetime.now(UTC))
    verify(folder, given, Report())
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ (1 << at % 8)]) + good[at + 1 :])
        with pytest.raises((Invalid, Untrusted)):
            verify(folder, given, Report())


@pytest.mark.parametrize("name", ["plan", "inventory", "evidence"])
def test_every_flipped_byte_of_a_document_is_found(office: Office, name: str) -> None:
    folder = office.export(office.issue())
    path = folder / "evidence" / f"{name}.json"
    good = path.read_bytes()
    given = Given(office.write_policy().read_bytes(), datetime.now(UTC))
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(Invalid, match="documents"):
            verify(folder, given, Report())


def _signatures(office: Office, change: Callable[[list[dict[str, str]]], Any]) -> Path:
    """A bundle whose envelope has other signatures, entered in the log as it is."""
    bundle = office.issue()
    envelope = json.loads(bundle.envelope)
    envelope["signatures"] = change(envelope["signatures"])
    data = canonical(envelope)
    proof = office.log.record_certificate(sha256_hex(data), actor="eraser", tenant="")
    return office.export(Bundle(data, proof, bundle.subjects, bundle.opening))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda found: found[:1], "not signed by verifier"),
        (lambda found: found[1:], "not signed by performer"),
        (lambda found: [], "not signed by"),
        (lambda found: [found[0], found[0]], "signs twice"),
        (
            lambda found: [{**found[0], "sig": found[1]["sig"]}, {**found[1], "sig": found[0]["sig"]}],
            "signature is wrong",
        ),
        (lambda found: [found[0], {**found[1], "keyid": found[0]["keyid"]}], "signs twice"),
        (lambda found: [found[0], {**found[1], "sig": ""}], "signature is wrong"),
        (lambda found: [*found, {**found[0], "keyid": "x"}], "no SHA-256"),
        (lambda found: [{**found[0], "role": "performer"}, found[1]], "missing or unknown"),
        (lambda found: found * 9, "many|twice"),
    ],
)
def test_signatures_that_are_dropped_swapped_or_doubled(
    office: Office, capsys: pytest.CaptureFixture[str], change: Any, why: str
) -> None:
    folder = _signatures(office, change)
    assert verdict(office, folder) == 30
    assert re.search(why, capsys.readouterr().out)


def test_reordered_signatures_are_another_envelope_than_the_logged_one(office: Office) -> None:
    bundle = office.issue()
    envelope = json.loads(bundle.envelope)
    envelope["signatures"].reverse()
    folder = office.export(Bundle(canonical(envelope), bundle.proof, bundle.subjects, bundle.opening))
    assert verdict(office, folder) == 30


def test_keys_inside_the_bundle_are_not_trusted(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """An attacker signs with keys of his own, logs in a log of his own, and puts his policy into the bundle."""
    policy = office.policy()
    office.performer = LocalSigner.generate(Role.PERFORMER)
    office.verifier = LocalSigner.generate(Role.VERIFIER)
    folder = office.export(office.issue())
    (folder / "trust").mkdir()
    (folder / "trust" / "policy.json").write_text(json.dumps(office.policy()))
    assert verdict(office, folder, policy=policy) == 20
    assert "UNTRUSTED" in capsys.readouterr().out


def test_the_log_of_another_key_is_not_trusted(office: Office) -> None:
    policy = office.policy()
    office.log_key = LocalSigner.generate(Role.LOG)
    office.log = AuditLog(office.control, office.log.origin, office.log_key)
    folder = office.export(office.issue())
    assert verdict(office, folder, policy=policy) == 20


def test_one_key_in_two_roles_is_no_policy(office: Office) -> None:
    policy = office.policy()
    policy["keys"][1]["public_key"] = policy["keys"][0]["public_key"]
    assert verdict(office, office.export(office.issue()), policy=policy) == 2


def _with_key(office: Office, role: str, **changes: Any) -> dict[str, Any]:
    policy = office.policy()
    for key in policy["keys"]:
        if key["role"] == role:
            key |= changes
    return policy


@pytest.mark.parametrize("role", ["performer", "verifier", "log"])
def test_a_stale_early_or_revoked_key_does_not_count(office: Office, role: str) -> None:
    folder = office.export(office.issue())
    before, after = rfc3339(office.now - DAY), rfc3339(office.now + DAY)
    assert verdict(office, folder, policy=_with_key(office, role, valid_until=before)) == 30
    assert verdict(office, folder, policy=_with_key(office, role, valid_from=after)) == 30
    assert verdict(office, folder, policy=_with_key(office, role, revoked_at=before)) == 30
    assert verdict(office, folder, policy=_with_key(office, role, revoked_at=after)) == 0


def test_a_certificate_that_is_dated_back_is_found(office: Office) -> None:
    """With a stolen key whose time is over: the date says it was signed in time, the log says when it came."""
    office.now -= 10 * DAY
    folder = office.export(office.issue())
    office.now += 10 * DAY
    assert verdict(office, folder) == 30


def test_a_certificate_from_the_future_is_found(office: Office) -> None:
    office.now += DAY
    folder = office.export(office.issue())
    assert verdict(office, folder) == 30


def test_a_log_that_was_cut_off_or_forked_since_a_kept_head_is_found(
    office: Office, new_log_database: Callable[[], ControlDatabase]
) -> None:
    kept = office.folder / "kept.checkpoint"
    kept.write_text(office.log.checkpoint().note)
    old = office.log.head().size
    folder = office.export(office.issue())
    size = notes.TlogProof.parse((folder / "inclusion.tlog-proof").read_text()).checkpoint.split("\n")[1]
    proof = office.folder / "consistency.txt"
    proof.write_text(notes.hashes_text(office.log.consistency(old, int(size))))
    honest = ("--head", str(kept), "--consistency", str(proof))
    assert verdict(office, folder, *honest) == 0
    other = Office(
        new_log_database(), office.folder, office.now, office.performer, office.verifier, office.log_key
    )
    forked = other.export(other.issue(), "forked")
    assert verdict(office, forked) == 0, "alone, a fork looks like a log"
    assert verdict(office, forked, *honest) == 30
    for _ in range(5):
        office.issue()
    kept.write_text(office.log.checkpoint().note)
    assert verdict(office, forked, "--head", str(kept)) == 30, "cut off: the kept head has more entries"
    assert verdict(office, folder, "--head", str(kept)) == 30, "without the proof nothing is known"


def test_an_inclusion_proof_of_another_certificate_is_refused(office: Office) -> None:
    one, other = office.issue(), office.issue(certificate_id="cert_0002")
    folder = office.export(Bundle(one.envelope, other.proof, one.subjects, one.opening))
    assert verdict(office, folder) == 30


def test_a_certificate_that_never_came_into_the_log_is_refused(office: Office) -> None:
    bundle = office.issue()
    leaf = json.loads(bundle.proof.leaf)
    statement = json.loads(bundle.payload)
    statement["predicate"]["certificate_id"] = "cert_secret"
    envelope = dsse.envelope(PAYLOAD_TYPE, canonical(statement), [office.performer, office.verifier])
    forged = notes.TlogProof(
        bundle.proof.index,
        bundle.proof.path,
        bundle.proof.checkpoint,
        canonical({**leaf, "digest": sha256_hex(envelope)}),
    )
    assert verdict(office, office.export(Bundle(envelope, forged, bundle.subjects, bundle.opening))) == 30


#: Changes of a statement that both signers signed: an issuer who lies, or who is wrong.
LIES: dict[str, Callable[[dict[str, Any], int], Any]] = {
    "missing system": lambda said, now: said["systems"].pop(),
    "missing system and inventory entry": lambda said, now: (
        said["systems"].pop(),
        said["scope"]["inventory"].pop(),
    ),
    "a system twice": lambda said, now: said["systems"].append(said["systems"][0]),
    "empty systems": lambda said, now: said.update(systems=[]),
    "empty systems and inventory": lambda said, now: (
        said.update(systems=[]),
        said["scope"].update(inventory=[]),
    ),
    "better class": lambda said, now: said["systems"][0].update(outcome="HELD", level=None),
    "worse class": lambda said, now: said.update(certificate_class="INTERIM"),
    "residue": lambda said, now: said["systems"][0].update(outcome="RESIDUAL", level=None),
    "unverified": lambda said, now: said["systems"][0].update(outcome="UNVERIFIED", level=None),
    "inconclusive": lambda said, now: said["systems"][0].update(outcome="INCONCLUSIVE", level=None),
    "skipped": lambda said, now: said["systems"][0].update(outcome="SKIPPED", level=None),
    "verified without a level": lambda said, now: said["systems"][0].update(level=None),
    "level too low": lambda said, now: said["systems"][0].update(level="V1"),
    "vendor level without a date": lambda said, now: said["systems"][0].update(level="VV"),
    "nobody searched": lambda said, now: said["systems"][0].update(verification=None),
    "no control": lambda said, now: said["systems"][0]["verification"].update(control_found=False),
    "marker found": lambda said, now: said["systems"][0]["verification"]["canaries"].update(found_after=1),
    "no pass": lambda said, now: said["systems"][0]["verification"].update(passes=[]),
    "failed items": lambda said, now: said["systems"][0]["items"].update(failed=1),
    "searched before erased": lambda said, now: said["systems"][0]["verification"].update(
        at=rfc3339(now - 9_000)
    ),
    "erased after issue": lambda said, now: said["systems"][0].update(finished_at=rfc3339(now + 60)),
    "approval of another plan": lambda said, now: said["authority"]["approvals"][0].update(
        plan_digest="00" * 32
    ),
    "one person twice": lambda said, now: said["authority"]["approvals"][1].update(actor_commitment="a" * 64),
    "one approval": lambda said, now: said["authority"]["approvals"].pop(),
    "threshold lowered": lambda said, now: said["authority"].update(approvals=[], threshold=0),
    "denied": lambda said, now: said["authority"]["approvals"][0].update(decision="denied"),
    "approved afterwards": lambda said, now: said["authority"]["approvals"][0].update(at=rfc3339(now - 10)),
    "cooling off skipped": lambda said, now: said["authority"]["cooling_off"].update(ends_at=rfc3339(now)),
    "a hold on what was erased": lambda said, now: said["holds"]["active"].append(
        {"matter": "m1", "placed_at": rfc3339(now - 9_000), "systems": ["s3"]}
    ),
    "a hold on everything": lambda said, now: said["holds"]["active"].append(
        {"matter": "m1", "placed_at": rfc3339(now - 9_000), "systems": []}
    ),
    "later deadline": lambda said, now: said["request"].update(due_at=rfc3339(now + 60 * DAY)),
    "fewer days used": lambda said, now: said["request"].update(days_used=1),
    "endless extension": lambda said, now: said["request"].update(
        extension={"until": rfc3339(now + 200 * DAY), "reason": "", "notified_at": rfc3339(now)}
    ),
    "undeclared places": lambda said, now: said["scope"]["discovery"].update(undeclared_found=2),
    "resurrection": lambda said, now: said["rescans"][0].update(result="resurrection"),
    "final before the last search": lambda said, now: said["rescans"][0].update(
        result="pending", done_at=None
    ),
    "drill failed": lambda said, now: said["backups"].update(
        restore_drill={"id": "d1", "at": rfc3339(now), "result": "failed"}
    ),
    "nothing out of scope": lambda said, now: said.update(out_of_scope=[]),
    "wider claim": lambda said, now: said.update(statement="The tenant is provably deleted everywhere."),
    "another tenant": lambda said, now: said.update(tenant_commitment="00" * 32),
    "another log": lambda said, now: said["audit"].update(log_origin="other.example/log"),
    "later log": lambda said, now: said["audit"].update(tree_size=10_000),
    "unknown field": lambda said, now: said.update(complete=True),
    "field missing": lambda said, now: said.pop("holds"),
    "number as text": lambda said, now: said["systems"][0].update(bytes="4096"),
    "truth as number": lambda said, now: said["systems"][0]["verification"].update(control_found=1),
    "number as truth": lambda said, now: said["systems"][0]["items"].update(failed=False),
    "text as list": lambda said, now: said["request"].update(id=["req"]),
    "negative": lambda said, now: said["systems"][0].update(bytes=-1),
    "huge number": lambda said, now: said["systems"][0].update(bytes=2**53 - 1, region="x" * 2_000),
    "next version": lambda said, now: said.update(schema_version=2),
    "true as version": lambda said, now: said.update(schema_version=True),
    "local time": lambda said, now: said.update(issued_at="2026-11-24T12:00:00+01:00"),
    "no such day": lambda said, now: said.update(issued_at="2026-02-30T12:00:00Z"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_signed_and_logged_lie_is_refused(office: Office, lie: str) -> None:
    assert verdict(office, resigned(office, lambda said: LIES[lie](said, office.now))) == 30


def test_a_forgery_that_changes_nothing_is_accepted(office: Office) -> None:
    """The attacks above fail for what they change, not for how they are made."""
    assert verdict(office, resigned(office, lambda said: None)) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"bytes":4096', b'"bytes":4096.0'),
        (b'"bytes":4096', b'"bytes":4.096e3'),
        (b'"bytes":4096', b'"bytes":NaN'),
        (b'"bytes":4096', b'"bytes":9007199254740993'),
        (b'"bytes":4096', b'"bytes":' + b"9" * 5_000),
        (b'"bytes":4096', b'"bytes":4096,"bytes":4096'),
        (b'"_type":"https://in-toto.io/Statement/v1"', b'"_type":"https://in-toto.io/Statement/v0.1"'),
        (b"deletion-certificate/v1", b"deletion-certificate/v2"),
        (b'"residual_risk":[', b'"residual_risk":[' + b"[" * 60 + b"]" * 60 + b","),
        (b'"residual_risk":[', b'"residual_risk":["\xff",'),
        (b"{", b"[{"),
    ],
)
def test_json_with_more_than_one_meaning_is_refused(office: Office, old: bytes, new: bytes) -> None:
    bundle = office.issue()
    assert old in bundle.payload
    assert verdict(office, relogged(office, bundle, bundle.payload.replace(old, new, 1))) == 30


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b'{"a":1,"a":1}',
        b"[" * 100_000,
        b'{"a":' + b"[" * 50 + b"]" * 50 + b"}",
    ],
)
def test_strict_json_refuses_what_is_no_plain_object(data: bytes) -> None:
    with pytest.raises(Invalid):
        parse(data, "text")


def test_a_payload_of_another_type_is_refused(office: Office) -> None:
    """The type is signed: a text signed as something else cannot be passed off as a certificate."""
    bundle = office.issue()
    other = dsse.envelope("application/vnd.other+json", bundle.payload, [office.performer, office.verifier])
    relabelled = canonical({**json.loads(other), "payloadType": PAYLOAD_TYPE})
    for envelope in (other, relabelled):
        proof = office.log.record_certificate(sha256_hex(envelope), actor="eraser", tenant="")
        folder = office.export(Bundle(envelope, proof, bundle.subjects, bundle.opening))
        assert verdict(office, folder) == 30


def test_another_spelling_of_base64_is_another_certificate(office: Office) -> None:
    bundle = office.issue()
    envelope = json.loads(bundle.envelope)
    sig = envelope["signatures"][0]["sig"]
    assert sig.endswith("==")
    loose = sig[:-3] + chr(ord(sig[-3]) + 1) + "=="
    if base64.b64decode(loose) == base64.b64decode(sig):
        envelope["signatures"][0]["sig"] = loose
        data = canonical(envelope)
        proof = office.log.record_certificate(hashlib.sha256(data).hexdigest(), actor="eraser", tenant="")
        folder = office.export(Bundle(data, proof, bundle.subjects, bundle.opening))
        assert verdict(office, folder) == 30


def test_a_certificate_for_another_plan_is_refused(office: Office) -> None:
    bundle = office.issue()
    folder = office.export(bundle)
    (folder / "evidence" / "plan.json").write_bytes(canonical({"plan": "another"}))
    assert verdict(office, folder) == 30


def test_a_revoked_certificate_is_refused(office: Office) -> None:
    folder = office.export(office.issue())
    assert verdict(office, folder, policy=office.policy(revoked_certificates=["cert_0001"])) == 30


def test_the_tenant_opens_its_own_certificate_only(office: Office) -> None:
    folder = office.export(office.issue().without_tenant())
    salt = office.opening.salt.hex()
    assert verdict(office, folder) == 0
    assert verdict(office, folder, "--tenant", office.tenant, "--salt", salt) == 0
    assert verdict(office, folder, "--tenant", office.tenant + "2", "--salt", salt) == 30
    assert verdict(office, folder, "--tenant", office.tenant[:-1], "--salt", salt) == 30


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        ("2026-01-30T10:00:00Z", "2026-02-28T10:00:00Z"),
        ("2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z"),
        ("2028-01-31T10:00:00Z", "2028-02-29T10:00:00Z"),
        ("2026-02-10T10:00:00Z", "2026-03-10T10:00:00Z"),
        ("2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"),
        ("2026-07-15T10:00:00Z", "2026-08-14T10:00:00Z"),
        ("2026-12-31T23:59:59Z", "2027-01-30T23:59:59Z"),
    ],
)
def test_the_deadline_is_30_days_or_a_month_whichever_is_earlier(received: str, expected: str) -> None:
    from tenant_certificate_verify.times import due, text_of, time_of

    assert text_of(due(time_of(received, "received"))) == expected


def test_a_policy_that_trusts_nobody_or_is_no_policy_is_a_usage_error(office: Office) -> None:
    folder = office.export(office.issue())
    good = office.policy()
    for wrong in (
        {**good, "keys": good["keys"][:1]},
        {**good, "keys": []},
        {**good, "trust_everything": True},
        {**good, "version": 2},
        {**good, "required_roles": ["anybody"]},
        _with_key(office, "log", algorithm="ecdsa-p256-sha256"),
        _with_key(office, "log", public_key="AAAA"),
    ):
        assert verdict(office, folder, policy=wrong) == 2
    assert cli.main(["--policy", str(office.folder / "nowhere.json"), str(folder)]) == 2


def test_a_policy_cannot_do_without_either_role(office: Office) -> None:
    """Whatever it lists as required, performer and verifier have to sign."""
    folder = _signatures(office, lambda found: found[:1])
    assert verdict(office, folder, policy=office.policy(required_roles=["performer"])) == 30


@pytest.mark.parametrize("name", ["certificate.dsse.json", "inclusion.tlog-proof", "evidence/inventory.json"])
def test_a_file_that_is_missing_is_invalid(office: Office, name: str) -> None:
    folder = office.export(office.issue())
    (folder / name).unlink()
    assert verdict(office, folder) == 30


def test_a_time_stamp_is_asked_for_by_the_policy_only(office: Office) -> None:
    folder = office.export(office.issue())
    (folder / "timestamp.tsr").write_bytes(b"not one")
    assert verdict(office, folder) == 0, "what the policy does not ask for is not looked at"
    root = base64.b64encode(b"no certificate").decode()
    assert verdict(office, folder, policy=office.policy(tsa_roots=[root])) == 30
