"""The window is what the bases and logs allow, moment by moment."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_lifecycle.backups.log.stretch import Stretch
from tenant_lifecycle.backups.moments.doubts import Doubt
from tenant_lifecycle.backups.moments.window import Reach, Run, contains, run_from, window

LAST = 40
_moments = st.integers(0, LAST)


@st.composite
def _doubts(draw: st.DrawFn) -> Doubt:
    begin = draw(_moments)
    return Doubt(begin, draw(st.one_of(st.none(), st.integers(begin, LAST))), 0, "why")


_reaches = st.builds(
    Reach, st.sampled_from(["postgres", "redis", "s3"]), _moments, _moments,
    st.lists(_doubts(), max_size=3).map(tuple), st.just("it ends"),
)  # fmt: skip
_bases = st.lists(st.lists(_reaches, min_size=1, max_size=3), max_size=4)


def _restorable(reaches: list[Reach], at_us: int) -> bool:
    return all(
        one.from_us <= at_us <= one.to_us
        and not any(
            doubt.from_us <= at_us and (doubt.to_us is None or at_us < doubt.to_us) for doubt in one.doubts
        )
        for one in reaches
    )


@settings(deadline=None, max_examples=300)
@given(_bases)
def test_a_moment_is_inside_if_and_only_if_one_base_has_it_in_every_store(bases: list[list[Reach]]) -> None:
    found = window(bases)
    for at_us in range(-1, LAST + 2):
        expected = any(_restorable(reaches, at_us) for reaches in bases)
        assert contains(found.intervals, at_us) == expected


@settings(deadline=None, max_examples=300)
@given(_bases)
def test_intervals_are_in_order_and_every_gap_between_them_has_a_reason(bases: list[list[Reach]]) -> None:
    found = window(bases)
    for before, after, gap in zip(found.intervals, found.intervals[1:], found.gaps, strict=False):
        assert before.to_us + 1 < after.from_us
        assert (gap.from_us, gap.to_us) == (before.to_us, after.from_us)
        assert gap.why
    assert len(found.gaps) - len(found.intervals) in ((-1, 0) if found.intervals else (0,))


_stretches = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.booleans()), max_size=6)


@settings(deadline=None, max_examples=300)
@given(_stretches, st.integers(0, 30))
def test_a_run_has_every_position_from_the_first_to_its_last(
    said: list[tuple[int, int, bool]], log_from: int
) -> None:
    """Against a plain set of positions; a hole before a stretch is one position wide or two."""
    coverage, covered, at = [], set(), 0
    for length, hole, broken in said:
        after = at + (hole + 1 if hole else 0)
        at = after + length
        coverage.append((Stretch(after, at, after, at), "broken" if broken else ""))
        covered |= set() if broken else set(range(after + 1, at + 1))
    run = run_from(coverage, log_from)
    if run is not None:
        wanted = set(range(log_from, run.through + 1)) - {log_from}
        holes = wanted - covered
        # Positions right behind a stretch that the next one begins with are nobody's: no commit lies there.
        assert all(position + 1 in covered and position - 1 in covered for position in holes)
        assert isinstance(run, Run)
    elif log_from in covered:
        raise AssertionError("a position that is covered has no run")
