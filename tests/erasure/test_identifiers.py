"""However an identifier is written it is recognised, and nobody else's is taken for it."""

from __future__ import annotations

import base64
import gzip
import json
import uuid

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from writings import BINARY, OF_UUID, TEXTUAL

from tenant_lifecycle.model.erasure.identifiers import Identifiers, found, identifiers_of
from tenant_lifecycle.model.erasure.match import Match, Whose
from tenant_lifecycle.model.erasure.recognising import Recogniser
from tenant_lifecycle.model.names import TenantId

TENANT = uuid.UUID("5f0f7a3e-9f1b-4a52-8c1d-2f0e6f0b7a11")
#: Ids as hostile as they come.
IDS = (
    "acme", "acme corp", "x'; DROP TABLE t; --", "a*b?[c]", "{tenant}", "up/../down", "two\nlines", "zürich 租户",
    "租户甲乙", 'quo"ted', "back\\slash", "50%25", "ACME-Corp", "a" * 200, "1234", "тенант",
)  # fmt: skip
SEPARATORS = st.sampled_from([b"", b" ", b"/", b":", b'"', b"\t", b"\n", b"\0", b"_", b"-", b".", b","])


def of(*texts: str, neighbours: tuple[str, ...] = ()) -> Recogniser:
    first, *aliases = texts
    return found(identifiers_of(TenantId(first), aliases, neighbours=neighbours))


def handles(matches: object) -> set[str]:
    assert isinstance(matches, tuple)
    return {match.identifier for match in matches}


@pytest.mark.parametrize("writing", TEXTUAL)
@pytest.mark.parametrize("text", IDS)
def test_an_identifier_is_recognised_however_it_is_written(text: str, writing: str) -> None:
    written = TEXTUAL[writing](text.encode())
    recogniser = of(text)
    for around in (
        b"%b",
        b"see %b",
        b"%b\n",
        b'{"tenant": "%b"}',
        b"\0\x01%b\0",
        b"key/%b/1",
        b"\xff\xfe%b\xff",
    ):
        assert handles(recogniser(around.replace(b"%b", written))) == {"id"}, around


@pytest.mark.parametrize("writing", TEXTUAL)
@pytest.mark.parametrize("spelling", OF_UUID)
def test_every_spelling_of_a_uuid_is_recognised(spelling: str, writing: str) -> None:
    content = OF_UUID[spelling](TENANT)
    if spelling.startswith("16") and writing not in (*BINARY, "plain", "hex", "HEX", "base64url", "repr"):
        pytest.skip("bytes are not text")
    assert handles(of(str(TENANT))(b"- " + TEXTUAL[writing](content) + b" -")) == {"id"}


@pytest.mark.parametrize("given_as", ["hyphens", "upper case", "no hyphens"])
def test_a_uuid_may_be_given_in_any_spelling(given_as: str) -> None:
    recogniser = of(OF_UUID[given_as](TENANT).decode())
    assert all(recogniser(spell(TENANT)) for spell in OF_UUID.values())


@given(
    # Base64 of fewer than 16 characters is recognised but not decoded: shorter texts may hide in base64 of base64.
    text=st.text(min_size=9, max_size=40).filter(lambda text: text.strip()),
    before=SEPARATORS, behind=SEPARATORS,
    writing=st.sampled_from(sorted(TEXTUAL)), steps=st.lists(st.sampled_from(sorted(BINARY)), max_size=2),
)  # fmt: skip
def test_whatever_it_is_called_and_however_deep_it_is_wrapped(
    text: str, before: bytes, behind: bytes, writing: str, steps: list[str]
) -> None:
    content = TEXTUAL[writing](before + text.encode() + behind)
    for step in steps:
        content = BINARY[step](content)
    recogniser = of(text)
    assert handles(recogniser(content)) == {"id"}
    assert recogniser.unread == ""


@given(
    content=st.binary(max_size=300), position=st.integers(0, 300), step=st.sampled_from(sorted(BINARY)),
    spelling=st.sampled_from(sorted(OF_UUID)),
)  # fmt: skip
def test_a_uuid_in_the_middle_of_any_bytes_is_recognised(
    content: bytes, position: int, step: str, spelling: str
) -> None:
    whole = content[:position] + OF_UUID[spelling](TENANT) + content[position:]
    assert handles(of(str(TENANT))(whole)) == {"id"}
    assert handles(of(str(TENANT))(BINARY[step](whole))) == {"id"}


@pytest.mark.parametrize("alignment", [0, 1, 2])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_base64_is_recognised_in_every_alignment_and_inside_a_longer_run(alignment: int, encode) -> None:
    inside = bytes(range(200, 248)) + b"~" * alignment + b"acme\xff\xfe" + bytes(range(30))
    for text in (encode(inside), b"prefix+" + encode(inside), b"abc" + encode(inside)[4:]):
        assert handles(of("acme")(text)) == {"id"}


# -- nobody else's


@pytest.mark.parametrize("writing", sorted(set(TEXTUAL) - {"pickle"}))
@pytest.mark.parametrize("other", ["acme2", "2acme", "acmeology", "xacme", "acmé-corp", "acm", "cme"])
def test_a_longer_word_is_not_the_identifier(other: str, writing: str) -> None:
    assert of("acme")(TEXTUAL[writing](other.encode())) == ()


@given(
    text=st.text("abcdefgh", min_size=4, max_size=8), extra=st.text("stuvw019", min_size=1, max_size=3),
    front=st.booleans(), writing=st.sampled_from(sorted(set(TEXTUAL) - {"pickle"})),
)  # fmt: skip
def test_a_neighbour_of_whose_id_ours_is_an_end_is_not_found(
    text: str, extra: str, front: bool, writing: str
) -> None:
    other = extra + text if front else text + extra
    assume(ord(extra[-1]) not in (len(text), 0x60 | len(text)))
    assert of(text)(TEXTUAL[writing](other.encode())) == ()


