"""Objects in a block: put, delete, copy and tags in one bucket, through the application's boto3 client."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import (
    ClientError,
    ParamValidationError,
)

from tenant_lifecycle.client.environment import Bucket
from tenant_lifecycle.client.session import Session

#: Larger objects are not mirrored; bytes.
MIRROR_BYTES = 1024 * 1024
#: What of an object's description goes with it.
_DESCRIPTION = (
    "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType", "Expires", "Metadata",
)  # fmt: skip


class ObjectSide:
    """One bucket of one environment."""

    def __init__(self, name: str, bucket: Bucket) -> None:
        self.name = name
        self.client = bucket.client
        self.bucket = bucket.bucket
        self._mirror_client = bucket.mirror_client

    def answered(self, error: BaseException) -> bool:
        if isinstance(error, ClientError):
            return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) < 500
        return isinstance(error, ParamValidationError)

    def mirror(self, target: ObjectSide, keys: Mapping[bytes, object], timeout_s: float) -> int:
        """One request may take as long as the mirror clients' own time-outs allow."""
        if self._mirror_client is None or target._mirror_client is None:
            return len(keys)
        until = time.monotonic() + timeout_s
        return sum(time.monotonic() >= until or not self._mirror_one(target, key.decode()) for key in keys)

    def _mirror_one(self, target: ObjectSide, key: str) -> bool:
        here, there = self._mirror_client, target._mirror_client
        try:
            found = here.get_object(Bucket=self.bucket, Key=key)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                raise
            there.delete_object(Bucket=target.bucket, Key=key)
            return True
        with found["Body"] as body:
            if found["ContentLength"] > MIRROR_BYTES:
                return False
            content = body.read()
        description = {name: found[name] for name in _DESCRIPTION if name in found}
        there.put_object(Bucket=target.bucket, Key=key, Body=content, **description)
        if found.get("TagCount"):
            tags = here.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
            there.put_object_tagging(Bucket=target.bucket, Key=key, Tagging={"TagSet": tags})
        return True

    def close(self) -> None:
        """The clients are the application's."""


class Objects:
    """A bucket inside a block."""

    def __init__(self, session: Session, side: ObjectSide) -> None:
        self._session = session
        self._side = side

    def put(self, key: str, body: Any, **options: Any) -> Any:
        """Write an object; ``options`` as of ``put_object``, also conditional ones (``IfNoneMatch="*"``)."""
        return self._write(
            key,
            lambda: self._side.client.put_object(Bucket=self._side.bucket, Key=key, Body=body, **options),
        )

    def delete(self, key: str, **options: Any) -> Any:
        return self._write(
            key, lambda: self._side.client.delete_object(Bucket=self._side.bucket, Key=key, **options)
        )

    def copy(self, source: str, key: str, **options: Any) -> Any:
        """Copy an object of this bucket to another key of it."""
        return self._write(
            key,
            lambda: self._side.client.copy_object(
                Bucket=self._side.bucket,
                Key=key,
                CopySource={"Bucket": self._side.bucket, "Key": source},
                **options,
            ),
        )

    def put_tags(self, key: str, tags: Mapping[str, str]) -> Any:
        """Have exactly these tags on an object."""
        tag_set = [{"Key": name, "Value": value} for name, value in tags.items()]
        return self._write(
            key,
            lambda: self._side.client.put_object_tagging(
                Bucket=self._side.bucket, Key=key, Tagging={"TagSet": tag_set}
            ),
        )

    def get(self, key: str, **options: Any) -> Any:
        return self._side.client.get_object(Bucket=self._side.bucket, Key=key, **options)

    def _write(self, key: str, act: Any) -> Any:
        return self._session.write(self._side, [key.encode()], act)
