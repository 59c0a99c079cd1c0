"""First steps: refuse what cannot go well, make the target ready, arm the fence on both sides."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import (
    PreconditionRefused,
    StoreRejected,
    StoreUnavailable,
    TargetOccupied,
    UnknownTenant,
    UnmappedData,
    WrongState,
)
from tenant_lifecycle.model.cutover import Action, Seen, decide
from tenant_lifecycle.model.findings import Finding, refusals
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.policy import ProvisionHook
from tenant_lifecycle.operations.migrate.session import FORWARD, Session
from tenant_lifecycle.operations.pairs import Pair
from tenant_lifecycle.stores.base import FenceRow, Fences, FenceState, Overlaps, Prepares, Schemas

#: So far a target's sequences are kept ahead while rows are arriving. 64-bit sequences do not notice.
COUNTERS_AHEAD = 100_000


def look(pair: Pair, tenant: TenantId) -> list[Finding]:
    """Everything pre-flight has to say, store by store; changes nothing."""
    findings: list[Finding] = []
    for stores in pair.stores:
        if isinstance(stores.source, Prepares):
            findings += stores.source.preflight(stores.target, tenant)
        if isinstance(stores.source, Overlaps):
            findings += stores.source.overlaps(tenant, _tenants(pair))
    return findings


def _tenants(pair: Pair) -> set[TenantId]:
    """Everybody who is known on either side."""
    return {*pair.judge.source.tenants(), *pair.judge.target.tenants()}


#: Which error a refusal is, by the end of its code; any other is a plain `PreconditionRefused`.
_ERRORS: dict[str, type[PreconditionRefused]] = {
    "unmapped": UnmappedData,
    "target-occupied": TargetOccupied,
}


def refuse(findings: list[Finding]) -> None:
    """Raise if any finding is a refusal; the error's class tells the commonest ones apart.

    If nothing is wrong but that a store could not be asked just now, the error says that asking again helps.
    """
    forbidding = refusals(findings)
    if not forbidding:
        return
    # What will not pass is the news.
    first = min(forbidding, key=lambda finding: finding.passing)
    if first.passing:
        said = f"{first.subject}: {first.message}"
        raise StoreUnavailable(said, store=first.subject, next_step=first.next_step)
    if first.code == "pg.tenant-absent":
        raise UnknownTenant(first.message, next_step=first.next_step)
    more = f" (and {len(forbidding) - 1} more)" if len(forbidding) > 1 else ""
    error = _ERRORS.get(first.code.partition(".")[2], PreconditionRefused)
    raise error(first.message + more, findings=forbidding, next_step=first.next_step)


def preflight(ctx: StepContext) -> Outcome:
    """Step: every reason not to move, looked at again at the moment of the start."""
    session: Session = ctx.session
    findings = look(session.pair, session.tenant)
    refuse(findings)
    return Done({"checks": len(findings)})


def provision(ctx: StepContext) -> Outcome:
    """Step: the hook (a command or Terraform), then create on the target what the tenant's sets lack."""
    session: Session = ctx.session
    run_hook(session.policy.provision, ctx)
    created: list[str] = []
    for pair in session.pair.stores:
        ctx.check()
        if isinstance(pair.source, Prepares):
            created += pair.source.create_missing(pair.target, session.tenant)
    findings = look(session.pair, session.tenant)
    refuse(findings)
    keep_counters_ahead(session, FORWARD)
    shapes = {
        pair.name: pair.source.shape(session.tenant)
        for pair in session.pair.stores
        if isinstance(pair.source, Schemas)
    }
    for line in created:
        ctx.event("created", what=line)
    return Done({"created": len(created), "shapes": shapes})


def keep_counters_ahead(session: Session, way: str) -> None:
    """Raise that way's target sequences above what its source has given out, with room for what it will give.

    Rows arrive with the source's numbers long before a flip; a neighbour on the target must never draw one of
    them. Done before the copy and again while changes are followed.
    """
    for pair in session.way(way).stores:
        if isinstance(pair.source, Schemas):
            pair.source.carry_counters(pair.target, session.tenant, COUNTERS_AHEAD)


def arm(ctx: StepContext) -> Outcome:
    """Step: fence triggers and rows in both; from here on the target refuses the tenant's writes.

    The target is looked at once more *after* it refuses writes, so nobody can slip rows in before the copy.
    """
    session: Session = ctx.session
    judge = session.pair.judge
    source, target = judge.source, judge.target
    assert isinstance(source, Fences) and isinstance(target, Fences)
    here = source.arm(session.tenant, FenceState.ACTIVE, 1, None)
    there = target.arm(session.tenant, FenceState.STANDBY, 0, session.pair.source)
    if decide(seen(here), seen(there)) is not Action.ATTEMPT:
        raise WrongState(
            f"the fences of {source.name} ({here.state}, epoch {here.epoch}) and {target.name} "
            f"({there.state}, epoch {there.epoch}) do not say that {session.pair.source} is the writer",
            next_step="another move may be unfinished: tenantctl op list; else tenantctl doctor",
        )
    if "feed" not in ctx.outputs.begun:
        refuse([f for f in look(session.pair, session.tenant) if f.code.endswith(".target-occupied")])
    return Done({"epoch": here.epoch})


def seen(row: FenceRow | None) -> Seen | None:
    """What a decision needs of a fence row."""
    return None if row is None else Seen(row.state, row.epoch)


def run_hook(hook: ProvisionHook, ctx: StepContext) -> None:
    """Run the command or Terraform of the policy, if there is one; its output goes to the operation's history.

    Raises:
        StoreRejected: it failed; the message has the last lines it printed.
    """
    session: Session = ctx.session
    facts = {
        "TENANT": session.tenant,
        "SOURCE": session.pair.source,
        "TARGET": session.pair.target,
        "OPERATION": session.operation_id,
    }
    if hook.command:
        _run(list(hook.command), {**os.environ, **facts}, None, hook.timeout_s)
        ctx.event("provisioned", by=Path(hook.command[0]).name)
    if hook.terraform:
        variables = {
            f"TF_VAR_{name}": facts[fact]
            for name, fact in (("tenant", "TENANT"), ("source_env", "SOURCE"), ("target_env", "TARGET"))
        }
        environment = {**os.environ, **variables, "TF_IN_AUTOMATION": "1"}
        for arguments in (
            ["init", "-input=false", "-no-color"],
            ["apply", "-input=false", "-no-color", "-auto-approve"],
        ):
            ctx.check()
            _run(["terraform", *arguments], environment, Path(hook.terraform), hook.timeout_s)
        outputs = _run(["terraform", "output", "-json", "-no-color"], environment, Path(hook.terraform), 60.0)
        ctx.event("provisioned", by="terraform", outputs=sorted(json.loads(outputs or "{}")))


def _run(command: list[str], environment: dict[str, str], folder: Path | None, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command, env=environment, cwd=folder, timeout=timeout_s, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as exc:
        raise StoreRejected(
            f"the provision hook {command[0]!r} was not found",
            store="provision hook",
            next_step="correct policies.provision in lifecycle.yaml, then tenantctl op retry",
        ) from exc
    except subprocess.TimeoutExpired as exc:
        raise StoreRejected(
            f"the provision hook {command[0]!r} took longer than {timeout_s:.0f} s", store="provision hook"
        ) from exc
    if done.returncode != 0:
        tail = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise StoreRejected(
            f"the provision hook {command[0]!r} failed with exit code {done.returncode}: {tail}",
            store="provision hook",
            next_step="mend it, then tenantctl op retry",
        )
    return done.stdout
