"""Issuing: what may not be certified is not, and nothing that names the tenant is signed."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from issuing import INVENTORY, TENANT, Office, system
from pydantic import ValidationError
from pypdf import PdfReader

from tenant_lifecycle.errors import ConfigError, IntegrityError, NotCertifiable
from tenant_lifecycle.evidence import certificate, faces
from tenant_lifecycle.evidence.bundle import Subjects
from tenant_lifecycle.evidence.commitments import TenantOpening, canonical
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.model.erasure.certificate import CertificateClass, CertificateFacts, rfc3339
from tenant_lifecycle.model.erasure.outcome import Verdict


def with_system(office: Office, **changes: Any) -> CertificateFacts:
    systems = [system(name, office.now) for name in INVENTORY]
    systems[1] |= changes
    return office.facts(systems=systems)


def test_the_class_follows_from_the_systems(office: Office) -> None:
    later = {"until": rfc3339(office.now + 90 * 86_400), "source": "the provider's terms"}
    cases = {
        CertificateClass.FINAL: {},
        CertificateClass.INTERIM: {"level": "VV", "horizon": later},
        CertificateClass.PARTIAL_HELD: {"outcome": "HELD", "level": None, "verification": None},
    }
    for expected, changes in cases.items():
        assert office.issue(with_system(office, **changes)).predicate.certificate_class is expected


def test_no_certificate_is_final_before_the_last_planned_search(office: Office) -> None:
    done = {"planned_at": rfc3339(office.now - 9), "done_at": rfc3339(office.now - 8), "result": "clean"}
    to_come = {"planned_at": rfc3339(office.now + 9), "done_at": None, "result": "pending"}
    for rescans, expected in (([done], CertificateClass.FINAL), ([done, to_come], CertificateClass.INTERIM)):
        assert office.issue(office.facts(rescans=rescans)).predicate.certificate_class is expected


@pytest.mark.parametrize("verdict", ["RESIDUAL", "UNVERIFIED", "INCONCLUSIVE", "NEEDS_HUMAN"])
def test_no_certificate_for_a_system_that_is_not_done(office: Office, verdict: str) -> None:
    facts = with_system(office, outcome=verdict, level=None)
    size = office.log.head().size
    with pytest.raises(NotCertifiable, match=f"redis is {verdict}"):
        office.issue(facts)
    assert office.log.head().size == size, "what was refused is not in the log"


def test_every_verdict_is_an_exception_a_refusal_or_verified() -> None:
    from tenant_lifecycle.model.erasure import certificate as model
    from tenant_lifecycle.model.erasure.outcome import EXCEPTIONS

    assert {Verdict.VERIFIED} | EXCEPTIONS | model._BAD == set(Verdict)


@pytest.mark.parametrize("names", [[], ["postgres"], [*INVENTORY, "redis"], [*INVENTORY, "unknown"]])
def test_no_certificate_unless_every_system_is_there_once(office: Office, names: list[str]) -> None:
    facts = office.facts(systems=[system(name, office.now) for name in names])
    with pytest.raises(NotCertifiable):
        office.issue(facts)


def test_an_inventory_of_nothing_is_refused(office: Office) -> None:
    scope = office.facts().scope.model_dump(mode="json")
    with pytest.raises(ValidationError):
        office.facts(scope={**scope, "inventory": []}, systems=[])


@pytest.mark.parametrize(
    "changes",
    [
        {"issued_at": "2026-11-24T12:00:00+01:00"},
        {"issued_at": "2026-02-30T12:00:00Z"},
        {"issued_at": 1_764_000_000},
        {"certificate_class": "FINAL"},
        {"unknown": 1},
        {"out_of_scope": []},
        {"tenant_commitment": "acme"},
    ],
)
def test_facts_are_strict(office: Office, changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        office.facts(**changes)


def test_counts_are_whole_numbers(office: Office) -> None:
    for wrong in (1.0, "1", True, -1, 2**53):
        request = {**office.facts().request.model_dump(mode="json"), "days_used": wrong}
        with pytest.raises(ValidationError):
            office.facts(request=request)


@pytest.mark.parametrize(
    "tenant", ["acme", "acme'; DROP TABLE x", "a.c*e", "\N{SNOWMAN}\N{SNOWMAN}\N{SNOWMAN}"]
)
def test_what_names_the_tenant_is_not_signed(office: Office, tenant: str) -> None:
    office.opening = TenantOpening(tenant, bytes(32))
    with pytest.raises(NotCertifiable, match="name the tenant"):
        office.issue(office.facts(residual_risk=[f"Mentions of {tenant} elsewhere."]))
    assert office.issue(office.facts()).predicate.certificate_id == "cert_0001"


def test_a_short_id_is_not_seen_in_every_word(office: Office) -> None:
    office.opening = TenantOpening("1", bytes(32))
    office.issue(office.facts())
    with pytest.raises(NotCertifiable, match="name the tenant"):
        office.issue(office.facts(residual_risk=["1"]))


def test_the_tenant_is_in_its_own_copy_only(office: Office) -> None:
    bundle = office.issue()
    needle = canonical({"t": TENANT})[6:-2]
    assert needle in bundle.files()["tenant.json"]
    for name, data in bundle.without_tenant().files().items():
        assert b"DROP TABLE" not in data, name


def test_both_roles_sign_with_keys_of_their_own(office: Office) -> None:
    one, facts = office.performer, office.facts()
    officer = LocalSigner.generate(Role.OFFICER)
    same = LocalSigner(Role.VERIFIER, one._key)  # type: ignore[attr-defined]
    for signers in (
        [],
        [one],
        [office.verifier],
        [one, one],
        [one, same],
        [one, office.verifier, office.log_key],
    ):
        with pytest.raises(NotCertifiable, match="sign"):
            _issue(office, facts, signers)
    assert _issue(office, facts, [one, office.verifier, officer])


def test_an_approval_of_another_plan_is_refused(office: Office) -> None:
    facts = office.facts()
    office.plan = canonical({"plan": "another"})
    with pytest.raises(NotCertifiable, match="another plan"):
        _issue(office, facts, [office.performer, office.verifier])


def test_the_inventorys_document_lists_the_same_systems(office: Office) -> None:
    for document in (b"{}", b"[]", b"x", canonical({"systems": ["redis"]})):
        with pytest.raises(NotCertifiable, match="inventory"):
            certificate.issue(
                office.facts(),
                Subjects(office.plan, document, b"{}"),
                office.opening,
                [office.performer, office.verifier],
                office.log,
                actor="eraser",
            )


def test_a_bundle_is_read_as_it_was_written(office: Office) -> None:
    bundle = office.issue()
    folder = office.folder / "out"
    files = certificate.export(bundle, folder)
    assert certificate.read(folder) == bundle
    assert {file.name for file in files} >= {"certificate.html", "certificate.pdf", "tenant.json"}
    with pytest.raises(FileExistsError):
        certificate.export(bundle, folder)
    (folder / "evidence" / "plan.json").unlink()
    with pytest.raises(IntegrityError, match="no whole bundle"):
        certificate.read(folder)


def test_both_faces_hold_the_certificate_and_print_its_digest(office: Office) -> None:
    risk = "<script>alert(1)</script> \N{SNOWMAN} & more"
    bundle = office.issue(office.facts(residual_risk=[risk]))
    page = faces.html_face(bundle)
    assert faces.envelope_in_html(page) == bundle.envelope
    assert bundle.digest.encode() in page
    assert b"<script>alert" not in page
    pdf = PdfReader(io.BytesIO(faces.pdf_face(bundle)))
    assert pdf.attachments["certificate.dsse.json"] == [bundle.envelope]
    text = "".join(one.extract_text() for one in pdf.pages).replace("\n", "")
    assert bundle.digest in text
    assert "not a guarantee" in text
    with pytest.raises(ValueError, match="no certificate"):
        faces.envelope_in_html(b"<html></html>")


def test_the_statement_is_an_in_toto_statement_about_plan_inventory_and_evidence(office: Office) -> None:
    bundle = office.issue()
    statement = json.loads(bundle.payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert [one["name"] for one in statement["subject"]] == [
        "erasure-plan",
        "system-inventory",
        "evidence-bundle",
    ]
    envelope = json.loads(bundle.envelope)
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert base64.b64decode(envelope["payload"]) == canonical(statement)


def test_without_a_log_key_nothing_is_issued(office: Office) -> None:
    office.log._signer = None
    with pytest.raises(ConfigError, match="no key signs"):
        office.issue()


def _issue(office: Office, facts: CertificateFacts, signers: list[Any]) -> Any:
    return certificate.issue(facts, office.subjects(), office.opening, signers, office.log, actor="eraser")
