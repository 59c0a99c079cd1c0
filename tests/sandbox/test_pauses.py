"""What a flip did to the clients is read from their ledger."""

import json
from pathlib import Path

import pytest

from tenant_lifecycle.sandbox.pauses import Pause, pauses, percentiles


def write(folder: Path, tenant: str, writer: int, *entries: tuple[float, float, str]) -> None:
    """Entries: when it was begun, how long it took (ms), what came of it."""
    with (folder / f"{writer}.jsonl").open("w") as file:
        for seq, (began, latency, outcome) in enumerate(entries, start=1):
            begin = {
                "seq": seq,
                "tenant": tenant,
                "writer": writer,
                "kind": "use",
                "began": began,
                "effects": [],
            }
            end = {"seq": seq, "outcome": outcome, "latency_ms": latency}
            file.write(json.dumps(begin) + "\n" + json.dumps(end) + "\n")


def test_a_window_sees_the_writes_that_were_under_way_in_it(tmp_path) -> None:
    write(tmp_path, "acme", 1, (100.0, 1, "ack"), (100.5, 40, "ack"), (101.0, 1, "ack"))
    write(tmp_path, "acme", 2, (100.1, 2, "ack"), (100.52, 5, "failed"), (103.0, 900, "ack"))
    write(tmp_path, "globex", 3, (100.5, 300, "ack"))
    (pause,) = pauses(tmp_path, "acme", [(100.51, 100.53)])
    assert pause == Pause(pytest.approx(40), pytest.approx(438, abs=1), writes=1, failed=1)
    before, after = pauses(tmp_path, "acme", [(99.0, 99.5), (103.5, 104.0)])
    assert (before.writes, before.latency_ms, before.gap_ms) == (0, 0, 0)
    assert (after.writes, after.latency_ms) == (1, 900)


def test_the_longest_gap_is_the_one_around_the_window(tmp_path) -> None:
    write(tmp_path, "acme", 1, *((100 + n / 100, 1, "ack") for n in range(10)))
    write(tmp_path, "acme", 2, *((100.3 + n / 100, 1, "ack") for n in range(10)))
    inside, outside = pauses(tmp_path, "acme", [(100.15, 100.2), (100.31, 100.35)])
    assert inside.gap_ms == pytest.approx(210, abs=1)
    assert outside.gap_ms == pytest.approx(10, abs=1)


def test_percentiles_are_by_nearest_rank() -> None:
    assert percentiles(range(1, 101)) == {"p50": 50, "p99": 99, "max": 100}
    assert percentiles([7]) == {"p50": 7, "p99": 7, "max": 7}
    assert percentiles([3, 1, 2]) == {"p50": 2, "p99": 3, "max": 3}
    assert percentiles([]) == {"p50": 0, "p99": 0, "max": 0}
