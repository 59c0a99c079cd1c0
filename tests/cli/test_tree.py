"""The picture of an operation, compared with drawings kept in golden/ (renewed with: python tests/cli/test_tree.py)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.cli.tree import ASCII, UNICODE, tree

GOLDEN = Path(__file__).with_name("golden")


def step(key: str, title: str, begun: str, ended: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "key": key, "title": title, "kind": "idempotent", "status": "done" if ended else "intent", "attempt": 1,
        "failures": 0, "done": None, "total": None, "exact": True, "detail": {}, "output": None, "error": None,
        "first_at": f"2026-01-02T{begun}Z", "last_at": f"2026-01-02T{begun}Z",
        "done_at": f"2026-01-02T{ended}Z" if ended else None, "next_try_at": None, **changes,
    }  # fmt: skip


def event(at: str, kind: str, actor: str = "engine", **detail: Any) -> dict[str, Any]:
    return {"seq": 1, "operation": "op_1", "at": f"2026-01-02T{at}Z", "kind": kind, "actor": actor, "token": 57, "detail": detail}  # fmt: skip


OPERATION = {
    "id": "op_0193e0b2a4c57d10a1b2c3d4e5f60718", "kind": "migrate", "definition": "migrate@1", "tenant": "acme",
    "state": "running", "desired": "run", "terminal": False, "spec": {"source": "blue", "target": "green"},
    "plan_hash": "sha256:9f3c", "owner": "host-7/4711", "token": 57, "lease_until": "2026-01-02T14:40:09Z",
    "wake_at": None, "reason": "", "requested_by": "me@host", "created_at": "2026-01-02T14:02:00Z",
    "started_at": "2026-01-02T14:02:01Z", "finished_at": None, "result": None, "error": None,
}  # fmt: skip
AHEAD = [
    {"key": "way-back", "title": "prepare and prove the way back"},
    {"key": "verify", "title": "verify every item"},
    {"key": "flip/1", "title": "make the target the writer"},
    {"key": "settle/1", "title": "keep the old side ready"},
]
COPYING: dict[str, Any] = {
    "operation": OPERATION,
    "steps": [
        step("preflight", "look for reasons not to move", "14:02:01", "14:02:01.400", output={"checks": 31}),
        step("provision", "make the target ready", "14:02:02", "14:02:43", output={"created": 7}),
        step("arm", "arm the fence on both sides", "14:02:43", "14:02:44", output={"epoch": 1}),
        step(
            "copy", "copy what is there", "14:02:44", None, done=2_600_123, total=4_182_330, exact=False, attempt=2,
            detail={
                "sets": {"public.documents": [1_200_000, 1_904_551], "public.chunks": [1_400_123, 2_277_779], "audit.events": [0, 0]},
                "items_per_s": 83_000, "bytes_per_s": 12_100_000, "eta_s": 19.0,
            },
        ),
    ],
    "ahead": [{"key": "catch-up", "title": "apply what changed meanwhile"}, *AHEAD],
    "events": [event("14:02:44", "step_started", step="copy"), event("14:30:00", "lease", stalls=1)],
    "why": "Runs: copy what is there, for 37:17 now.",
    "at": "2026-01-02T14:40:01Z",
}  # fmt: skip
SETTLING: dict[str, Any] = {
    "operation": {**OPERATION, "state": "running"},
    "steps": [
        step("copy", "copy what is there", "14:02:44", "14:33:52", output={"items": 4_182_330, "bytes": 11_200_000_000, "parts": 40}),
        step("verify", "verify every item", "14:34:00", "14:34:41", output={"items": 4_182_330, "differences": 0, "repaired": 1}),
        step("flip/1", "make the target the writer", "14:34:41", "14:34:41.100", output={"writer": "green", "attempts": 2, "timing": {"pause_ms": 8.412}}),
        step("settle/1", "keep the old side ready", "14:34:42", None, kind="wait", done=0,
             detail={"why": "kept", "ready": True, "dirty": 12, "lag_s": 0.034}),
    ],
    "ahead": [],
    "events": [event("14:35:00", "signal", "me@host", signal="rollback")],
    "why": "Keep the old side ready: the old side is kept ready for a rollback; complete empties it (23 h 54 min left).",
    "at": "2026-01-02T14:40:01Z",
}  # fmt: skip
FAILING: dict[str, Any] = {
    "operation": {**OPERATION, "state": "waiting", "owner": None, "lease_until": None},
    "steps": [
        step("catch-up", "apply what changed meanwhile", "14:02:44", None, status="failed", failures=3,
             error={"kind": "StoreUnavailable", "message": "green/postgres: connection refused", "next_step": "", "retryable": True, "step": "catch-up"},
             next_try_at="2026-01-02T14:40:10Z", detail={"lag_s": 1.5, "waiting": 1200}),
    ],
    "ahead": AHEAD,
    "events": [],
    "why": "Apply what changed meanwhile failed: green/postgres: connection refused. Next try in 0:09 (failure 3).",
    "at": "2026-01-02T14:40:01Z",
}  # fmt: skip
PICTURES = {"copying": COPYING, "settling": SETTLING, "failing": FAILING}


def drawn(document: dict[str, Any], width: int) -> str:
    return "\n".join(line.plain for line in tree(document, width)) + "\n"


@pytest.mark.parametrize("width", [80, 140])
@pytest.mark.parametrize("name", PICTURES)
def test_the_picture_is_the_drawing(name: str, width: int) -> None:
    assert drawn(PICTURES[name], width) == (GOLDEN / f"{name}-{width}.txt").read_text(encoding="utf-8")


@given(width=st.integers(0, 200), tenant=st.text(max_size=300), name=st.sampled_from(sorted(PICTURES)))
def test_no_line_is_wider_than_the_screen_and_none_moves_its_cursor(
    width: int, tenant: str, name: str
) -> None:
    document = copy.deepcopy(PICTURES[name])
    document["operation"]["tenant"] = document["steps"][0]["title"] = document["why"] = tenant
    for line in tree(document, width):
        assert line.cell_len <= max(40, width)
        assert line.plain.isprintable()


def test_a_terminal_without_unicode_gets_ascii() -> None:
    for document in PICTURES.values():
        for line in tree(document, 100, ASCII):
            assert line.plain.isascii()


def test_every_status_is_a_word_and_not_only_a_colour() -> None:
    text = drawn(FAILING, 140) + drawn(COPYING, 140) + drawn(SETTLING, 140)
    for word in ("done", "running", "waiting", "failed"):
        assert word in text


def test_many_sets_do_not_push_the_rest_off_the_screen() -> None:
    document = copy.deepcopy(COPYING)
    document["steps"][-1]["detail"]["sets"] = {f"public.t{number}": [0, 10] for number in range(500)}
    lines = tree(document, 80, UNICODE)
    assert len(lines) < 40
    assert any("and 488 more" in line.plain for line in lines)


if __name__ == "__main__":
    for name, document in PICTURES.items():
        for width in (80, 140):
            (GOLDEN / f"{name}-{width}.txt").write_text(drawn(document, width), encoding="utf-8")
