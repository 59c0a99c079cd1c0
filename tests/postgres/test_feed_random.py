"""Random changes to everything, copied, followed, interrupted: both sides are equal whenever a marker passed."""

from __future__ import annotations

import random
import time

import pytest
from feed_sample import US, MakePair, settle
from feed_workload import writing

from tenant_lifecycle.stores.postgres import copy, split


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(3, 40))]
)
def test_any_history_arrives(make_pair: MakePair, seed: int) -> None:
    rng = random.Random(seed)
    pair = make_pair(*rng.choice([(16, 18), (18, 16)]))
    pair.name = f"tl_random_{seed}"
    pair.create()
    with writing(pair.source, 0.0005, seed):
        time.sleep(rng.random() * 0.3)
        follower = pair.follower(apply=False)
        for part in split.split(pair.source, pair.target, pair.feed):
            copy.copy_part(pair.source, pair.target, pair.feed, part, lambda: None)
            time.sleep(rng.random() * 0.02)
        if rng.random() < 0.5:
            follower.stop()
            follower = pair.follower(apply=False)
        follower.apply()
        time.sleep(rng.random() * 0.5)
    settle(follower, 60)
    source = pair.rows(pair.source)
    assert pair.rows(pair.target) == source
    assert all(source[f"public.{name}"] for name in ("docs", "logs", "messages", "reactions", "events"))
    with writing(pair.source, 0.0005, seed + 100, 5000):
        time.sleep(0.3)
    settle(follower, 60)
    assert pair.rows(pair.target) == pair.rows(pair.source)
    with pair.at_target() as there:
        strangers = there.execute("SELECT count(*) FROM docs WHERE tenant_id <> %s", (US,)).fetchone()
    assert strangers == (0,)
