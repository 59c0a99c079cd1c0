"""A plan and a verification as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.text import Text

from tenant_lifecycle.cli.output import Line, bytes_text, count_text, one_line, printable, styled, table
from tenant_lifecycle.model.durations import format_duration
from tenant_lifecycle.model.findings import Finding, Severity
from tenant_lifecycle.model.plan import MigrationPlan
from tenant_lifecycle.model.verification import VerificationReport

_WORDS = {Severity.REFUSAL: "refused", Severity.WARNING: "warning", Severity.OK: "ok"}
_STYLES = {Severity.REFUSAL: "bold red", Severity.WARNING: "yellow", Severity.OK: "green"}
#: Differences that are listed; JSON has all of them.
MOST_DIFFERENCES = 50


def plan_lines(plan: MigrationPlan) -> Iterator[Line]:
    """What would happen, how much it is, and what forbids it."""
    yield styled(f"PLAN  {plan.tenant}  {plan.source} → {plan.target}", "bold")
    yield f"hash  {plan.hash}"
    yield ""
    rows = [
        (store.store, size.name, count_text(size.items, exact=size.exact), bytes_text(size.bytes), store.how)
        for store in plan.stores
        for size in store.sets
    ]
    yield from table(("STORE", "SET", "ITEMS", "BYTES", "HOW"), rows, right=(2, 3))
    yield ""
    yield (
        f"cutover {plan.cutover.value}, settle {format_duration(plan.settle_s)}, {plan.workers} copy workers; "
        f"about {format_duration(plan.estimate.seconds)} to copy (estimated: {plan.estimate.basis})"
    )
    if plan.why:
        yield f"strategy {plan.why}"
    if plan.pause is not None:
        yield f"writes pause for about {format_duration(plan.pause.seconds)} (reckoned: {plan.pause.basis})"
    if plan.window is not None:
        yield f"window {plan.window.text()}"
    if plan.steps:
        shares = " -> ".join(f"{percent} %" for percent in plan.steps)
        yield f"requests move {shares} -> 100 %, each step behind the gates"
    if any(not size.exact for store in plan.stores for size in store.sets):
        yield "Numbers with ~ are estimates from statistics; --exact counts."
    warnings = [finding for finding in plan.findings if finding.severity is Severity.WARNING]
    passed = sum(finding.severity is Severity.OK for finding in plan.findings)
    if warnings or passed:
        yield ""
        yield f"{passed} check(s) passed, {len(warnings)} warning(s)"
        yield from finding_lines(warnings)
    yield ""
    yield f"REFUSALS  {len(plan.refusals) or 'none'}"
    yield from finding_lines(plan.refusals)


def finding_lines(findings: Iterable[Finding]) -> Iterator[Line]:
    """Each finding with how to mend it below."""
    for finding in findings:
        subject = f"{finding.subject}: " if finding.subject else ""
        word = f"{_WORDS[finding.severity]:<7}"
        yield Text.assemble(
            (word, _STYLES[finding.severity]), f"  {printable(subject + one_line(finding.message))}"
        )
        if finding.next_step and finding.severity is not Severity.OK:
            yield f"         mend: {finding.next_step}"


def report_lines(report: VerificationReport) -> Iterator[Line]:
    """Set by set, then every difference that fits."""
    rows = [
        (v.store, v.set, count_text(v.items), str(v.leaves), str(v.rechecked), str(len(v.differences)))
        for v in report.sets
    ]
    yield from table(
        ("STORE", "SET", "ITEMS", "LEAVES", "LOOKED AGAIN", "DIFFERENCES"), rows, right=(2, 3, 4, 5)
    )
    yield ""
    differences = report.differences
    for difference in differences[:MOST_DIFFERENCES]:
        fields = f" in {', '.join(difference.fields)}" if difference.fields else ""
        yield f"{difference.set}  {difference.key_text}  {difference.kind.value}{fields}"
    if len(differences) > MOST_DIFFERENCES:
        yield f"and {len(differences) - MOST_DIFFERENCES} more; --json lists all"
    verdict = "equal" if report.consistent else f"{len(differences)} difference(s)"
    verdict = verdict if report.sets else "nothing was compared"
    yield styled(
        f"{report.source} and {report.target}: {verdict}, {count_text(report.items)} items "
        f"in {format_duration(report.seconds)}",
        "bold green" if report.consistent else "bold red",
    )
