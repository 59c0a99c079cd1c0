"""Health gates: may more requests go to the target, must they all come back, or can nobody tell yet?

Pure. Each gate compares the target with the other side *at the same time*: what is slow or broken on both is
no reason to blame the target. Too few requests, a silent other side and a source that does not answer are
inconclusive, never a pass.

Errors are looked at again and again while requests come in, and a test that is repeated until it fails will
fail. So the error gate is sequential: it fails when the evidence against "at most the limit" reaches
``1 / error_risk``. The evidence is a mixture of likelihood ratios, a martingale under every share up to the
limit, so the chance that it *ever* gets there with a good target is at most ``error_risk`` (Ville's
inequality), however often anybody looks. Three errors out of three requests are enough; one out of three is not.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from tenant_lifecycle.model.health import Health, Reading, known


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    #: Nobody can tell; the requests stay where they are.
    INCONCLUSIVE = "inconclusive"


class OnFailure(StrEnum):
    """What becomes of a migration whose requests were sent back."""

    #: The copy stays ready; a person says promote (again from the first step) or abort.
    HOLD = "hold"
    #: Everything is taken back: feeds and copy go.
    ABORT = "abort"


class OnInconclusive(StrEnum):
    """What it means when nobody could tell for too long."""

    #: Go on waiting, and say so: a person decides.
    HOLD = "hold"
    #: It counts as a failure.
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Limits of the gates, and how long each step has to hold."""

    #: How long the requests stay at a step before it may pass, seconds.
    soak_s: float = 300.0
    #: Between two looks, seconds.
    interval_s: float = 1.0
    #: Requests that each side must have served before the gates can pass.
    samples: int = 100
    #: What began lately must not drown in what was good before: this last time is looked at by itself too.
    recent_s: float = 60.0
    #: Errors among the target's requests above which it fails, 0 to 1.
    errors: float = 0.05
    #: Errors above so many times the other side's share fail too, once they are above one in a hundred; 0: off.
    errors_times: float = 0.0
    #: Chance that a target whose share of errors is just at the limit is called a failure in one step.
    error_risk: float = 0.001
    #: The target's 99th percentile fails above so many times the other side's.
    p99_times: float = 2.0
    #: A 99th percentile up to this never fails, milliseconds.
    p99_floor_ms: float = 50.0
    #: The target's business number fails below this share of the other side's.
    business: float = 0.8
    #: Looks in a row that latency and business have to fail in; one slow second is no failure.
    looks: int = 2
    #: So long nobody may be able to tell, seconds; then `on_inconclusive`.
    inconclusive_s: float = 3600.0
    on_inconclusive: OnInconclusive = OnInconclusive.HOLD
    on_failure: OnFailure = OnFailure.HOLD
    #: So long after the flip the gates still watch and flip back by themselves, seconds; 0: not at all.
    watch_s: float = 900.0


