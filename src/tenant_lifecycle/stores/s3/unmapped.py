"""Closed world: finding keys that no rule mentions, without listing what a rule covers as a whole.

The bucket is walked folder by folder (``/`` divides them). A folder all of whose keys some template stands for,
whatever they are, is not entered; so the walk is as deep as the templates are, and not as large as the bucket.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tenant_lifecycle.model.keymap import KeyMap, ResolvedKeys
from tenant_lifecycle.model.templates import Template
from tenant_lifecycle.stores.s3.bucket import Bucket
from tenant_lifecycle.stores.s3.owned import OURS, family_of

#: Requests after which the walk gives up; and unmapped keys after which it knows enough.
MOST_REQUESTS, ENOUGH = 2_000, 100


@dataclass(frozen=True, slots=True)
class Unmapped:
    """What the walk found."""

    found: int
    #: False: it gave up before the end.
    complete: bool

    def say(self) -> str:
        """How many, in words."""
        return f"{'at least ' if self.found >= ENOUGH or not self.complete else ''}{self.found} objects"


def find_unmapped(bucket: Bucket, keys: KeyMap, resolved: ResolvedKeys) -> Unmapped:
    """Count keys that no family, of whatever tenant, and no global template mentions, up to `ENOUGH`."""
    walk = _Walk(bucket, keys, resolved, tuple(keys.templates()))
    found = sum(1 for _, _ in zip(range(ENOUGH), walk.below(""), strict=False))
    return Unmapped(found, walk.requests <= MOST_REQUESTS)


class _Walk:
    """The walk and how many requests it took."""

    def __init__(
        self, bucket: Bucket, keys: KeyMap, resolved: ResolvedKeys, templates: tuple[Template, ...]
    ) -> None:
        self.bucket, self.keys, self.resolved = bucket, keys, resolved
        # Those that end in a star: what they stand for goes on without limit.
        self.open = [template for template in templates if template.after == ()]
        self.requests = 0

    def below(self, start: str) -> Iterator[str]:
        """Keys below a folder that nothing mentions."""
        folders = [start]
        while folders:
            folder = folders.pop()
            for page in self.bucket.pages("list_objects_v2", Prefix=folder, Delimiter="/"):
                self.requests += 1
                if self.requests > MOST_REQUESTS:
                    return
                for entry in page.get("Contents", ()):
                    key = str(entry["Key"])
                    if not self.keys.mentions(key) and family_of(self.resolved, key) is None:
                        yield key
                inner = (str(entry["Prefix"]) for entry in page.get("CommonPrefixes", ()))
                folders += [one for one in inner if not self._covered(one)]

    def _covered(self, folder: str) -> bool:
        return folder.startswith(OURS) or any(template.mentions(folder) for template in self.open)
