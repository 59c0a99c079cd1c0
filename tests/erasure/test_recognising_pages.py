"""Pages of a database file hold what looks like damaged compressed values; that is not unread."""

from __future__ import annotations

import gzip

from tenant_lifecycle.model.erasure.identifiers import found, identifiers_of
from tenant_lifecycle.model.names import TenantId

ACME = TenantId("acme-industries")
DAMAGED = gzip.compress(bytes(range(256)) * 4096)[:-3000] + b"\x00" * 3000


def test_what_looks_damaged_in_pages_is_not_unread_and_as_a_value_it_is() -> None:
    recogniser = found(identifiers_of(ACME, (), ()), None)
    recogniser.in_pages(DAMAGED)
    assert recogniser.unread == ""
    recogniser(DAMAGED)
    assert recogniser.unread


def test_pages_are_searched_like_everything_else() -> None:
    recogniser = found(identifiers_of(ACME, (), ()), None)
    page = b"\x00" * 100 + gzip.compress(b"of acme-industries") + b"\x00" * 50 + b"acme-industries\x00"
    assert {one.encoding for one in recogniser.in_pages(page)} >= {"plain", "gzip>plain"}
