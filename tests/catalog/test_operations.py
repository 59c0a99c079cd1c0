"""The operations in the control database, as people see and create them."""

from __future__ import annotations

import re
import threading
import time

import pytest

from tenant_lifecycle.catalog.database import ControlDatabase
from tenant_lifecycle.catalog.operations import Operations, new_id
from tenant_lifecycle.errors import TenantBusy, UnknownOperation, WrongState
from tenant_lifecycle.model.operation import (
    DRIVABLE,
    TERMINAL,
    TRANSITIONS,
    NewOperation,
    Outputs,
    State,
)


@pytest.fixture
def operations(control: ControlDatabase) -> Operations:
    return Operations(control)


def new(tenant: str = "acme", kind: str = "migrate") -> NewOperation:
    return NewOperation(kind, f"{kind}@1", tenant, "anna", spec={"to": "green"}, plan_hash="sha256:9f")


def test_ids_are_ordered_by_time_and_never_repeat() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert len({new_id() for _ in range(10_000)}) == 10_000
    assert all(re.fullmatch(r"op_[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", each) for each in ids)


def test_a_new_operation_is_what_was_asked_for(operations: Operations) -> None:
    made = operations.create(new("o'brien; DROP TABLE operation"))
    assert operations.get(made.id) == made
    assert (made.state, made.kind, made.tenant_id) == (
        State.QUEUED,
        "migrate",
        "o'brien; DROP TABLE operation",
    )
    assert made.spec == {"to": "green"}
    assert made.created_at == pytest.approx(time.time(), abs=60)
    (event,) = operations.events(made.id)
    assert (event.kind, event.actor) == ("created", "anna")


def test_a_second_exclusive_operation_is_refused_and_the_holder_named(operations: Operations) -> None:
    holder = operations.create(new())
    for kind in ("migrate", "erase", "restore"):
        with pytest.raises(TenantBusy, match=holder.id) as refused:
            operations.create(new(kind=kind))
        assert refused.value.operation_id == holder.id
        assert holder.id in refused.value.next_step
    operations.create(new(kind="backup"))
    operations.create(new("globex"))


def test_of_many_creators_at_once_one_wins(operations: Operations) -> None:
    outcomes: list[str] = []

    def create() -> None:
        try:
            operations.create(new())
            outcomes.append("made")
        except TenantBusy:
            outcomes.append("busy")

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["busy"] * 5 + ["made"]


def test_an_operation_is_found_by_id_by_its_beginning_and_by_tenant(operations: Operations) -> None:
    one, other = operations.create(new()), operations.create(new("globex"))
    backup = operations.create(new(kind="backup"))
    assert operations.find(one.id) == one
    assert operations.find(other.id[:-4]) == other
    assert operations.find("acme", kind="migrate") == one
    assert operations.find("acme") == backup
    for text in ("op_", one.id[:7], "op_%", "initech"):
        with pytest.raises(UnknownOperation):
            operations.find(text)
    with pytest.raises(UnknownOperation):
        operations.get("op_0")


def test_a_list_is_newest_first_and_goes_on_where_it_ended(operations: Operations) -> None:
    made = []
    for number in range(5):
        made.append(operations.create(new(f"t{number}")).id)
        time.sleep(0.002)
    first = operations.list(limit=3)
    assert [each.id for each in first] == made[:1:-1]
    assert [each.id for each in operations.list(before=first[-1].id)] == made[1::-1]
    assert [each.id for each in operations.list(tenant_id="t3")] == [made[3]]
    assert operations.list(states=[State.SUCCEEDED]) == []
    assert len(operations.list(states=[State.QUEUED, State.PAUSED])) == 5


def test_events_go_on_after_the_last_one_seen(operations: Operations) -> None:
    made = operations.create(new())
    operations.pause(made.id, actor="anna", reason="lunch")
    operations.resume(made.id, actor="berta")
    events = operations.events(made.id)
    assert [(event.kind, event.actor) for event in events] == [
        ("created", "anna"),
        ("pause_requested", "anna"),
        ("resumed", "berta"),
    ]
    assert operations.events(made.id, after=events[0].seq) == events[1:]
    assert operations.events(made.id, after=events[-1].seq) == []
    assert operations.events(made.id, limit=1) == events[:1]


def test_what_does_not_fit_the_state_is_refused(operations: Operations) -> None:
    made = operations.create(new())
    with pytest.raises(WrongState, match="not paused"):
        operations.resume(made.id, actor="anna")
    with pytest.raises(WrongState, match="nothing to retry"):
        operations.retry(made.id, actor="anna")
    with pytest.raises(WrongState, match="not in doubt"):
        operations.resolve(made.id, "copy", happened=True, actor="anna")
    operations.abort(made.id, actor="anna")
    with pytest.raises(WrongState, match="about to be aborted"):
        operations.pause(made.id, actor="anna")
    with pytest.raises(UnknownOperation):
        operations.signal("op_0", "go", actor="anna")
    assert [event.kind for event in operations.events(made.id)] == ["created", "abort_requested"]


def test_every_state_says_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(State)
    assert all(TRANSITIONS[state] == frozenset() for state in TERMINAL)
    assert not DRIVABLE & TERMINAL
    assert all(State.ABORTING in TRANSITIONS[state] for state in State if state not in TERMINAL)


def test_outputs_know_what_began_without_an_outcome() -> None:
    outputs = Outputs({"one": {"rows": 1}}, ("one", "two"))
    assert dict(outputs) == {"one": {"rows": 1}}
    assert outputs.begun == ("one", "two")
    assert "two" not in outputs
    assert Outputs().begun == ()
