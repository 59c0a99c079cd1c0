"""Writing the post-mortem: a step of its own, so that nothing it needs can hold up the requests' way back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tenant_lifecycle.engine.steps import Done, Outcome, StepContext
from tenant_lifecycle.errors import StoreRejected
from tenant_lifecycle.model.gates import OnFailure
from tenant_lifecycle.model.operation import Event, Json
from tenant_lifecycle.model.postmortem import Moment, Postmortem
from tenant_lifecycle.operations.migrate.session import Session
from tenant_lifecycle.operations.migrate.watching import last_failure

#: Kinds of events that belong into a timeline, and how they read; ``{...}`` is taken from the event.
_TOLD = {
    "created": "the migration was asked for",
    "lease": "a driver took over",
    "step_started": "{step} began",
    "step_done": "{step} was done",
    "step_failed": "{step} failed",
    "shifted": "{percent} % of the requests to {environment}",
    "gate-failed": "gate failed at {percent} %: {why}",
    "gates-unclear": "nobody could tell: {why}",
    "requests-back": "every request was back at {environment}",
    "signal": "a person said {signal}",
    "flip-abandoned": "flip attempt {attempt} was given up",
    "rolled-forward": "a flip that was cut off was finished",
}
#: The newest lines of a timeline that is longer.
MOST_MOMENTS = 200
#: What to look at, by gate.
_LOOK_AT = {
    "errors": "Look at the target's errors of that time: its log, its dependencies, its configuration.",
    "latency": "Find out what is slower on the target: cold caches, missing indexes, fewer machines, a longer way.",
    "business": "Ask the product's owner what the target answers differently; compare answers of both sides.",
    "data": "tenantctl migrate verify names every differing key; find who wrote to the target past the fence.",
    "person": "Write down why a person stopped it.",
    "answer": "Make the health sources answer, and see that requests reach both sides.",
}


def write(ctx: StepContext) -> Outcome:
    """Step ``postmortem/N``: build it from the journal, write both forms, keep it in the step's output too."""
    session: Session = ctx.session
    number = int(ctx.key.rsplit("/", 1)[1])
    report = build(ctx, session, number)
    paths = {
        kind: str(_write(session.reports / f"{session.operation_id}-{number}.{kind}", text))
        for kind, text in (("md", report.markdown()), ("json", report.json()))
    }
    ctx.event("postmortem", number=number, markdown=paths["md"], json=paths["json"])
    return Done({"files": paths, "postmortem": report.as_json()})


def build(ctx: StepContext, session: Session, number: int) -> Postmortem:
    """The value, from the newest decision to go back and from the operation's events."""
    key, failure = last_failure(ctx.outputs)
    returned = _returned(ctx, key)
    took_ms = (
        round((returned["routed_at"] - failure["decided_at"]) * 1e3, 1) if "routed_at" in returned else None
    )
    return Postmortem(
        operation=session.operation_id,
        number=number,
        tenant=session.tenant,
        source=session.pair.source,
        target=session.pair.target,
        percent=failure["percent"],
        seen=str(failure["why"]),
        failed=list(failure["failed"]),
        gates=list(failure["gates"]),
        health=failure["health"],
        detect_to_traffic_back_ms=took_ms,
        timeline=list(_timeline(session.history())),
        done=list(_done(session, failure, returned)),
        to_do=list(_to_do(session, failure, returned)),
    )


def _returned(ctx: StepContext, key: str) -> Json:
    """Output of the step that brought the requests back: the one that was done after ``key``."""
    begun = ctx.outputs.begun
    for after in begun[begun.index(key) + 1 :]:
        if after.startswith(("back/", "flip/")) and after in ctx.outputs:
            return ctx.outputs[after]
    return {}


def _timeline(events: Sequence[Event]) -> Iterator[Moment]:
    for event in events[-MOST_MOMENTS:]:
        if event.kind in _TOLD:
            text = _TOLD[event.kind]
            for name, value in event.detail.items():
                text = text.replace(f"{{{name}}}", str(value))
            yield Moment(event.at, text)


def _done(session: Session, failure: Json, returned: Json) -> Iterator[str]:
    """What the tool did by itself."""
    source, target = session.pair.source, session.pair.target
    if failure["next"] == "rollback":
        yield f"Writes and requests were flipped back to {source}, with every write that {target} acknowledged."
    else:
        yield f"Every router sends every request to {source}; writes had never left it."
    for sentence in returned.get("routers", ()):
        yield f"A router does not do what it was told: {sentence}"
    if returned.get("next") == OnFailure.ABORT:
        yield f"The migration is taken back: the feeds and the copy in {target} are removed."
    else:
        yield f"{target} is kept equal, so that another try needs no new copy."


def _to_do(session: Session, failure: Json, returned: Json) -> Iterator[str]:
    """What is left to people."""
    for gate in dict.fromkeys(str(result["gate"]) for result in failure["failed"]):
        yield _LOOK_AT.get(gate, _LOOK_AT["answer"])
    if returned.get("routers"):
        yield "Mend the router that does not obey."
    if returned.get("next") == OnFailure.ABORT:
        yield "Mend the cause, then start a new migration."
    else:
        yield f"Mend the cause, then tenantctl migrate promote {session.operation_id} tries again from the first step."
        yield f"Or tenantctl migrate abort {session.operation_id} removes the copy."


def _write(path: Path, text: str) -> Path:
    """Whole or not at all; nobody else on the host reads it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(path.name + ".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as exc:
        raise StoreRejected(
            f"the post-mortem cannot be written to {path.parent}: {exc.strerror}",
            store="state folder",
            next_step="make room or correct state_folder in lifecycle.yaml, then tenantctl op retry",
        ) from exc
    return path


def reports_of(outputs: Iterable[Json | None]) -> list[Postmortem]:
    """The post-mortems that steps kept in their outputs, in their order."""
    return [Postmortem.from_json(out["postmortem"]) for out in outputs if out and "postmortem" in out]
