"""No evidence that lacks something can become "complete"."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.model.erasure.outcome import (
    DATED,
    EXCEPTIONS,
    Evidence,
    Level,
    Look,
    Outcome,
    Overall,
    Verdict,
    judge,
    overall,
)

NOW = 1_800_000_000.0
CLEAN = Look(0, 0, control_found=True, complete=True, level=Level.EXHAUSTIVE)
GOOD = Evidence("blue/postgres", Level.EXHAUSTIVE, looks=(CLEAN, CLEAN))


def test_two_clean_looks_at_the_required_level_are_verified() -> None:
    assert judge(GOOD, NOW) == Outcome(
        "blue/postgres",
        Verdict.VERIFIED,
        Level.EXHAUSTIVE,
        Level.EXHAUSTIVE,
        "clean",
        "2 searches, the last 2 clean",
    )


SPOILT = {
    "unsupported": (replace(GOOD, unsupported="no plug-in"), Verdict.NEEDS_HUMAN),
    "held": (replace(GOOD, held="M-1"), Verdict.HELD),
    "skipped": (replace(GOOD, out_of_scope="archive of the court"), Verdict.OUT_OF_SCOPE),
    "failed": (replace(GOOD, failure="no answer"), Verdict.UNVERIFIED),
    "nobody looked": (replace(GOOD, looks=()), Verdict.UNVERIFIED),
    "one look": (replace(GOOD, looks=(CLEAN,)), Verdict.UNVERIFIED),
    "dirty, then clean once": (
        replace(GOOD, looks=(CLEAN, replace(CLEAN, hits=1), CLEAN)),
        Verdict.UNVERIFIED,
    ),
    "an item of the manifest": (replace(GOOD, looks=(CLEAN, replace(CLEAN, remaining=1))), Verdict.RESIDUAL),
    "another place": (replace(GOOD, looks=(CLEAN, replace(CLEAN, hits=1))), Verdict.RESIDUAL),
    "found and unread": (
        replace(GOOD, looks=(CLEAN, replace(CLEAN, hits=1, complete=False))),
        Verdict.RESIDUAL,
    ),
    "no control": (replace(GOOD, looks=(CLEAN, replace(CLEAN, control_found=False))), Verdict.INCONCLUSIVE),
    "unread": (replace(GOOD, looks=(CLEAN, replace(CLEAN, complete=False))), Verdict.INCONCLUSIVE),
    "too weak": (replace(GOOD, required=Level.PHYSICAL), Verdict.UNVERIFIED),
    "refused": (replace(GOOD, refused=2), Verdict.NEEDS_HUMAN),
    "refused, lock over": (replace(GOOD, refused=2, refused_until=NOW - 1), Verdict.NEEDS_HUMAN),
    "refused, no control": (
        replace(GOOD, refused=2, refused_until=NOW + 9, looks=(replace(CLEAN, control_found=False),)),
        Verdict.INCONCLUSIVE,
    ),
    "retained": (replace(GOOD, retained_ground="17(3)(b) tax"), Verdict.RETAINED),
    "more than was retained": (
        replace(GOOD, retained_ground="17(3)(b)", retained=1, looks=(CLEAN, replace(CLEAN, hits=2))),
        Verdict.RESIDUAL,
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_each_lack_has_its_verdict_and_none_is_complete(name: str) -> None:
    evidence, verdict = SPOILT[name]
    outcome = judge(evidence, NOW)
    assert outcome.verdict is verdict
    assert overall([outcome], ["blue/postgres"]) is not Overall.COMPLETE


def test_what_is_locked_or_promised_until_a_date_is_interim() -> None:
    for evidence, level in [
        (replace(GOOD, refused=2, refused_until=NOW + 9), Level.EXPIRY_BOUND),
        (replace(GOOD, horizon=NOW + 9, horizon_level=Level.VENDOR), Level.VENDOR),
    ]:
        outcome = judge(evidence, NOW)
        assert (outcome.level, outcome.until) == (level, NOW + 9)
        assert overall([outcome], [GOOD.system]) is Overall.INTERIM
    after = judge(replace(GOOD, horizon=NOW - 1, horizon_level=Level.VENDOR), NOW)
    assert after.level is Level.EXHAUSTIVE


def test_nothing_to_erase_proves_nothing() -> None:
    with pytest.raises(ValueError, match="no system"):
        overall([], [])


def test_a_missing_doubled_or_foreign_system_is_incomplete() -> None:
    good = judge(GOOD, NOW)
    assert overall([good], ["blue/postgres", "blue/redis"]) is Overall.INCOMPLETE
    assert overall([good, good], ["blue/postgres"]) is Overall.INCOMPLETE
    assert overall([good, replace(good, system="x")], ["blue/postgres"]) is Overall.INCOMPLETE
    assert overall([], ["blue/postgres"]) is Overall.INCOMPLETE


looks = st.builds(
    Look,
    remaining=st.integers(0, 2),
    hits=st.integers(0, 2),
    control_found=st.booleans(),
    complete=st.booleans(),
    level=st.sampled_from(Level),
)
texts = st.sampled_from(["", "x"])
evidences = st.builds(
    Evidence,
    system=st.just("s"),
    required=st.sampled_from(Level),
    unsupported=texts,
    held=texts,
    out_of_scope=texts,
    failure=texts,
    refused=st.integers(0, 2),
    refused_until=st.none() | st.sampled_from([NOW - 1, NOW + 1]),
    retained_ground=texts,
    retained=st.integers(0, 2),
    horizon=st.none() | st.sampled_from([NOW - 1, NOW + 1]),
    looks=st.lists(looks, max_size=4).map(tuple),
)


@given(evidences)
def test_complete_means_two_clean_looks_and_nothing_set_aside(evidence: Evidence) -> None:
    outcome = judge(evidence, NOW)
    if overall([outcome], ["s"]) is Overall.COMPLETE:
        assert all(look.clean for look in evidence.looks[-2:])
        assert len(evidence.looks) >= 2
        set_aside = (evidence.unsupported, evidence.held, evidence.out_of_scope, evidence.failure)
        assert not any((*set_aside, evidence.refused, evidence.retained_ground))
    assert outcome.verdict is not Verdict.VERIFIED or outcome.level is not None
    assert DATED.isdisjoint({outcome.level}) or outcome.until is not None
    assert EXCEPTIONS
