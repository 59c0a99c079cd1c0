"""The steps of a drill: restore, discard/STORE ..., judge. What is wrong is a result; it fails only at the end.

The time counts from the operation's start to the last proof, waiting and repetitions included: what a person would
have waited for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenant_lifecycle.engine.definition import Definition
from tenant_lifecycle.engine.retry import Retry
from tenant_lifecycle.engine.steps import Done, OnError, Outcome, Step, StepContext, StepKind
from tenant_lifecycle.errors import LifecycleError, VerificationFailed
from tenant_lifecycle.model.backup.drill import DrillResult, Recall
from tenant_lifecycle.model.findings import refusals
from tenant_lifecycle.model.operation import Operation, Outputs
from tenant_lifecycle.operations.backup.session import writing_name
from tenant_lifecycle.operations.drill.golden import recall_of
from tenant_lifecycle.operations.drill.session import DrillSession, OpenDrill
from tenant_lifecycle.operations.restore.loading import store_of, unequal

PAYLOAD_TYPE = "application/vnd.tenant-lifecycle.restore-drill.v1+json"
PATIENT = Retry(attempts=20, first_s=0.2, factor=1.6, ceiling_s=15.0)


class Drill(Definition):
    """One tenant as of ``spec['at_us']``, beside what is live in ``spec['environment']``."""

    name = "drill@1"
    kind = "drill"

    def __init__(self, open_session: OpenDrill) -> None:
        self._open = open_session

    @contextmanager
    def session(self, operation: Operation, token: int) -> Iterator[DrillSession]:
        session = self._open(operation, token)
        try:
            yield session
        finally:
            session.close()

    def steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:  # noqa: ARG002
        run, stores = StepKind.IDEMPOTENT, operation.spec["stores"]
        return [
            Step("restore", "restore it beside what is live, and prove it", run, restore, retry=PATIENT),
            *(
                Step(f"discard/{name}", f"{name}: take it away", run, discard, retry=PATIENT)
                for name in stores
            ),
            Step("judge", "keep the result", run, judge, retry=PATIENT, on_error=OnError.FAIL),
        ]

    def abort_steps(self, operation: Operation, outputs: Outputs) -> Sequence[Step]:
        if "restore" not in outputs.begun or "judge" in outputs.begun:
            return []
        return [step for step in self.steps(operation, outputs) if step.key.startswith("discard/")]


def restore(ctx: StepContext) -> Outcome:
    """Step: all stores are loaded, proved and asked; or it is known why that cannot be."""
    session: DrillSession = ctx.session
    try:
        output = _restored(ctx, session)
    except LifecycleError as error:
        if error.retryable and ctx.attempt < PATIENT.attempts:
            raise
        output = {"failure": f"{type(error).__name__}: {error}"}
    return Done({**output, "seconds": round(ctx.now() - ctx.operation.created_at, 3)})


def _restored(ctx: StepContext, session: DrillSession) -> dict[str, Any]:
    key = session.backup.repository.fingerprint_key()
    items: dict[str, int] = {}
    wrong: list[str] = []
    recall: dict[str, dict[str, Any]] = {}
    for name in ctx.operation.spec["stores"]:
        shapes, moment = session.moment.shapes(name), session.moment
        refused = refusals(
            session.backup.previews(name).check_restore(
                session.backup.tenant, shapes, moment.base(name).facts
            )
        )
        if refused:
            return {"failure": f"{name}: {refused[0].message}"}
        preview = session.preview(name)
        for set_name in shapes:
            ctx.check()
            preview.load(set_name, moment.items(name, set_name), ctx.check)
        expected = moment.fingerprints(name)
        items[name] = sum(one.items for one in expected.values())
        wrong += [f"{name}/{one}" for one in unequal(expected, preview.fingerprints(key))]
        answered = recall_of(preview, moment, name, ctx.operation.id, ctx.check)
        if answered is not None:
            recall[name] = {
                "queries": answered.queries, "at_10": answered.at_10, "own_first": answered.own_first,
            }  # fmt: skip
    return {"items": items, "unequal": wrong, "recall": recall}


def discard(ctx: StepContext) -> Outcome:
    """Step: nothing of the drill is left in the store. Key: ``discard/STORE``."""
    session: DrillSession = ctx.session
    name = store_of(ctx.key)
    if writing_name(session.backup.operation_id) in session.backup.previews(name).previews():
        session.preview(name).discard()
    return Done()


def judge(ctx: StepContext) -> Outcome:
    """Step: the result is kept, signed if somebody can.

    Raises:
        VerificationFailed: the tenant could not have been restored: an alarm.
    """
    session: DrillSession = ctx.session
    result = result_of(ctx.operation, ctx.outputs["restore"], ctx.now())
    told = json.dumps(result.document(), sort_keys=True, separators=(",", ":")).encode()
    session.results.keep(result, None if session.sign is None else session.sign(PAYLOAD_TYPE, told))
    if not result.passed:
        raise VerificationFailed(
            f"the restore drill of tenant {result.tenant_id!r} failed: {'; '.join(result.findings[:3])}",
            next_step="tenantctl backup check --level L3; until it passes nobody knows whether this can be restored",
        )
    return Done({"rto_s": result.rto_s, "passed": True})


def result_of(operation: Operation, found: Any, now: float) -> DrillResult:
    """The result, from what the journal has."""
    return DrillResult(
        operation.id,
        operation.tenant_id,
        operation.spec["environment"],
        int(operation.spec["at_us"]),
        now,
        float(found["seconds"]),
        found.get("items", {}),
        tuple(found.get("unequal", ())),
        {name: Recall(**one) for name, one in found.get("recall", {}).items()},
        found.get("failure", ""),
    )
