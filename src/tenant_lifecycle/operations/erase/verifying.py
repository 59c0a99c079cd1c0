"""Looking with the verifier's eyes, and judging from what was seen.

Every look leaves counts in the journal, and what it found, names included, in the encrypted residue. `judged` makes
the outcomes; no step says "done" in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext, Wait
from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.model.erasure import outcome as outcomes
from tenant_lifecycle.model.erasure.identifiers import CANARY
from tenant_lifecycle.model.erasure.manifest import Batch, within
from tenant_lifecycle.model.erasure.outcome import Evidence, Level, Look, Overall, Verdict
from tenant_lifecycle.model.erasure.request import RequestState
from tenant_lifecycle.model.operation import Outputs
from tenant_lifecycle.operations.erase.opening import AGAIN
from tenant_lifecycle.operations.erase.session import ErasureSession
from tenant_lifecycle.stores.erasing import Hit


def look_at(ctx: StepContext, number: int, name: str, label: str) -> dict[str, Any]:
    """Search one system; what cannot be read makes the look incomplete, never clean.

    Raises:
        StoreError: it did not answer, and another attempt is worth while.
    """
    session: ErasureSession = ctx.session
    searcher = session.system(name).searches
    if searcher is None:
        return _blind("nobody can search it", ctx.now())
    try:
        going, kept = (_batches(session, number, name, kept=one) for one in (False, True))
        seen = session.look(searcher, going, ctx.check, kept)
    except LifecycleError as error:
        if error.retryable and ctx.attempt < session.policy.attempts:
            raise
        return _blind(f"{type(error).__name__}: {error}", ctx.now())
    session.manifests.keep_residue(
        session.operation_id, label, name, [_hit_document(one) for one in seen.hits]
    )
    # One clock for all times of a certificate: the control database's.
    told = {**asdict(seen.look), "level": seen.look.level.value, "at": ctx.now()}
    return {
        **told,
        "undeclared": sum(bool(one.proposal) for one in seen.hits),
        "canaries": sum(one.match.identifier.startswith(CANARY) for one in seen.hits),
        "items": seen.items,
        "bytes": seen.bytes,
    }


def _batches(session: ErasureSession, number: int, name: str, *, kept: bool) -> Iterator[Batch]:
    """The batches of all rounds so far that had to go, or those that are retained."""
    retained = session.planned(name).retained or {}
    for earlier in range(1, number + 1):
        for stored in session.manifests.batches(session.operation_id, earlier, name):
            if any(within(stored.batch.set, one) for one in retained) == kept:
                yield stored.batch


def _blind(why: str, now: float) -> dict[str, Any]:
    look = Look(0, 0, control_found=False, complete=False, why=why, at=now, level=Level.ACCEPTED)
    nothing = {"undeclared": 0, "canaries": 0, "items": 0, "bytes": 0}
    return {**asdict(look), "level": look.level.value, **nothing}


def _hit_document(hit: Hit) -> Mapping[str, Any]:
    return {
        "place": hit.place,
        "where": hit.where,
        "identifier": hit.match.identifier,
        "encoding": hit.match.encoding,
        "proposal": hit.proposal,
    }


def look(ctx: StepContext) -> Outcome:
    """Step: one look at one system. Key: ``look/ROUND/NUMBER/SYSTEM``."""
    session: ErasureSession = ctx.session
    session.register.advance(session.request.id, RequestState.VERIFYING, why="being searched")
    _, number, _, name = ctx.key.split("/", 3)
    return Done(look_at(ctx, int(number), name, ctx.key))


def pause(ctx: StepContext) -> Outcome:
    """Step: let the settling time between two looks pass."""
    session: ErasureSession = ctx.session
    number = int(ctx.key.split("/")[1])
    first = [value["at"] for key, value in ctx.outputs.items() if key.startswith(f"look/{number}/1/")]
    until = max(first, default=ctx.now()) + session.policy.settle_s
    if ctx.now() < until:
        return Wait(until, (), "what is on its way may arrive before the second look")
    return Done()


def evidence_of(session: ErasureSession, outputs: Outputs, number: int, name: str) -> Evidence:
    """Everything that round ``number``, and the rescans after it, saw of one system."""
    planned = session.planned(name)
    erased = outputs.get(f"erase/{number}/{name}", {})
    settled = outputs.get(f"settle/{number}/{name}", {})
    refused, until = _refused(session, number, name)
    held = sorted({*(planned.held or {}).values(), *erased.get("held", {}).values()})
    ground = "; ".join(sorted((planned.retained or {}).values()))
    looks = _looks(outputs, number, name)
    return Evidence(
        system=name,
        required=planned.required,
        unsupported=planned.unsupported or session.system(name).unsupported,
        held=", ".join(held) if erased.get("held") or "*" in (planned.held or {}) else "",
        out_of_scope=planned.out_of_scope,
        refused=refused,
        refused_until=until,
        retained_ground=ground,
        retained=sum(erased.get("kept", {}).values()),
        retained_until=_retained_until(session, name) if ground else None,
        failure=_failure(outputs, number, name),
        looks=looks,
        horizon=settled.get("horizon"),
        horizon_level=Level(settled["horizon_level"]) if "horizon_level" in settled else None,
    )


def _failure(outputs: Outputs, number: int, name: str) -> str:
    """The first thing that did not come to its end; what could not be cleaned out counts."""
    steps = [outputs.get(f"{what}/{number}/{name}", {}) for what in ("freeze", "erase", "settle")]
    failures = [one["failure"] for one in steps if "failure" in one]
    return next(iter(failures), "; ".join(steps[-1].get("left", ())))


def _looks(outputs: Outputs, number: int, name: str) -> tuple[Look, ...]:
    seen = [outputs.get(f"look/{number}/{one}/{name}") for one in (1, 2)]
    later = [key for key in outputs if key.startswith((f"rescan/{number}/", f"age/{number}/"))]
    seen += [outputs[key].get("looks", {}).get(name) for key in later]
    found = [_look_of(one) for one in seen if one]
    return tuple(sorted(found, key=lambda one: one.at))


def _look_of(value: Mapping[str, Any]) -> Look:
    known = {one.name: value[one.name] for one in fields(Look)}
    return Look(**{**known, "level": Level(value["level"])})


def _refused(session: ErasureSession, number: int, name: str) -> tuple[int, float | None]:
    """How many items the system would not delete, and when it will if it named a date for all of them."""
    words = [
        one
        for batch in session.manifests.refused(session.operation_id, number, name)
        for one in batch.values()
    ]
    dates = [one["until"] for one in words]
    dated = words and all(one["dated"] for one in words)
    return sum(one["items"] for one in words), max(dates) if dated else None


def _retained_until(session: ErasureSession, name: str) -> float | None:
    ends = [rule.until for rule in session.policy.retention if rule.store == name.rpartition("/")[2]]
    return max(ends, default=None)


def judged(session: ErasureSession, outputs: Outputs, number: int, now: float) -> dict[str, Any]:
    """The outcome of every system of the plan and of the whole, from the journal alone."""
    names = [one.system for one in session.plan.systems]
    results = [outcomes.judge(evidence_of(session, outputs, number, name), now) for name in names]
    return {
        "overall": outcomes.overall(results, names).value,
        "systems": [{**asdict(one), "level": one.level and one.level.value} for one in results],
        "traces": {name: outputs.get(f"settle/{number}/{name}", {}).get("traces", []) for name in names},
    }


def judge(ctx: StepContext) -> Outcome:
    """Step: what round ``judge/ROUND`` came to, and what follows from it."""
    session: ErasureSession = ctx.session
    number = int(ctx.key.split("/")[1])
    verdict = judged(session, ctx.outputs, number, ctx.now())
    following = _following(session, ctx.outputs, number, verdict)
    to, why = {
        "again": (RequestState.ERASING, "something was found and goes in another round"),
        "person": (RequestState.NEEDS_HUMAN, _open_ends(verdict)),
    }.get(following, (RequestState.VERIFYING, "verified"))
    session.register.advance(session.request.id, to, why=why)
    return Done({**verdict, "next": following, **_neighbours(ctx.outputs, number)})


def _following(session: ErasureSession, outputs: Outputs, number: int, verdict: Mapping[str, Any]) -> str:
    """``on``, ``held``, ``again`` or ``person``."""
    verdicts = {one["system"]: Verdict(one["verdict"]) for one in verdict["systems"]}
    if verdict["overall"] != Overall.INCOMPLETE:
        return "held" if Verdict.HELD in verdicts.values() else "on"
    residual = [name for name, one in verdicts.items() if one is Verdict.RESIDUAL]
    blocked = [
        one
        for one in verdicts.values()
        if one in (Verdict.NEEDS_HUMAN, Verdict.INCONCLUSIVE, Verdict.UNVERIFIED)
    ]
    last = [outputs.get(f"look/{number}/2/{name}", {}) for name in residual]
    helps = residual and all(one.get("remaining") or one.get("hits", 0) > one["undeclared"] for one in last)
    return "again" if helps and not blocked and number < session.policy.rounds else "person"


def _open_ends(verdict: Mapping[str, Any]) -> str:
    good = (Verdict.VERIFIED, *outcomes.EXCEPTIONS)
    return "; ".join(
        f"{one['system']}: {one['verdict']} ({one['reason']})"
        for one in verdict["systems"]
        if one["verdict"] not in good
    )


def await_person(ctx: StepContext) -> Outcome:
    """Step: only a person gets it further; ``again`` begins another round."""
    session: ErasureSession = ctx.session
    if ctx.take_signal(AGAIN) is None:
        why = ctx.outputs[f"judge/{ctx.key.split('/')[1]}"]
        return Wait(None, (AGAIN,), f"needs a person: {_open_ends(why)}")
    session.register.advance(session.request.id, RequestState.ERASING, why="another round")
    return Done()


def count_neighbours(ctx: StepContext) -> Outcome:
    """Step: count what other tenants have, before or after. Key: ``neighbours/ROUND/before``."""
    session: ErasureSession = ctx.session
    counts: dict[str, Any] = {}
    others = _others(session)
    for system in session.systems:
        ctx.check()
        try:
            counts[system.name] = [
                sorted([size.name, size.items] for size in system.store.inventory(one, exact=True))
                for one in others
            ]
        except LifecycleError as error:
            counts[system.name] = type(error).__name__
    return Done({"tenants": len(others), "counts": counts})


def _others(session: ErasureSession) -> list[Any]:
    """Some other tenants, the same ones before and after."""
    known: set[str] = set()
    for system in session.systems:
        try:
            known.update(system.store.tenants())
        except LifecycleError:
            continue
    return sorted(known - {session.tenant})[: session.policy.neighbours]


def _neighbours(outputs: Outputs, number: int) -> Mapping[str, Any]:
    before, after = outputs.get("neighbours/1/before"), outputs.get(f"neighbours/{number}/after")
    if before is None or after is None:
        return {}
    changed = [name for name, counts in before["counts"].items() if after["counts"].get(name) != counts]
    return {"neighbours": before["tenants"], "neighbours_changed": changed}
