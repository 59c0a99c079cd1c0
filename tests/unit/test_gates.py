"""Health gates as pure functions: what passes, what fails, and what nobody can tell."""

from __future__ import annotations

import math
import random
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.gates_file import _KEYS, parse_steps
from tenant_lifecycle.model.gates import (
    GatePolicy,
    GateResult,
    Judgement,
    OnInconclusive,
    Verdict,
    confirm,
    evidence,
    judge,
    judge_readings,
)
from tenant_lifecycle.model.health import Health, Reading, known
from tenant_lifecycle.model.shifting import DataState, Move, StepLook, decide_step

POLICY = GatePolicy()
GOOD = Health(1000, 1, 80.0, 0.5)
FINE = DataState(ready=True, verified=True)


def verdict(target: Health, other: Health = GOOD, policy: GatePolicy = POLICY, **more: bool) -> Verdict:
    return judge(target, other, policy, **more).verdict


@pytest.mark.parametrize(
    ("target", "other", "expected"),
    [
        (GOOD, GOOD, Verdict.PASS),
        (Health(1000, 120, 80.0, 0.5), GOOD, Verdict.FAIL),
        # Both are bad: it is not the target, and nothing goes on.
        (Health(1000, 120, 80.0, 0.5), Health(1000, 118, 80.0, 0.5), Verdict.INCONCLUSIVE),
        # Both are bad and the target is far worse.
        (Health(1000, 600, 80.0, 0.5), Health(1000, 118, 80.0, 0.5), Verdict.FAIL),
        (Health(3, 3, 80.0, 0.5), GOOD, Verdict.FAIL),
        (Health(3, 1, 80.0, 0.5), GOOD, Verdict.INCONCLUSIVE),
        (Health(99, 0, 80.0, 0.5), GOOD, Verdict.INCONCLUSIVE),
        (GOOD, Health(0, 0), Verdict.INCONCLUSIVE),
        (Health(0, 0), Health(0, 0), Verdict.INCONCLUSIVE),
        (replace(GOOD, p99_ms=161.0), GOOD, Verdict.FAIL),
        (replace(GOOD, p99_ms=160.0), GOOD, Verdict.PASS),
        # Under the floor a percentile never fails, however fast the other side is.
        (replace(GOOD, p99_ms=50.0), replace(GOOD, p99_ms=2.0), Verdict.PASS),
        (replace(GOOD, p99_ms=math.nan), GOOD, Verdict.INCONCLUSIVE),
        (replace(GOOD, p99_ms=None), GOOD, Verdict.INCONCLUSIVE),
        (replace(GOOD, business=0.39), GOOD, Verdict.FAIL),
        (replace(GOOD, business=0.4), GOOD, Verdict.PASS),
        (GOOD, replace(GOOD, business=0.0), Verdict.INCONCLUSIVE),
        # A source that knows the business only is judged by that alone.
        (Health(business=0.5), Health(business=0.5), Verdict.PASS),
        (Health(business=0.1), Health(business=0.5), Verdict.FAIL),
    ],
)
def test_verdicts(target: Health, other: Health, expected: Verdict) -> None:
    assert verdict(target, other) is expected


def test_an_excess_that_is_not_proven_counts_when_the_time_is_over() -> None:
    target = Health(100, 7, 80.0, 0.5)
    assert verdict(target) is Verdict.INCONCLUSIVE
    assert verdict(target, over=True) is Verdict.FAIL


def test_errors_may_be_limited_by_the_other_side_too() -> None:
    target, policy = Health(10_000, 300, 80.0, 0.5), replace(POLICY, errors_times=3.0)
    assert verdict(target) is Verdict.PASS
    assert verdict(target, policy=policy) is Verdict.FAIL


counts = st.integers(0, 5000).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n)))
numbers = st.none() | st.floats(0, 1e6) | st.just(math.nan) | st.just(math.inf)
healths = st.builds(lambda c, p, b: Health(c[0], c[1], p, b), counts, numbers, numbers)


