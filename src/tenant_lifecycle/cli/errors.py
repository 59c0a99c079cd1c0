"""Errors on stderr: what happened and what to do next, or the same as a JSON object."""

from __future__ import annotations

import json as jsonlib
import logging
import sys
from typing import Any

from tenant_lifecycle.cli.documents import findings_document
from tenant_lifecycle.cli.exit_codes import ExitCode, code_of
from tenant_lifecycle.cli.output import Output, one_line
from tenant_lifecycle.cli.plan_text import finding_lines
from tenant_lifecycle.errors import LifecycleError, PreconditionRefused, TenantBusy
from tenant_lifecycle.logs import redacted

logger = logging.getLogger(__name__)


def report(error: LifecycleError, json: bool) -> int:
    """Report an error of ours; returns the exit code of its class."""
    code = code_of(type(error))
    findings = error.findings if isinstance(error, PreconditionRefused) else ()
    facts: dict[str, Any] = {"retryable": error.retryable, "findings": findings_document(findings)}
    if isinstance(error, TenantBusy):
        facts["operation"] = error.operation_id
    logger.debug("error: %s", error, exc_info=error)
    _write(type(error).__name__, str(error), error.next_step, code, facts, json)
    if not json and len(findings) > 1:
        out = Output()
        for line in finding_lines(findings):
            out.say(line)
    return code


def report_usage(error: Exception, json: bool) -> int:
    """Report a command line that the parser refused."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "tenantctl"
    if not message or type(error).__name__ == "NoArgsIsHelpError":
        # Nothing was asked: the help is the answer.
        print(context.get_help() if context is not None else message, file=sys.stderr)
        return ExitCode.USAGE
    _write("UsageError", message, f"{path} --help", ExitCode.USAGE, {}, json)
    return ExitCode.USAGE


def report_unexpected(error: Exception, json: bool) -> int:
    """Report an error nobody thought of."""
    logger.debug("unexpected error", exc_info=error)
    message = f"unexpected {type(error).__name__}: {error}"
    _write(
        "Unexpected", message, "repeat it with -vv for the details, and report it", ExitCode.FAILED, {}, json
    )
    return ExitCode.FAILED


def _write(
    kind: str, message: str, next_step: str, code: ExitCode, facts: dict[str, Any], json: bool
) -> None:
    message, next_step = redacted(message), redacted(next_step)
    if json:
        document = {
            "error": {
                "kind": kind,
                "message": message,
                "next_step": next_step,
                "exit_code": int(code),
                **facts,
            }
        }
        print(jsonlib.dumps(document), file=sys.stderr, flush=True)
        return
    out = Output()
    out.say(f"error: {one_line(message)}")
    if next_step:
        out.say(f"Next: {next_step}")
