"""A driver in a process of its own, to be killed: follows a feed until it dies."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from feed_sample import MAP, Pair

from tenant_lifecycle.stores.postgres.database import Database

if __name__ == "__main__":
    source, target, folder, apply = sys.argv[1:]
    pair = Pair(
        Database("blue/postgres", "blue", source, MAP),
        Database("green/postgres", "green", target, MAP),
        Path(folder),
    )
    follower = pair.follower(apply=apply == "apply")
    print("running", flush=True)
    while True:
        time.sleep(0.01)
        follower.check()
