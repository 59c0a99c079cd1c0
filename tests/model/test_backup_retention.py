"""Retention: what it promises holds for any history of bases, any log and any time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_lifecycle.model.backup.manifest import BaseKind, Manifest, StoreBase
from tenant_lifecycle.model.backup.policy import BRONZE, GOLD, PLATINUM, TIERS, BackupPolicy
from tenant_lifecycle.model.backup.retention import (
    LOG_NOT_NEEDED,
    NOT_NEEDED,
    RULES,
    Former,
    Piece,
    Retention,
    decide,
    stands_for_us,
)
from tenant_lifecycle.model.names import TenantId

DAY = 86_400_000_000
HOUR = DAY // 24
#: Some Monday.
START = 1_767_571_200_000_000


def base(
    name: str,
    at_us: int,
    *,
    parent: str | None = None,
    timeline: int = 1,
    expires_us: int | None = 0,
    took_us: int = HOUR // 60,
    labels: dict[str, str] | None = None,
) -> Manifest:
    """Read in ``took_us`` up to ``at_us``; Redis is read a second before PostgreSQL's snapshot ends it."""
    stores = {
        "postgres": StoreBase("postgres", at_us, _position(at_us - took_us), None, {}),
        "redis": StoreBase("redis", at_us - 1_000_000, _position(at_us - took_us), None, {}),
    }
    return Manifest(
        id=name, tenant=TenantId("acme"), environment="blue", kind=BaseKind.DELTA if parent else BaseKind.FULL,
        parent=parent, started_us=at_us - took_us, finished_us=at_us + 1, stores=stores,
        labels=labels or {}, expires_us=expires_us, timeline=timeline,
    )  # fmt: skip


def _position(at_us: int) -> int:
    """Log positions grow with time: a thousand in a second."""
    return (at_us - START) // 1000 + 10**9


def log(from_us: int, through_us: int, timeline: int = 1, step_us: int = 2 * DAY) -> list[Piece]:
    """Segments of both stores, one after the other without a hole."""
    times = range(from_us, through_us, step_us)
    return [
        Piece(f"{store}-{timeline}-{at}", store, timeline, _position(at + step_us), at, at + step_us)
        for at in times
        for store in ("postgres", "redis")
    ]


def kept(result: Retention) -> set[str]:
    return {one.name for one in result.bases if one.keep}


few = settings(max_examples=60, deadline=None)

policies = st.builds(
    BackupPolicy,
    every_s=st.just(86400.0),
    full_every_s=st.just(7 * 86400.0),
    keep_s=st.integers(10, 200).map(lambda days: days * 86400.0),
    daily=st.integers(0, 40),
    weekly=st.integers(0, 20),
    monthly=st.integers(0, 6),
    pitr_s=st.integers(0, 10).map(lambda days: days * 86400.0),
    rpo_s=st.just(5.0),
    least_bases=st.integers(1, 4),
)


def environment_log(pieces: list[Piece]) -> list[Piece]:
    """The same log as that of an environment, which no time-line ends."""
    return [replace(one, timeline=0, environment="blue", name=f"e-{one.name}") for one in pieces]


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Manifest], list[Piece], int]:
    """Bases at any times, deltas upon some before them, time-lines that begin anywhere, and a whole log."""
    hours = sorted(draw(st.sets(st.integers(1, 24 * 80), min_size=1, max_size=12)))
    bases: list[Manifest] = []
    timeline = 1
    for number, hour in enumerate(hours):
        timeline += draw(st.sampled_from([0, 0, 0, 0, 1]))
        parent = draw(st.sampled_from([None, *(one.id for one in bases if one.timeline == timeline)]))
        expiry = draw(st.sampled_from([0, 0, 0, START + (hour + 900) * HOUR, None]))
        bases.append(
            base(f"B{number:02}", START + hour * HOUR, parent=parent, timeline=timeline, expires_us=expiry)
        )
    now_us = START + (hours[-1] + draw(st.integers(0, 24 * 40))) * HOUR
    starts = {one.timeline: one.started_us - HOUR for one in reversed(bases)}
    ends = [*(starts[number] for number in sorted(starts)[1:]), now_us]
    pieces = [
        piece
        for number, end in zip(sorted(starts), ends, strict=True)
        for piece in log(starts[number], end, number)
    ]
    return bases, pieces, now_us


