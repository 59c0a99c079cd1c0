"""The command: ``tenant-certificate-verify --policy FILE BUNDLE``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tenant_certificate_verify import trust
from tenant_certificate_verify.checks import Given, Report, verify
from tenant_certificate_verify.strict import Invalid, Untrusted
from tenant_certificate_verify.times import time_of

COMPLETE, WITH_REMAINDER, UNTRUSTED, INVALID, USAGE = 0, 10, 20, 30, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one bundle; the exit code is the verdict."""
    options = _parser().parse_args(arguments)
    try:
        given = _given(options)
        trust.read(given.policy)
    except (OSError, ValueError, Invalid) as error:
        print(f"cannot begin: {error}", file=sys.stderr)
        return USAGE
    report, why = Report(), ""
    try:
        verify(options.bundle, given, report)
    except Invalid as error:
        report.verdict, why = "INVALID", str(error)
    except Untrusted as error:
        report.verdict, why = "UNTRUSTED", str(error)
    _tell(report, why, options.json)
    codes = {"VALID_COMPLETE": COMPLETE, "INVALID": INVALID, "UNTRUSTED": UNTRUSTED}
    return codes.get(report.verdict, WITH_REMAINDER)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tenant-certificate-verify",
        description="Check a deletion certificate offline, with keys that you trust for reasons of your own.",
        epilog="Exit codes: 0 valid and complete, 10 valid with a remainder, 20 untrusted, 30 invalid, 2 usage.",
    )
    parser.add_argument("bundle", type=Path, help="the folder with certificate.dsse.json")
    parser.add_argument("--policy", type=Path, required=True, help="your trust policy, not the bundle's")
    parser.add_argument("--head", type=Path, help="a signed head of the log that you kept")
    parser.add_argument("--consistency", type=Path, help="the proof between that head and the bundle's")
    parser.add_argument("--tenant", help="the tenant's id; otherwise the bundle's tenant.json says it")
    parser.add_argument("--salt", help="the salt of the commitment to the tenant, hex")
    parser.add_argument("--now", help="the time to check at, as 2026-11-24T12:00:00Z; otherwise now")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _given(options: argparse.Namespace) -> Given:
    return Given(
        policy=options.policy.read_bytes(),
        now=time_of(options.now, "--now") if options.now else datetime.now(UTC),
        head=options.head.read_text(encoding="utf-8") if options.head else None,
        consistency=options.consistency.read_text(encoding="utf-8") if options.consistency else None,
        tenant=options.tenant,
        salt=bytes.fromhex(options.salt) if options.salt else None,
    )


def _tell(report: Report, why: str, as_json: bool) -> None:
    if as_json:
        told = {
            "verdict": report.verdict,
            "certificate_id": report.certificate_id,
            "passed": report.passed,
            "notes": report.notes,
            "why": why,
        }
        print(json.dumps(told))
        return
    for line in report.passed:
        print(f"ok    {_printable(line)}")
    for line in report.notes:
        print(f"note  {_printable(line)}")
    if why:
        print(f"FAIL  {_printable(why)}")
    number = f" {_printable(report.certificate_id)}" if report.certificate_id else ""
    print(f"{report.verdict}{number}")


def _printable(text: str) -> str:
    """Text without what a terminal would obey: it comes from the certificate."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)
