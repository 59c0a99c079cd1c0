"""Certificates for people: a page and a PDF. Both hold the envelope itself and print its digest.

What is shown is read out of the signed bytes. Whoever doubts a page takes the envelope out of it and has it
checked; a page proves nothing.
"""

from __future__ import annotations

import html
from dataclasses import dataclass

from tenant_lifecycle.evidence.bundle import ENVELOPE, Bundle
from tenant_lifecycle.model.erasure.certificate import CertificateClass, Predicate, System
from tenant_lifecycle.model.erasure.outcome import Level, Verdict

TITLES = {
    CertificateClass.FINAL: "Deletion certificate: final",
    CertificateClass.INTERIM: "Deletion certificate: interim",
    CertificateClass.PARTIAL_HELD: "Deletion certificate: partial",
}
LEVELS = {
    Level.ACCEPTED: "the provider accepted the request; nothing was checked",
    Level.LOGICAL: "no read path gives it any more",
    Level.EXHAUSTIVE: "a complete enumeration is empty",
    Level.PHYSICAL: "the bytes are absent from the storage that can be read",
    Level.CRYPTOGRAPHIC: "every copy of the key is destroyed",
    Level.EXPIRY_BOUND: "remains beyond use until the date",
    Level.VENDOR: "rests on the provider's promise until the date",
}
_VERDICTS = {
    Verdict.RETAINED: "kept on a legal ground",
    Verdict.HELD: "kept under a legal hold",
    Verdict.OUT_OF_SCOPE: "out of scope",
}
CHECK = "tenant-certificate-verify --policy YOUR-POLICY.json FOLDER"


@dataclass(frozen=True, slots=True)
class Section:
    """One table: a title, and rows of a label and what it says."""

    title: str
    rows: tuple[tuple[str, str], ...]


def sections(bundle: Bundle) -> tuple[Section, ...]:
    """What a certificate says, in the order in which people ask."""
    said = bundle.predicate
    return tuple(
        section
        for section in (
            Section("Certificate", _identity(said, bundle.digest)),
            Section("Request", _request(said)),
            Section("Systems", tuple((system.system_id, _system(system)) for system in said.systems)),
            Section("Kept", tuple((kept.category, _kept(kept.ground, kept.until)) for kept in said.retained)),
            Section("Recipients", tuple((each.name, each.status) for each in said.recipients)),
            Section("Out of scope", tuple((each.what, each.reason) for each in said.out_of_scope)),
            Section("What is not proven", tuple(("", risk) for risk in said.residual_risk)),
            Section("How to check it", _checking(said)),
        )
        if section.rows
    )


def html_face(bundle: Bundle) -> bytes:
    """A page without anything from elsewhere; the envelope stands in the element ``envelope``, byte by byte."""
    said = bundle.predicate
    title = html.escape(TITLES[said.certificate_class])
    body = "".join(_html_section(section) for section in sections(bundle))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
        f"<h1>{title}</h1><p>{html.escape(said.statement)}</p>{body}"
        f'<script type="application/json" id="envelope">{bundle.envelope.decode()}</script></html>\n'
    ).encode()


def envelope_in_html(page: bytes) -> bytes:
    """The envelope that a page holds.

    Raises:
        ValueError: it holds none.
    """
    _, begin, rest = page.partition(b'<script type="application/json" id="envelope">')
    envelope, end, _ = rest.partition(b"</script>")
    if not begin or not end:
        raise ValueError("the page holds no certificate")
    return envelope


def pdf_face(bundle: Bundle) -> bytes:
    """A PDF with the envelope attached under its file name."""
    # Imported late: drawing needs a library that nothing else here does.
    from fpdf import FPDF
    from fpdf.enums import WrapMode, XPos, YPos

    said = bundle.predicate
    pdf = FPDF(format="A4")
    pdf.set_title(TITLES[said.certificate_class])
    pdf.set_creator("tenant-lifecycle")
    pdf.set_auto_page_break(True, margin=15)
    pdf.add_page()

    def write(text: str, style: str, size: int) -> None:
        pdf.set_font("helvetica", style, size)
        pdf.multi_cell(
            0, size * 0.5, _latin(text), new_x=XPos.LMARGIN, new_y=YPos.NEXT, wrapmode=WrapMode.CHAR
        )

    write(TITLES[said.certificate_class], "B", 18)
    write(said.statement, "", 10)
    for section in sections(bundle):
        pdf.ln(3)
        write(section.title, "B", 12)
        for label, text in section.rows:
            write(f"{label}: {text}" if label else text, "", 9)
    pdf.embed_file(
        basename=ENVELOPE, bytes=bundle.envelope, desc="the signed certificate", mime_type="application/json"
    )
    return bytes(pdf.output())


def _identity(said: Predicate, digest: str) -> tuple[tuple[str, str], ...]:
    return (
        ("number", said.certificate_id),
        ("class", said.certificate_class.value),
        ("issued", said.issued_at),
        *((("replaces", said.supersedes),) if said.supersedes else ()),
        ("issuer", f"{said.issuer.legal_name} ({said.issuer.role})"),
        ("tenant", f"commitment {said.tenant_commitment}"),
        ("SHA-256 of the certificate", digest),
    )


def _request(said: Predicate) -> tuple[tuple[str, str], ...]:
    request = said.request
    extended = f", extended to {request.extension.until}" if request.extension else ""
    return (
        ("received", request.received_at),
        ("ground", request.legal_ground),
        ("due", request.due_at + extended),
        ("live systems verified", request.completed_live_at or "not yet"),
        ("approvals", f"{len(said.authority.approvals)}, {said.authority.threshold} needed"),
        ("holds active", str(len(said.holds.active))),
    )


def _system(system: System) -> str:
    items = system.items
    counts = f"{items.deleted} of {items.declared} items"
    if items.failed or items.retained:
        counts += f" ({items.failed} failed, {items.retained} kept)"
    meaning = LEVELS[system.level] if system.level else _VERDICTS.get(system.outcome, system.outcome.value)
    level = f" {system.level.value}" if system.level else ""
    until = f", until {system.horizon.until}" if system.horizon else ""
    return f"{system.outcome.value}{level}: {meaning}{until}. {system.method}, {counts}."


def _kept(ground: str, until: str | None) -> str:
    return f"{ground}, until {until}" if until else ground


def _checking(said: Predicate) -> tuple[tuple[str, str], ...]:
    log = said.audit
    return (
        ("command", CHECK),
        ("audit log", f"{log.log_origin}, {log.tree_size} entries before this one, root {log.root_hash}"),
    )


def _html_section(section: Section) -> str:
    rows = "".join(_html_row(label, text) for label, text in section.rows)
    return f"<h2>{html.escape(section.title)}</h2><table>{rows}</table>"


def _html_row(label: str, text: str) -> str:
    return f"<tr><th>{html.escape(label)}</th><td>{html.escape(text)}</td></tr>"


def _latin(text: str) -> str:
    """Text in the characters that PDF's own fonts have; others become escapes."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")


_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#111;"
    "background:#fff}table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;"
    "padding:.25em .75em .25em 0;border-bottom:1px solid #ddd;overflow-wrap:anywhere}th{width:14em;font-weight:600}"
)
