"""The end of every command that changes an operation: wait if that was asked for, show, and say what comes next."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from tenant_lifecycle.cli import documents
from tenant_lifecycle.cli.exit_codes import ExitCode
from tenant_lifecycle.cli.goals import Goal
from tenant_lifecycle.cli.output import NextStep, Output
from tenant_lifecycle.cli.service import Lifecycle
from tenant_lifecycle.cli.watch import snapshot, watch
from tenant_lifecycle.model.operation import Operation, State


@dataclass(frozen=True, slots=True)
class Waiting:
    """``--wait`` and ``--timeout``."""

    wanted: bool
    timeout_s: float | None


def finish(
    service: Lifecycle, operation_id: str, said: str, goal: Goal, waiting: Waiting, out: Output
) -> None:
    """Print the operation after a change; with ``--wait`` only when the goal is reached, and exit with its code."""
    if not waiting.wanted:
        document = snapshot(service, operation_id, events=0)
        out.data({"said": said, **document}, [said], next_steps(service.operation(operation_id)))
        return
    watched = watch(service, operation_id, goal, out, timeout_s=waiting.timeout_s)
    leave(service, operation_id, watched.code, watched.document, said, out)


def leave(
    service: Lifecycle,
    operation_id: str,
    code: ExitCode,
    document: documents.Document,
    said: str,
    out: Output,
) -> None:
    """Say how watching ended and exit with its code."""
    operation = service.operation(operation_id)
    if code in (ExitCode.DETACHED, ExitCode.TIMEOUT):
        how = "Detached" if code is ExitCode.DETACHED else "The time is over"
        out.say(f"{how}. The operation goes on.")
        out.say(f"Reattach: tenantctl op watch {operation_id}   Stop it: {_stop_command(operation)}")
    steps = next_steps(operation)
    lines = [f"{operation.kind} {operation.tenant_id}: {document['why']}"] if document else [said]
    out.data({"said": said, "exit_code": int(code), **document}, lines, steps)
    raise typer.Exit(int(code))


def _stop_command(operation: Operation) -> str:
    if operation.kind == "migrate":
        return f"tenantctl migrate abort {operation.tenant_id}"
    return f"tenantctl op abort {operation.id}"


def next_steps(operation: Operation) -> list[NextStep]:
    """What makes sense after looking at an operation."""
    name = operation.id
    if operation.kind == "restore" and operation.state is State.WAITING and operation.wake_signals:
        return [
            NextStep(f"tenantctl restore diff {name}", "how it differs from what is live"),
            NextStep(f"tenantctl restore promote {name}", "by another person: in place of what is live"),
            NextStep(f"tenantctl restore discard {name}", "take the preview away"),
        ]
    match operation.state:
        case State.ATTENTION:
            return [
                NextStep(f"tenantctl op why {name}", "what stopped it, and how to mend it"),
                NextStep(f"tenantctl op retry {name}", "after mending it"),
            ]
        case State.PAUSED:
            return [NextStep(f"tenantctl op resume {name}")]
        case State.SUCCEEDED | State.FAILED | State.ABORTED | State.ROLLED_BACK:
            return []
    return [NextStep(f"tenantctl op watch {name}")]
