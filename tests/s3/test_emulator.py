"""What the emulator does with conditions and checksums: what is promised on it rests on this, and no more."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from s3_pair import MakePair, Pair
from tenant_lifecycle.stores.s3.transfer import Ways, _conditions_count

KEY = "documents/12/a"


def refused(code: str) -> object:
    return pytest.raises(ClientError, match=code)


def test_puts_and_deletes_are_conditional(pair: Pair) -> None:
    pair.put_there(KEY)
    place = {"Bucket": pair.names[1], "Key": KEY}
    with refused("PreconditionFailed"):
        pair.green.put_object(**place, Body=b"", IfNoneMatch="*")
    with refused("PreconditionFailed"):
        pair.green.put_object(**place, Body=b"", IfMatch='"0"')
    with refused("PreconditionFailed"):
        pair.green.delete_object(**place, IfMatch='"0"')
    pair.green.delete_object(**place)
    # A delete marker counts as nothing, and then If-Match finds no key.
    with refused("NoSuchKey"):
        pair.green.put_object(**place, Body=b"", IfMatch='"0"')
    pair.green.put_object(**place, Body=b"", IfNoneMatch="*")


def test_copies_are_not_conditional_and_the_store_finds_that_out(make_pair: MakePair) -> None:
    pair = make_pair(apart=False)
    pair.put_there(KEY)
    pair.green.copy_object(
        Bucket=pair.names[1], Key=KEY, CopySource={"Bucket": pair.names[1], "Key": KEY},
        MetadataDirective="REPLACE", IfNoneMatch="*",
    )  # fmt: skip
    assert not _conditions_count(Ways(pair.source.area.bucket, pair.target.area.bucket), "12")


def test_the_end_of_an_upload_in_parts_looks_at_if_none_match_and_not_at_if_match(pair: Pair) -> None:
    pair.put_there(KEY)
    place = {"Bucket": pair.names[1], "Key": KEY}

    def complete(**condition: str) -> None:
        id = pair.green.create_multipart_upload(**place)["UploadId"]
        etag = pair.green.upload_part(**place, UploadId=id, PartNumber=1, Body=b"x")["ETag"]
        parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        try:
            pair.green.complete_multipart_upload(**place, UploadId=id, MultipartUpload=parts, **condition)
        finally:
            pair.green.abort_multipart_upload(**place, UploadId=id)

    with refused("PreconditionFailed"):
        complete(IfNoneMatch="*")
    with pytest.raises(ClientError, match="NoSuchUpload"):
        # Completed, so there was nothing to abort: the condition was not looked at.
        complete(IfMatch='"0"')


def test_it_takes_no_key_with_a_newline(pair: Pair) -> None:
    with pytest.raises(ClientError):
        pair.put("documents/12/a\nb")