@given(healths, healths, st.booleans())
def test_a_pass_means_enough_requests_and_no_limit_passed(target: Health, other: Health, over: bool) -> None:
    judgement = judge(target, other, POLICY, over=over)
    assert judgement.results
    if judgement.verdict is not Verdict.PASS:
        return
    if target.requests or other.requests:
        assert min(target.requests, other.requests) >= POLICY.samples
        assert target.errors <= POLICY.errors * target.requests
    here, there = known(target.p99_ms), known(other.p99_ms)
    assert (here is None) is (there is None)
    if here is not None and there is not None:
        assert here <= max(POLICY.p99_floor_ms, POLICY.p99_times * there)
    here, there = known(target.business), known(other.business)
    assert (here is None) is (there is None)
    if here is not None and there is not None:
        assert here >= POLICY.business * there


@given(healths)
def test_a_target_that_is_like_the_other_side_never_fails(health: Health) -> None:
    judgement = judge(health, health, POLICY, over=True)
    # Too few requests on the other side prove nothing about it, so errors alone may fail then.
    failed = {result.gate for result in judgement.of(Verdict.FAIL)}
    assert failed <= ({"errors"} if health.requests < POLICY.samples else set())


@given(counts, st.integers(0, 200), st.floats(0.001, 0.9))
def test_more_errors_are_more_evidence_and_more_good_answers_less(
    count: tuple[int, int], more: int, limit: float
) -> None:
    requests, errors = count
    here = evidence(errors, requests, limit)
    assert evidence(errors + more, requests + more, limit) >= here - 1e-9
    assert evidence(errors, requests + more, limit) <= here + 1e-9


def test_looking_after_every_request_hardly_ever_calls_a_target_at_the_limit_a_failure() -> None:
    draw, failed, runs = random.Random(7), 0, 400
    for _ in range(runs):
        errors = 0
        for requests in range(1, 1001):
            errors += draw.random() < 0.05
            if evidence(errors, requests, 0.05) >= -math.log(0.05):
                failed += 1
                break
    assert failed <= 0.05 * runs + 15


@pytest.mark.parametrize(("share", "most"), [(1.0, 3), (0.5, 40), (0.2, 300)])
def test_a_clear_failure_is_called_soon(share: float, most: int) -> None:
    draw, needed = random.Random(11), []
    for _ in range(50):
        errors = requests = 0
        while evidence(errors, requests, 0.05) < -math.log(POLICY.error_risk):
            requests += 1
            errors += draw.random() < share
        needed.append(requests)
    assert sorted(needed)[45] <= most


def test_a_source_that_does_not_answer_and_no_source_are_inconclusive() -> None:
    assert judge_readings([], POLICY).verdict is Verdict.INCONCLUSIVE
    silent = judge_readings([Reading("a", GOOD, GOOD), Reading("b", why="no answer")], POLICY)
    assert silent.verdict is Verdict.INCONCLUSIVE
    assert "b does not answer: no answer" in silent.of(Verdict.INCONCLUSIVE)[0].sentence
    failing = [Reading("a", replace(GOOD, errors=500), GOOD), Reading("b", why="no answer")]
    assert judge_readings(failing, POLICY).verdict is Verdict.FAIL


def test_silence_about_what_a_source_was_set_up_to_know_is_no_pass() -> None:
    counted = Health(1000, 1)
    assert judge(counted, counted, POLICY).verdict is Verdict.PASS
    for name in ("business", "p99_ms"):
        assert judge(counted, counted, POLICY, knows={name}).verdict is Verdict.INCONCLUSIVE
    assert (
        judge(Health(business=1), Health(business=1), POLICY, knows={"requests"}).verdict
        is Verdict.INCONCLUSIVE
    )


