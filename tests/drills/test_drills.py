"""Every drill sees its failure detected, and every promise holds."""

from __future__ import annotations

import pytest

from tenant_lifecycle.sandbox.drills import DRILLS


@pytest.mark.slow
@pytest.mark.parametrize("name", DRILLS)
def test_the_failure_is_detected_and_nothing_is_lost(name: str) -> None:
    report = DRILLS[name].run(lambda _: None)
    assert report.ok, "\n".join(report.lines())
    assert report.name == name
    assert report.as_json()["ok"] is True


def test_a_drill_that_detects_nothing_has_failed() -> None:
    from tenant_lifecycle.sandbox.drills.report import DrillReport

    promises = {"held": True}
    assert not DrillReport("x", "b", "", 0.0, (), (), promises).ok
    assert not DrillReport("x", "b", "seen", 0.0, (), (), {}).ok
    assert not DrillReport("x", "b", "seen", 0.0, (), (), {"held": True, "lost": False}).ok
    assert DrillReport("x", "b", "seen", 0.0, (), (), promises).ok
