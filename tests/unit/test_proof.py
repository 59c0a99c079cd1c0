"""What a proof makes of differences: only what stays different while nothing touches it is repaired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tenant_lifecycle.model.keymap import KeyMap
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.verification import Difference, DifferenceKind
from tenant_lifecycle.operations.pairs import StorePair
from tenant_lifecycle.operations.proof import Proof
from tenant_lifecycle.stores.base import Compared, Feed, Keys
from tenant_lifecycle.testing.memory import MemoryServer, MemoryStore

US, KEY = TenantId("acme"), b"k"
DIFFERENT = Difference("docs", KEY, "k", DifferenceKind.DIFFERENT, ("title",))


class Scripted(MemoryStore):
    """Says of one item, look after look, what the script says; real servers cannot be had at that moment."""

    looks: list[bool]
    repaired = 0

    def sets(self, tenant: TenantId) -> list[str]:
        return ["docs"]

    def compare(self, *_: Any) -> Compared:
        return Compared(1, 1, {"docs": frozenset({KEY})})

    def compare_keys(self, *_: Any) -> list[Difference]:
        return [DIFFERENT] if self.looks.pop(0) else []

    def repair(self, target: Any, feed: Feed, keys: Keys) -> int:
        self.repaired += 1
        return 1


class Still:
    """A follower to whom nothing happens."""

    def epoch(self) -> str:
        return "1"

    def check(self) -> None: ...

    def take_touched(self) -> Keys:
        return {}

    def mark(self) -> str:
        return "m"

    def patience_s(self) -> float:
        return 1.0

    def await_marker(self, _marker: str, _timeout_s: float) -> bool:
        return True


def prove(looks: Sequence[bool]) -> tuple[Scripted, Any]:
    source = Scripted(MemoryServer(), "blue", "docs", KeyMap())
    source.looks = list(looks)
    pair = StorePair("docs", source, Scripted(MemoryServer(), "green", "docs", KeyMap()))
    proof = Proof(pair, Feed("f", US, 1), Still(), lambda: None)  # type: ignore[arg-type]
    return source, proof.verify()


@pytest.mark.parametrize(("looks", "repaired"), [([False], 0), ([True, False], 0), ([True, True, False], 1)])
def test_a_difference_that_is_gone_at_the_second_look_is_not_repaired(
    looks: list[bool], repaired: int
) -> None:
    source, report = prove(looks)
    assert (source.repaired, source.looks) == (repaired, [])
    assert report.consistent and report.repaired == repaired


def test_a_difference_that_a_repair_did_not_mend_is_reported() -> None:
    source, report = prove([True, True, True, True])
    assert source.repaired == 1 and not report.consistent