def assert_restorable(
    bases: list[Manifest], pieces: list[Piece], result: Retention, policy: BackupPolicy, now_us: int
) -> None:
    """Written without a look at the rules: every moment of the window that could be restored still can."""
    there = kept(result)
    by_id = {one.id: one for one in bases}
    lost = {one.name for one in result.pieces if not one.keep}
    window_us = now_us - round(policy.pitr_s * 1_000_000)
    moments = {window_us, now_us, *(one.from_us for one in pieces), *(stands_for_us(one) for one in bases)}
    for at_us in sorted(moment for moment in moments if window_us <= moment <= now_us):
        could = [one for one in bases if stands_for_us(one) <= at_us]
        if not could:
            continue
        can = [one for one in could if one.id in there]
        assert can, "no base for a promised moment"
        alive = {piece.timeline for piece in pieces if piece.from_us <= at_us <= piece.through_us}
        for timeline in alive | {max(one.timeline for one in could)}:
            below = [one for one in can if one.timeline <= timeline]
            nearest = max(below, key=stands_for_us, default=None)
            if nearest is None or nearest.timeline != timeline:
                continue
            wanted = {
                piece.name
                for piece in pieces
                if piece.timeline == timeline
                and piece.through_us >= nearest.started_us
                and piece.from_us <= at_us
            }
            assert not wanted & lost, "a piece of the log is missing"
    for name in there:
        below = by_id[name]
        while below.parent is not None:
            assert below.parent in there, "a delta lost its parent"
            below = by_id[below.parent]
        own = by_id[name]
        needed = {
            piece.name
            for piece in pieces
            if piece.timeline == own.timeline
            and piece.through_us >= own.started_us
            and piece.from_us <= stands_for_us(own)
        }
        assert not needed & lost, "what happened while a base was read is missing"


@few
@given(histories(), policies, st.sets(st.integers(0, 13)))
def test_whatever_is_promised_can_be_restored(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy, numbers: set[int]
) -> None:
    bases, pieces, now_us = history
    verified = {one.id for number, one in enumerate(bases) if number in numbers}
    result = decide(bases, pieces, policy, now_us, verified=verified)
    assert_restorable(bases, pieces, result, policy, now_us)
    newest = [one.id for one in sorted(bases, key=stands_for_us)]
    assert set(newest[-policy.least_bases :]) <= kept(result)
    proven = [name for name in newest if name in verified]
    assert set(proven[-1:]) <= kept(result)


@few
@given(histories(), policies, st.integers(0, 24 * 90))
def test_what_went_once_is_never_wanted_again(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy, hours: int
) -> None:
    bases, pieces, now_us = history
    first = decide(bases, pieces, policy, now_us)
    later = decide(bases, pieces, policy, now_us + hours * HOUR)
    assert kept(later) <= kept(first)
    assert {one.name for one in later.pieces if one.keep} <= {one.name for one in first.pieces if one.keep}


@few
@given(histories(), policies)
def test_deciding_again_after_the_deletion_changes_nothing(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy
) -> None:
    bases, pieces, now_us = history
    first = decide(bases, pieces, policy, now_us)
    gone = set(first.doomed())
    left = [one for one in bases if one.id not in gone]
    again = decide(left, [one for one in pieces if one.name not in gone], policy, now_us)
    assert kept(again) == kept(first)
    assert not list(again.doomed())


@few
@given(histories(), policies, policies)
def test_a_changed_policy_takes_nothing_away_before_its_rest_is_over(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy, before: BackupPolicy
) -> None:
    bases, pieces, now_us = history
    resting = decide(bases, pieces, policy, now_us, former=Former(before, now_us + 1))
    alone = decide(bases, pieces, before, now_us)
    assert kept(alone) | kept(decide(bases, pieces, policy, now_us)) == kept(resting)
    assert {one.name for one in alone.pieces if one.keep} <= {one.name for one in resting.pieces if one.keep}
    rested = decide(bases, pieces, policy, now_us, former=Former(before, now_us))
    assert rested == decide(bases, pieces, policy, now_us)


@few
@given(histories(), policies)
def test_a_hold_keeps_everything(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy
) -> None:
    bases, pieces, now_us = history
    assert not list(decide(bases, pieces, policy, now_us, held=True).doomed())


@few
@given(histories(), policies)
def test_longer_promises_keep_more(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy
) -> None:
    bases, pieces, now_us = history
    more = replace(
        policy, daily=policy.daily + 3, weekly=policy.weekly + 2, monthly=policy.monthly + 1, keep_s=policy.keep_s * 2
    )  # fmt: skip
    assert kept(decide(bases, pieces, policy, now_us)) <= kept(decide(bases, pieces, more, now_us))


