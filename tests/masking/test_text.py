"""Prose: whoever stands in it gets the pseudonym of the column, in whatever form the name is written."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_lifecycle.masking.aliases import aliases_of, replacement
from tenant_lifecycle.masking.keying import MaskingKey
from tenant_lifecycle.masking.names import Name, Names
from tenant_lifecycle.masking.patterns import Span
from tenant_lifecycle.masking.people import People
from tenant_lifecycle.masking.setting import Setting, Target
from tenant_lifecycle.masking.text import TextMasker

KEY = MaskingKey(b"k" * 32, "acme", "copy")
PEOPLE = (
    "Ada Bauer",
    "Zoë Müller-Lüdenscheid",
    "Seán O'Neill",
    "Grace Hill",
    "田中太郎",
    "Karl Weiß",
    "Karl Weber",
)


def masking(
    *people: str, recognisers: tuple[object, ...] = (), secrets: tuple[str, ...] = ()
) -> tuple[TextMasker, Setting]:
    known = People(KEY)
    for name in people:
        known.add("name", name)
    known.add("email", "ada.bauer@corp.example.net")
    for secret in secrets:
        known.add("regenerate", secret)
    known.number_emails()
    setting = Setting(
        KEY,
        Target(
            "acme-corp",
            "copy",
            aliases=("Acme Manufacturing",),
            target_name="Copy Inc",
            phone_regions=("DE",),
        ),
        known,
    )
    setting.names = Names(KEY, known.name_words())
    made = TextMasker(
        aliases_of(setting), lambda kind, text: replacement(setting, kind, text), setting.phones, recognisers
    )  # type: ignore[arg-type]
    return made, setting


@pytest.fixture(scope="module")
def both() -> tuple[TextMasker, Setting]:
    return masking(*PEOPLE)


def ada(setting: Setting) -> Name:
    return setting.names.of("Ada Bauer")


WRITTEN = {
    "Ada Bauer": "{0.full}", "ADA BAUER": "{0.full}", "ada bauer": "{0.full}", "Ada  \n Bauer": "{0.full}", "Ada\u00a0Bauer": "{0.full}",
    "Ada\u200b Bauer": "{0.full}", "Bauer, Ada": "{0.family}, {0.given}", "A. Bauer": "{0.given[0]}. {0.family}", "Ada_Bauer": "{0.full}",
    "Ada-Bauer": "{0.full}", "Bauer": "{0.family}", "Ada": "{0.given}", "Ada Bauers": "{0.full}s",
}  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN)
def test_a_name_is_found_in_every_form(both: tuple[TextMasker, Setting], written: str) -> None:
    mask, setting = both
    expected = WRITTEN[written].format(ada(setting))
    expected = expected.upper() if written.isupper() else expected
    assert mask(f"Dear {written}, thanks") == f"Dear {expected}, thanks"


@pytest.mark.parametrize("written", ["Zoe Mueller-Luedenscheid", "ZOË MÜLLER-LÜDENSCHEID", "Zoe\u0308 Mu\u0308ller-Lu\u0308denscheid", "zoe muller ludenscheid",
                                     "Seán O'Neill", "Sean O’Neill", "SEAN O NEILL"])  # fmt: skip
def test_accents_apostrophes_and_hyphens_do_not_hide_a_name(
    both: tuple[TextMasker, Setting], written: str
) -> None:
    masked = both[0](f"by {written}!")
    assert not {"zoe", "mull", "muel", "sean", "neill"} & {
        masked[3 + at : 3 + at + size].lower() for at in range(40) for size in (3, 4, 5)
    }


def test_a_name_in_a_script_without_spaces_is_found_inside_of_a_sentence(
    both: tuple[TextMasker, Setting],
) -> None:
    assert "田中太郎" not in both[0]("昨日田中太郎さんは会議に出席した")


def test_words_that_are_also_names_stay_words(both: tuple[TextMasker, Setting]) -> None:
    mask, setting = both
    assert mask("a Grace period on the Hill") == "a Grace period on the Hill"
    assert mask("signed Grace Hill") == f"signed {setting.names.of('Grace Hill').full}"
    assert mask("adapter, Bauernhof, the bauer") == "adapter, Bauernhof, the bauer"


def test_a_name_of_several_people_becomes_a_role_and_no_guess(both: tuple[TextMasker, Setting]) -> None:
    assert both[0]("then Karl said") == "then [person] said"
    assert "[person]" not in both[0]("then Karl Weber said")


def test_the_longest_known_thing_wins(both: tuple[TextMasker, Setting]) -> None:
    mask, setting = both
    address = setting.people.email_user("ada.bauer@corp.example.net") + "@example.com"
    assert mask("mail ada.bauer@corp.example.net now") == f"mail {address} now"
    assert mask("mail ADA.BAUER@CORP.EXAMPLE.NET").lower() == f"mail {address}".lower()


@pytest.mark.parametrize(("text", "gone"), [
    ("card 4929 1234 5678 9015 exp", "4929"), ("iban DE89 3704 0044 0532 0130 00.", "3704"), ("call 030 901820 today", "901820"),
    ("call +1 (212) 736-5000", "736"), ("ssn 536-90-4399", "4399"), ("host 10.20.30.40:22", "10.20"), ("v6 2a00:1450:4001:81b::200e", "1450"),
    ("at 3c:22:fb:12:34:56", "3c:22"), ("see https://corp.example.net/a?u=b", "corp"), ("AKIAIOSFODNN7EXAMPLE", "AKIA"),
    ("ghp_0123456789abcdefghijklmnopqrstuvwxyz", "ghp_"), ("password: hunter2x", "hunter"), ("password=\"hunter2x\"", "hunter"),
    ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "eyJhb"), ("at Acme Manufacturing in Rome", "Acme"), ("tenant acme-corp", "acme"),
    ("CPF 529.982.247-25", "529"), ("who@unknown.example.net wrote", "unknown"),
])  # fmt: skip
def test_what_has_a_form_of_its_own_is_masked(both: tuple[TextMasker, Setting], text: str, gone: str) -> None:
    assert gone not in both[0](text)


@pytest.mark.parametrize("text", [
    "order 4929 1234 5678 9012", "on 2026-01-05 at 10:30:00", "version 1.2.3", "reference d9896ea636d1a47e", "the total is 1,234,567.89",
    "ISO 27001 and RFC 5737", "chapter 12-34-56", "DE99 3704 0044 0532 0130 00",
])  # fmt: skip
def test_what_only_looks_like_it_stays(both: tuple[TextMasker, Setting], text: str) -> None:
    assert both[0](text) == text


def test_ids_in_prose_go_with_their_rows(both: tuple[TextMasker, Setting]) -> None:
    mask, setting = both
    id = "0c4ebe15-adc8-4a14-84b8-f367cdb2871c"
    assert mask(f"see document {id}.") == f"see document {setting.uuids(id)}."


def test_encoded_stretches_with_somebody_inside_are_cut_out(both: tuple[TextMasker, Setting]) -> None:
    data = b"by Ada Bauer"
    for written in (
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(b"x" + data).decode(),
        data.hex(),
        "Ada%20Bauer",
        "\\u0041da Bauer",
    ):
        masked = both[0](f"see {written} there")
        assert written not in masked and "Bauer" not in masked and masked.endswith(" there")


def test_secrets_known_from_columns_are_found_in_prose() -> None:
    mask, _ = masking(secrets=("tr0ub4dor-and-3",))
    assert "tr0ub4dor" not in mask("use tr0ub4dor-and-3 or TR0UB4DOR-AND-3")


def test_a_plug_in_recognises_what_no_table_knows() -> None:
    def recognise(text: str) -> Iterator[Span]:
        at = text.find("Unknown Stranger")
        if at >= 0:
            yield Span(at, at + len("Unknown Stranger"), "name")

    mask, setting = masking(recognisers=(recognise,))
    assert mask("it was Unknown Stranger") == f"it was {setting.names.of('Unknown Stranger').full}"


def test_masking_twice_changes_nobody_into_somebody(both: tuple[TextMasker, Setting]) -> None:
    text = "Ada Bauer and Karl Weber met Zoë Müller-Lüdenscheid."
    once = both[0](text)
    assert both[0](once) == once


@given(st.text(max_size=200))
def test_any_text_can_be_masked(text: str) -> None:
    mask, _ = _MADE
    masked = mask(f"{text} Ada Bauer {text}")
    assert "Ada Bauer" not in masked


_MADE = masking(*PEOPLE)