def test_after_the_flip_the_other_side_is_what_it_was_before() -> None:
    slow = [Reading("a", replace(GOOD, p99_ms=500.0), Health())]
    assert judge_readings(slow, POLICY, before={"a": GOOD}).verdict is Verdict.FAIL
    assert judge_readings(slow, POLICY, before={}).verdict is Verdict.INCONCLUSIVE
    assert judge_readings([Reading("a", GOOD)], POLICY, before={"a": GOOD}).verdict is Verdict.PASS


def test_latency_has_to_fail_in_a_row_and_errors_need_not() -> None:
    slow = judge(replace(GOOD, p99_ms=500.0), GOOD, POLICY, source="a")
    first, seen = confirm(slow, {}, 2)
    assert first.verdict is Verdict.INCONCLUSIVE
    assert confirm(slow, seen, 2)[0].verdict is Verdict.FAIL
    _, forgotten = confirm(judge(GOOD, GOOD, POLICY, source="a"), seen, 2)
    assert confirm(slow, forgotten, 2)[0].verdict is Verdict.INCONCLUSIVE
    assert confirm(judge(replace(GOOD, errors=500), GOOD, POLICY), {}, 5)[0].verdict is Verdict.FAIL


def looked(judgement: Judgement, data: DataState = FINE, **more: object) -> Move:
    look = StepLook(judgement, data, **{"elapsed_s": 1e6, "unclear_s": 0.0, **more})
    return decide_step(look, replace(POLICY, on_inconclusive=OnInconclusive.FAIL)).move


PASSES, FAILS, UNCLEAR = (
    Judgement((GateResult("errors", said, "so"),))
    for said in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)
)


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (looked(PASSES), Move.ON),
        (looked(PASSES, elapsed_s=1.0), Move.STAY),
        (looked(PASSES, elapsed_s=1.0, promoted=True), Move.ON),
        (looked(FAILS, promoted=True), Move.BACK),
        (looked(UNCLEAR, promoted=True), Move.ON),
        (looked(UNCLEAR), Move.STAY),
        (looked(UNCLEAR, unclear_s=1e6), Move.BACK),
        (looked(PASSES, rolled_back=True, promoted=True), Move.BACK),
        (looked(PASSES, DataState(ready=True)), Move.STAY),
        (looked(PASSES, DataState(verified=True), promoted=True), Move.STAY),
        (looked(PASSES, DataState(wrong="differs"), promoted=True), Move.BACK),
    ],
)
def test_moves(move: Move, expected: Move) -> None:
    assert move is expected


@given(
    st.sampled_from([PASSES, FAILS, UNCLEAR]),
    st.builds(DataState, st.booleans(), st.booleans(), st.just(""), st.sampled_from(["", "differs"])),
    st.floats(0, 1e5), st.floats(0, 1e5), st.booleans(), st.booleans(),
)  # fmt: skip
def test_nothing_goes_on_with_a_failure_a_difference_or_data_that_is_not_ready(
    judgement: Judgement, data: DataState, elapsed: float, unclear: float, promoted: bool, back: bool
) -> None:
    decision = decide_step(StepLook(judgement, data, elapsed, unclear, promoted, back), POLICY)
    assert decision.why
    assert bool(decision.failed) is (decision.move is Move.BACK)
    if decision.move is Move.ON:
        assert judgement.verdict is not Verdict.FAIL and data.ready and not data.wrong and not back
        assert promoted or (judgement.verdict is Verdict.PASS and elapsed >= POLICY.soak_s and data.verified)


def test_every_limit_can_be_set_in_the_file() -> None:
    assert {name for name, _ in _KEYS.values()} == {field.name for field in fields(GatePolicy)}


@pytest.mark.parametrize(
    ("text", "steps"), [("10,25,50", (10, 25, 50)), ("none", ()), ("", ()), ("99", (99,))]
)
def test_steps_as_a_person_writes_them(text: str, steps: tuple[int, ...]) -> None:
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["10,10", "50,25", "0", "100", "ten", "10,,20"])
def test_steps_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="10,25,50"):
        parse_steps(text)