@pytest.mark.parametrize("tier", TIERS)
def test_a_year_of_backups_and_prunes_keeps_every_promise(tier: str) -> None:
    """Day by day: a base when one is due, a day of log, a prune. What is left restores every promised moment."""
    policy = TIERS[tier]
    bases: list[Manifest] = []
    pieces: list[Piece] = []
    for day in range(430):
        now_us = START + day * DAY
        if day % round(policy.every_s / 86400) == 0:
            full = day % round(policy.full_every_s / 86400) == 0
            bases.append(
                base(
                    f"D{day:03}",
                    now_us,
                    parent=None if full or not bases else bases[-1].id,
                    expires_us=policy.earliest_expiry_us(now_us),
                )
            )
        pieces += log(now_us, now_us + 1)
        result = decide(bases, pieces, policy, now_us)
        gone = set(result.doomed())
        if day % 5 == 0:
            assert_restorable(bases, pieces, result, policy, now_us)
            oldest = stands_for_us(min((b for b in bases if b.id not in gone), key=stands_for_us))
            if day * 86400 > policy.pitr_s:
                assert oldest <= now_us - policy.pitr_s * 1_000_000, "the window's start is unreachable"
        bases = [one for one in bases if one.id not in gone]
        pieces = [one for one in pieces if one.name not in gone]
    assert len(bases) < 200, "something was let go"
    if tier == "platinum":
        oldest = min(stands_for_us(one) for one in bases)
        assert now_us - oldest >= 330 * DAY, "a year is a promise too"


def test_bronze_has_two_bases_and_the_log_between_them() -> None:
    bases = [base("old", START), base("new", START + 30 * DAY)]
    now_us = START + 33 * DAY
    result = decide(bases, log(START - DAY, now_us), BRONZE, now_us)
    assert kept(result) == {"old", "new"}
    assert result.log_required_from[("postgres", 1)] == _position(bases[0].started_us)
    assert [one for one in result.pieces if not one.keep] == []


def test_a_safety_copy_waits_for_its_date_and_a_kept_one_for_a_person() -> None:
    now_us = START + 300 * DAY
    bases = [
        base("safety", START, expires_us=now_us + 1),
        base("person", START + DAY, expires_us=None),
        base("held", START + 2 * DAY, labels={"hold": "case 12"}),
        base("plain", START + 3 * DAY),
        *(base(f"n{day}", now_us - day * DAY) for day in range(20)),
    ]
    result = decide(bases, [], GOLD, now_us)
    verdicts = {one.name: one for one in result.bases}
    assert verdicts["plain"].reasons == (NOT_NEEDED,) and not verdicts["plain"].keep
    assert verdicts["safety"].reasons == ("not before 2026-11-01",)
    assert verdicts["person"].reasons == ("kept until a person deletes it",)
    assert verdicts["held"].reasons == ("its label says hold",)


def test_the_newest_verified_base_stays_although_newer_ones_were_never_verified() -> None:
    now_us = START + 300 * DAY
    bases = [base(f"b{day:03}", START + day * DAY) for day in range(0, 300, 3)]
    result = decide(bases, [], GOLD, now_us, verified={"b000", "b030"})
    reasons = {one.name: one.reasons for one in result.bases}
    assert reasons["b030"] == ("the newest that was verified to level L3",)
    assert reasons["b000"] == (NOT_NEEDED,)


def test_the_log_goes_but_not_what_happened_while_a_kept_base_was_read() -> None:
    now_us = START + 200 * DAY
    bases = [base("year", START + 10 * DAY, expires_us=None), base("recent", now_us - 40 * DAY)]
    bases.append(base("newest", now_us - DAY))
    result = decide(bases, log(START, now_us), PLATINUM, now_us)
    gone = [one for one in result.pieces if not one.keep]
    assert {one.reasons for one in gone} == {(LOG_NOT_NEEDED,)}
    left = sorted(int(one.name.split("-")[2]) for one in result.pieces if one.keep)
    early = [at for at in left if at < now_us - 45 * DAY]
    assert early and all(abs(at - bases[0].started_us) <= 2 * DAY for at in early)


@few
@given(histories(), policies)
def test_a_log_that_goes_on_over_time_lines_is_kept_like_those_of_time_lines(
    history: tuple[list[Manifest], list[Piece], int], policy: BackupPolicy
) -> None:
    bases, pieces, now_us = history
    both = decide(bases, [*pieces, *environment_log(pieces)], policy, now_us)
    assert kept(both) == kept(decide(bases, pieces, policy, now_us))
    verdicts = {one.name: one.keep for one in both.pieces}
    own = {one.name: verdicts[one.name] for one in pieces}
    assert all(verdicts[f"e-{name}"] or not keep for name, keep in own.items())


def test_without_a_base_the_log_is_kept() -> None:
    result = decide([], log(START, START + 400 * DAY), PLATINUM, START + 400 * DAY)
    assert not list(result.doomed())


def test_every_rule_is_named_once() -> None:
    assert len(RULES) == len(set(RULES)) == 7