@pytest.mark.parametrize("writing", sorted(TEXTUAL))
@pytest.mark.parametrize("other", ["acme-eu", "eu_acme", "acme corp", "the/acme", "ACME.test"])
def test_a_known_neighbour_is_kept_apart_whatever_separates_its_words(other: str, writing: str) -> None:
    recogniser = of("acme", neighbours=(other, "somebody"))
    assert recogniser(TEXTUAL[writing](other.encode())) == ()
    assert handles(recogniser(TEXTUAL[writing](f"{other}, acme".encode()))) == {"id"}


def test_case_does_not_matter_unless_another_tenant_differs_by_it() -> None:
    assert of("acme")(b"Acme ltd")
    assert not of("acme", neighbours=("Acme",))(b"Acme ltd")
    assert of("acme", neighbours=("Acme",))(b"acme ltd")


def test_a_length_before_a_text_does_not_hide_it() -> None:
    for text in ("x" * 36, "y" * 65, "z" * 97, "w" * 10):
        assert of(text)(b"\x0a" + bytes([len(text)]) + text.encode() + b"0more"), len(text)


# -- short ones


@pytest.mark.parametrize(
    "content",
    [
        b"1", b"17\t1\tx", b"1\n", b"\0" + b"1\0", b"docs/1/a.txt", b"cache:1:answer", b"docs/1", b"tenant_id=1", b'{"tenant": 1}',
        b'{"tenant_id": "1"}', b"orgId/1", b"X-Tenant: 1", gzip.compress(b"docs/1/a", mtime=0), base64.b64encode(b"tenant:1"),
    ],
)  # fmt: skip
def test_a_short_id_is_recognised_as_a_whole_field(content: bytes) -> None:
    assert handles(of("1")(content)) == {"id"}


@pytest.mark.parametrize(
    "content",
    [
        b"12", b"page 1 of 3", b"1.5", b"docs/12/a", b"docs/11", b"21:1:30", b"2026/1/5", b"tenant_id=12", b"tenant_id=1.5e", b"v1",
        b"[1, 2]", b"a-1-b", b"tenants and 1 more", b"1e5",
    ],
)  # fmt: skip
def test_a_short_id_is_not_read_into_numbers_words_and_dates(content: bytes) -> None:
    assert handles(of("1")(content)) <= ({"id"} if content == b"tenant_id=1.5e" else set())


def test_a_tenant_named_by_short_ids_only_cannot_be_searched_for_in_texts() -> None:
    assert identifiers_of(TenantId("1")).too_short
    assert identifiers_of(TenantId("1"), canaries=["tlc-5f0f7a3e9f1b"]).too_short
    assert identifiers_of(TenantId("1"), aliases=["x"]).too_short
    assert not identifiers_of(TenantId("1"), aliases=["acme"]).too_short
    assert not identifiers_of(TenantId("1234")).too_short


@pytest.mark.parametrize("bad", ["", " ", "\n"])
def test_an_empty_identifier_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="empty"):
        identifiers_of(TenantId("acme"), aliases=[bad])


# -- whose


def test_tenant_and_control_are_told_apart_and_named_by_handles() -> None:
    recogniser = found(
        identifiers_of(TenantId("acme"), ["acme.test"], ["canary-17"]),
        identifiers_of(TenantId("control-tenant")),
    )
    assert recogniser(b"acme") == (Match(Whose.TENANT, "id", "plain"),)
    assert handles(recogniser(b"acme.test")) == {"id", "alias/1"}
    assert recogniser(b"canary-17") == (Match(Whose.TENANT, "canary/1", "plain"),)
    assert recogniser(b"control-tenant") == (Match(Whose.CONTROL, "id", "plain"),)
    assert "acme" not in repr(recogniser(b"acme acme.test"))


def test_an_encoding_tells_what_was_undone() -> None:
    wrapped = base64.b64encode(gzip.compress(json.dumps({"to": "zürich"}).encode()))
    assert [match.encoding for match in of("zürich")(wrapped)] == ["base64>gzip>json>plain"]


# -- what cannot be read


def test_more_than_the_bound_is_said_to_be_unread() -> None:
    recogniser = Recogniser(identifiers_of(TenantId("acme")).all, largest=1 << 20)
    assert recogniser(gzip.compress(b"acme" + bytes(8 << 20)))
    assert "too large" in recogniser.unread
    assert recogniser.fresh().unread == ""


@pytest.mark.parametrize("step", ["gzip", "zlib", "xz", "zstd", "lz4", "snappy"])
def test_damaged_and_cut_off_parts_are_said_to_be_unread(step: str) -> None:
    content = b"".join(uuid.uuid5(TENANT, str(n)).bytes for n in range(4000))
    cut = BINARY[step](content)[:-2000]
    recogniser = of("acme")
    recogniser(cut)
    assert step in recogniser.unread


def test_a_bomb_in_a_bomb_is_opened_within_the_bound() -> None:
    bomb = gzip.compress(gzip.compress(gzip.compress(bytes(64 << 20))))
    recogniser = Recogniser(identifiers_of(TenantId("acme")).all, largest=4 << 20)
    assert recogniser(bomb) == ()
    assert "too large" in recogniser.unread


def test_no_identifier_at_all_recognises_nothing() -> None:
    assert found(Identifiers(TenantId("x"), ()))(b"anything") == ()