#: With `GatePolicy.errors_times`, a share of errors up to this never fails.
ERRORS_FLOOR = 0.01
#: Where between the limit and 1 the alternatives of the error gate lie: from just above to nearly all.
_ALTERNATIVES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate's word, with the numbers it is based on."""

    #: ``answer``, ``samples``, ``errors``, ``latency``, ``business``, ``data`` or ``person``.
    gate: str
    verdict: Verdict
    #: For people, ends without a full stop.
    sentence: str
    #: The health source it is from.
    source: str = ""
    #: The target's and the other side's number, and the limit; None where there is none.
    target: float | None = None
    other: float | None = None
    limit: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "gate": self.gate,
            "source": self.source,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "target": self.target,
            "other": self.other,
            "limit": self.limit,
        }


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every gate's word at one moment."""

    results: tuple[GateResult, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """One failure is a failure; a pass needs that every gate passes, and that there is one."""
        verdicts = {result.verdict for result in self.results}
        if Verdict.FAIL in verdicts:
            return Verdict.FAIL
        return Verdict.PASS if verdicts == {Verdict.PASS} else Verdict.INCONCLUSIVE

    def of(self, verdict: Verdict) -> tuple[GateResult, ...]:
        """The gates that say so."""
        return tuple(result for result in self.results if result.verdict is verdict)

    def __add__(self, other: Judgement) -> Judgement:
        return Judgement(self.results + other.results)


def judge_readings(
    readings: Sequence[Reading],
    policy: GatePolicy,
    *,
    before: Mapping[str, Health] | None = None,
    over: bool = False,
) -> Judgement:
    """Judge what every source said; ``before`` and ``over`` as for `judge`, the former by source.

    No source at all is inconclusive.
    """
    judgement = Judgement()
    for reading in readings:
        if reading.target is None or (reading.other is None and before is None):
            why = f"{reading.source} does not answer" + (f": {reading.why}" if reading.why else "")
            judgement += Judgement((GateResult("answer", Verdict.INCONCLUSIVE, why, reading.source),))
            continue
        other = reading.other if before is None else before.get(reading.source, Health())
        assert other is not None
        judgement += judge(
            reading.target, other, policy, source=reading.source, over=over, knows=reading.knows
        )
    if not readings:
        return Judgement((GateResult("answer", Verdict.INCONCLUSIVE, "no health source is configured"),))
    return judgement


def judge(
    target: Health,
    other: Health,
    policy: GatePolicy,
    *,
    source: str = "",
    over: bool = False,
    knows: Collection[str] = (),
) -> Judgement:
    """Judge the target against the other side by the numbers of one source.

    ``over``: the time of the step is over, so an excess of errors counts also where it is not proven.
    ``knows``: see `Reading.knows`. A source is asked only for what it knows: one that counts no requests but
    has a business number is judged by that alone.
    """

    def asked(name: str) -> bool:
        return name in knows or any(known(getattr(side, name)) is not None for side in (target, other))

    counts = bool(target.requests or other.requests) or "requests" in knows
    counts = counts or not (asked("p99_ms") or asked("business"))
    results: list[GateResult] = []
    if counts:
        results += [_samples(target, other, policy), _errors(target, other, policy, over)]
    if asked("p99_ms"):
        results.append(_latency(target, other, policy, counts))
    if asked("business"):
        results.append(_business(target, other, policy, counts))
    return Judgement(tuple(replace(result, source=source) for result in results))


def failures(judgement: Judgement) -> Judgement:
    """Only what failed: what a look at the last moments may add to a look at the whole step."""
    return Judgement(tuple(judgement.of(Verdict.FAIL)))


def confirm(judgement: Judgement, seen: Mapping[str, int], looks: int) -> tuple[Judgement, dict[str, int]]:
    """Turn failures of latency and business that were not seen ``looks`` times in a row into inconclusive.

    ``seen`` is what the look before returned; errors need no confirmation, their test is sequential.
    """
    counted: dict[str, int] = {}
    results: list[GateResult] = []
    for result in judgement.results:
        if result.verdict is not Verdict.FAIL or result.gate not in ("latency", "business"):
            results.append(result)
            continue
        key = f"{result.source}/{result.gate}"
        counted[key] = seen.get(key, 0) + 1
        if counted[key] >= looks:
            results.append(result)
        else:
            sentence = f"{result.sentence} (look {counted[key]} of {looks})"
            results.append(replace(result, verdict=Verdict.INCONCLUSIVE, sentence=sentence))
    return Judgement(tuple(results)), counted


def evidence(errors: int, requests: int, limit: float) -> float:
    """Natural logarithm of the evidence that more than ``limit`` of the requests fail.

    At most ``log(1 / risk)`` is ever reached with a chance of ``risk`` while the true share is up to the limit.
    """
    if limit <= 0.0:
        return math.inf if errors else 0.0
    if limit >= 1.0:
        return 0.0
    good = requests - errors
    ratios = []
    for part in _ALTERNATIVES:
        share = limit + (1.0 - limit) * part
        ratios.append(errors * math.log(share / limit) + good * math.log((1.0 - share) / (1.0 - limit)))
    most = max(ratios)
    return most + math.log(sum(math.exp(ratio - most) for ratio in ratios) / len(ratios))


def _samples(target: Health, other: Health, policy: GatePolicy) -> GateResult:
    """Enough requests on both sides."""
    short = [
        f"{side} served {health.requests} of {policy.samples} requests"
        for side, health in (("the target", target), ("the other side", other))
        if health.requests < policy.samples
    ]
    verdict = Verdict.INCONCLUSIVE if short else Verdict.PASS
    sentence = " and ".join(short) or f"both sides served at least {policy.samples} requests"
    return GateResult("samples", verdict, sentence, "", target.requests, other.requests, policy.samples)


def _errors(target: Health, other: Health, policy: GatePolicy, over: bool) -> GateResult:
    """The share of errors is at most the limit; see the module's story for how a failure is told."""
    errors = max(0, target.errors)
    requests = max(target.requests, errors)
    share = errors / requests if requests else None
    compared = other.error_share if other.requests >= policy.samples else None
    limit = policy.errors
    if policy.errors_times > 0 and compared is not None:
        limit = min(limit, max(compared * policy.errors_times, ERRORS_FLOOR))
    needed = -math.log(policy.error_risk)
    proven = evidence(errors, requests, limit) >= needed
    above = share is not None and share > limit
    beside = "" if compared is None else f", {_percent(compared)} on the other side"
    said = "no requests yet" if share is None else f"{_percent(share)} of {requests} requests failed{beside}"
    if above and (proven or (over and requests >= policy.samples)):
        verdict, said = Verdict.FAIL, f"{said}; the limit is {_percent(limit)}"
        if (
            compared is not None
            and compared > policy.errors
            and evidence(errors, requests, compared) < needed
        ):
            verdict, said = Verdict.INCONCLUSIVE, f"{said}, and the other side is no better"
    elif above:
        verdict, said = Verdict.INCONCLUSIVE, f"{said}; too few to tell it from {_percent(limit)}"
    else:
        verdict = Verdict.PASS if requests >= policy.samples else Verdict.INCONCLUSIVE
    return GateResult("errors", verdict, said, "", share, other.error_share, limit)


def _latency(target: Health, other: Health, policy: GatePolicy, counts: bool) -> GateResult:
    """The 99th percentile is not much above the other side's."""
    here, there = known(target.p99_ms), known(other.p99_ms)
    if here is None or there is None:
        side = "the target" if here is None else "the other side"
        return GateResult("latency", Verdict.INCONCLUSIVE, f"no p99 of {side}", "", here, there)
    limit = max(policy.p99_floor_ms, policy.p99_times * there)
    said = f"p99 is {here:.0f} ms, {there:.0f} ms on the other side; the limit is {limit:.0f} ms"
    if _few(target, other, policy, counts):
        verdict, said = Verdict.INCONCLUSIVE, f"{said}; too few requests for a percentile"
    else:
        verdict = Verdict.FAIL if here > limit else Verdict.PASS
    return GateResult("latency", verdict, said, "", here, there, limit)


def _business(target: Health, other: Health, policy: GatePolicy, counts: bool) -> GateResult:
    """The business number is not much below the other side's."""
    here, there = known(target.business), known(other.business)
    if here is None or there is None:
        side = "the target" if here is None else "the other side"
        return GateResult("business", Verdict.INCONCLUSIVE, f"no business number of {side}", "", here, there)
    limit = policy.business * there
    said = f"the business number is {here:.4g}, {there:.4g} on the other side; the limit is {limit:.4g}"
    if there <= 0:
        verdict, said = Verdict.INCONCLUSIVE, "the other side does no business to compare with"
    elif _few(target, other, policy, counts):
        verdict, said = Verdict.INCONCLUSIVE, f"{said}; too few requests to compare"
    else:
        verdict = Verdict.FAIL if here < limit else Verdict.PASS
    return GateResult("business", verdict, said, "", here, there, limit)


def _few(target: Health, other: Health, policy: GatePolicy, counts: bool) -> bool:
    return counts and min(target.requests, other.requests) < policy.samples


def _percent(share: float) -> str:
    return f"{share * 100:.3g} %"


def sentences(results: Iterable[GateResult]) -> str:
    """The gates' sentences as one, each source named."""
    return "; ".join(
        f"{result.source}: {result.sentence}"
        if result.source and result.gate != "answer"
        else result.sentence
        for result in results
    )
