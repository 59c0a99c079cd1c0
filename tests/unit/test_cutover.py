"""The recovery rule of a flip, over every pair of fence rows."""

from itertools import product

from tenant_lifecycle.model.cutover import Action, Fence, Seen, decide, writer

ROWS = [None, *(Seen(state, epoch) for state, epoch in product(Fence, (1, 2, 3)))]


def test_a_flip_is_attempted_only_while_the_source_is_the_writer() -> None:
    for source, target in product(ROWS, ROWS):
        if decide(source, target) in (Action.ATTEMPT, Action.RELEASE):
            assert writer(source, target) == "source"


def test_the_target_is_activated_only_after_the_source_gave_up() -> None:
    for source, target in product(ROWS, ROWS):
        if decide(source, target) is Action.ACTIVATE:
            assert source is not None and target is not None
            assert source.state is Fence.MOVED and target.epoch < source.epoch
            assert writer(source, target) is None


def test_two_writers_or_a_missing_row_are_never_acted_upon() -> None:
    both = [
        (s, t)
        for s, t in product(ROWS, ROWS)
        if s is None or t is None or {s.state, t.state} <= {Fence.ACTIVE, Fence.FENCED}
    ]
    assert both and all(decide(s, t) is Action.CONTRADICTION for s, t in both)


def test_walking_a_flip_with_a_crash_after_each_write_ends_finished() -> None:
    path = [
        (Seen(Fence.ACTIVE, 4), Seen(Fence.MOVED, 4), Action.ATTEMPT),
        (Seen(Fence.FENCED, 4), Seen(Fence.MOVED, 4), Action.RELEASE),
        (Seen(Fence.MOVED, 5), Seen(Fence.MOVED, 4), Action.ACTIVATE),
        (Seen(Fence.MOVED, 5), Seen(Fence.ACTIVE, 5), Action.FINISHED),
    ]
    assert [decide(s, t) for s, t, _ in path] == [action for *_, action in path]
