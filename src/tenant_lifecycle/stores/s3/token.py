"""The driver token in a bucket: a small object that only ever grows, written with conditions.

The token is read again before a write whenever the last look is older than a second. What is left is a driver
that is stopped between the look and the sending of a request; then the request's own condition (the ETag that
was there before the source was read) refuses it, unless the target's object was absent then and is absent again.
"""

from __future__ import annotations

import json
import threading
import time

from tenant_lifecycle.errors import Fenced, StoreBusy
from tenant_lifecycle.stores.base import Feed
from tenant_lifecycle.stores.s3.bucket import Bucket, Expected
from tenant_lifecycle.stores.s3.connection import Absent, Changed
from tenant_lifecycle.stores.s3.owned import own_place

#: A look at the token counts for this long.
FRESH_S = 1.0
_ATTEMPTS = 10


class Guard:
    """One driver's right to write into a bucket for a tenant. Safe to use from several threads."""

    def __init__(self, bucket: Bucket, feed: Feed) -> None:
        self.bucket = bucket
        self.feed = feed
        self.key = own_place(feed.tenant) + "token"
        self._lock = threading.Lock()
        self._looked_at = -FRESH_S

    def check(self) -> None:
        """Make sure that no newer driver was here, and leave our token.

        Raises:
            Fenced: a newer one was.
        """
        with self._lock:
            began = time.monotonic()
            if began - self._looked_at < FRESH_S:
                return
            self._take()
            self._looked_at = began

    def _take(self) -> None:
        for _ in range(_ATTEMPTS):
            seen, etag = self._read()
            if seen > self.feed.token:
                raise Fenced(
                    f"{self.bucket.store}: a newer driver (token {seen}) was here; ours is {self.feed.token}",
                    next_step="nothing to do: the newer driver goes on",
                )
            if seen == self.feed.token:
                return
            try:
                self.bucket.put(self.key, json.dumps({"token": self.feed.token}).encode(), etag, {})
                return
            except Changed:
                continue
        raise StoreBusy(
            f"{self.bucket.store}: the driver token changes all the time", store=self.bucket.store
        )

    def _read(self) -> tuple[int, Expected]:
        """The token and the ETag of its object; -1 and None if there is none."""
        try:
            content, etag = self.bucket.small(self.key)
        except Absent:
            return -1, None
        return int(json.loads(content)["token"]), etag
