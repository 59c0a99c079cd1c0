"""One form of a tenant's id in a header, and none that can be taken for another."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_lifecycle.errors import UsageError
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.traffic.tenant_header import decode_tenant, encode_tenant, tenant_digest

HARMLESS = set(string.ascii_letters + string.digits + "-._~%")


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_every_id_comes_back_and_its_header_is_harmless(text: str) -> None:
    header = encode_tenant(TenantId(text))
    assert set(header) <= HARMLESS
    assert decode_tenant(header) == text


@settings(max_examples=50, deadline=None)
@given(st.text(min_size=1))
def test_a_header_that_no_id_is_encoded_to_is_nobodys(header: str) -> None:
    tenant = decode_tenant(header)
    assert tenant is None or encode_tenant(tenant) == header


def test_other_spellings_of_an_id_are_nobodys() -> None:
    for spelling in ("%61", "a b", "%2a", "%zz", "%ff", "", "é"):
        assert decode_tenant(spelling) is None


@pytest.mark.parametrize("wrong", ["", "\ud800"])
def test_what_cannot_be_sent_is_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        encode_tenant(TenantId(wrong))


def test_digests_differ_where_ids_do() -> None:
    ids = ["1", "12", "a", "A", "a ", "%61", "e\u0301", "\u00e9"]
    assert len({tenant_digest(TenantId(one)) for one in ids}) == len(ids)
