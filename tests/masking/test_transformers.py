"""What each kind of transformer promises."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.keying import MaskingKey, normal
from tenant_lifecycle.masking.names import Names, table
from tenant_lifecycle.masking.patterns import is_iban
from tenant_lifecycle.masking.people import People
from tenant_lifecycle.masking.setting import Setting, Target
from tenant_lifecycle.masking.transformers import KINDS
from tenant_lifecycle.masking.transformers.accounts import ALL_TEST_CARDS
from tenant_lifecycle.masking.transformers.amounts import Means
from tenant_lifecycle.masking.transformers.contact import is_fiction
from tenant_lifecycle.masking.transformers.dates import shift_days, shifted
from tenant_lifecycle.masking.transformers.network import is_documentation

KEY = MaskingKey(b"k" * 32, "acme", "copy")
OTHER = MaskingKey(b"o" * 32, "acme", "copy")


class Beside:
    """A row of these values."""

    def __init__(self, **values: str) -> None:
        self._values = values

    def raw(self, name: str, /) -> str | None:
        return self._values.get(name)

    masked = raw


def setting(key: MaskingKey = KEY) -> Setting:
    return Setting(key, Target("acme", "copy", phone_regions=("DE",)), People(key))


def become(kind: str, text: str, /, *, key: MaskingKey = KEY, made: Setting | None = None, beside: dict[str, str] | None = None,
           **options: str | float) -> str | None:  # fmt: skip
    found = KINDS[kind]
    rule = Rule(sorted(found.classes)[0], kind, "d", options)
    return found.make(rule, made or setting(key))(text, Beside(**(beside or {})))


VALUES = {
    "name": "Ada Bauer", "first_name": "Ada", "last_name": "Bauer", "email": "ada@corp.example.net", "phone": "+49 30 901820",
    "address": "1 Main St, Berlin", "login": "abauer", "national_id": "536-90-4399", "card": "4929123456789015",
    "card_token": "4929123456789015", "iban": "DE89370400440532013000", "account": "ACC-00012345", "billing": "cus_9f8e7d",
    "ip": "10.1.2.3", "mac": "3c:22:fb:12:34:56", "url": "https://corp.example.net/ada", "sink": "https://hooks.corp/x",
    "uuid": "0c4ebe15-adc8-4a14-84b8-f367cdb2871c", "opaque": "order-2026-000017", "regenerate": "sk-secret-0123456789",
    "date_shift": "2026-03-01 10:00:00+00", "noise": "1234.56",
}  # fmt: skip


@pytest.mark.parametrize("kind", VALUES)
def test_equal_values_become_equal_and_nothing_of_them_stays(kind: str) -> None:
    value = VALUES[kind]
    first, again = become(kind, value), become(kind, value)
    assert first == again and first is not None
    assert first != value
    if kind not in ("date_shift", "noise"):
        assert normal(value) not in normal(first)


@pytest.mark.parametrize("kind", sorted(VALUES.keys() - {"card", "date_shift"}))
def test_another_key_gives_other_values(kind: str) -> None:
    assert become(kind, VALUES[kind]) != become(kind, VALUES[kind], key=OTHER)


@pytest.mark.parametrize(
    "kind", sorted(k.name for k in KINDS.values() if k.guarantee is Guarantee.PRESERVED and k.name in VALUES)
)
def test_kinds_that_say_so_keep_values_apart(kind: str) -> None:
    made = setting()
    values = [f"{VALUES[kind]}{number}" for number in range(2000)]
    if kind == "uuid":
        values = [f"{number:08x}-adc8-4a14-84b8-f367cdb2871c" for number in range(2000)]
    if kind == "email":
        values = [f"p{number}@corp.example.net" for number in range(2000)]
        for value in values:
            made.people.add("email", value)
        made.people.number_emails()
    assert len({become(kind, value, made=made) for value in values}) == 2000


def test_the_table_of_kinds_is_complete_and_kept_values_are_public_ones() -> None:
    assert {kind.name for kind in KINDS.values()} == set(KINDS)
    for cls in DataClass:
        assert cls is DataClass.JSON or any(cls in kind.classes for kind in KINDS.values()), cls
    assert KINDS["keep"].classes == {DataClass.PUBLIC, DataClass.STRUCTURAL}


def test_emails_are_user_numbers_at_a_reserved_domain_and_case_does_not_make_another_person() -> None:
    made = setting()
    for address in ("Ada@Corp.example", "ada@corp.example", "bob@corp.example"):
        made.people.add("email", address)
    made.people.number_emails()
    ada, also, bob = (
        str(become("email", one, made=made))
        for one in ("Ada@Corp.example", "ada@corp.example", "bob@corp.example")
    )
    assert (
        re.fullmatch(r"user_[0-9]{5}@example\.com", ada.lower())
        and ada != also
        and ada.lower() == also.lower() != bob
    )
    assert re.fullmatch(
        r"user_[0-9]{18}@example\.com", str(become("email", "stranger@corp.example", made=made))
    )


def test_most_numbers_stay_when_people_come() -> None:
    def numbers(count: int) -> dict[str, str]:
        people = People(KEY)
        for number in range(count):
            people.add("email", f"p{number}@corp.example")
        people.number_emails()
        return {f"p{number}": people.email_user(f"p{number}@corp.example") for number in range(300)}

    before, after = numbers(300), numbers(310)
    assert sum(before[one] == after[one] for one in before) >= 295


def test_names_come_from_the_pinned_table_and_never_from_the_tenants_people() -> None:
    given, family = table()
    assert len(given) > 3000 and len(family) > 3000
    first = Names(KEY, frozenset()).of("Ada Bauer")
    taken = Names(KEY, {first.given.lower(), first.family.lower()})
    for number in range(2000):
        name = taken.of(f"Person {number}")
        assert name.given in given and name.family in family
        assert (name.given, name.family) != (first.given, first.family)
    everything = frozenset(name.lower() for name in (*given, *family))
    assert Names(KEY, everything).of("Ada Bauer").full not in ("", "Ada Bauer")


def test_halves_of_a_name_in_two_columns_are_one_person() -> None:
    whole = become("name", "Ada Bauer")
    first = become("first_name", "Ada", beside={"family": "Bauer"}, last="family")
    last = become("last_name", "Bauer", beside={"given": "Ada"}, first="given")
    assert f"{first} {last}" == whole


@pytest.mark.parametrize(
    "number",
    [
        "+49 30 901820",
        "030 901820",
        "+1 212-736-5000",
        "+44 20 7219 3000",
        "+33 1 40 20 50 50",
        "+81 3 1234 5678",
    ],
)
def test_phones_are_never_dialable(number: str) -> None:
    assert is_fiction(str(become("phone", number)))


@pytest.mark.parametrize(
    ("card", "brand"),
    [
        ("4929 1234 5678 9015", "4"),
        ("5500-0000-0000-0004", "5"),
        ("378734493671000", "3"),
        ("6011000000000004", "6"),
    ],
)
def test_cards_are_published_test_numbers_of_the_brand(card: str, brand: str) -> None:
    found = str(become("card", card))
    digits = re.sub(r"\D", "", found)
    assert digits in ALL_TEST_CARDS and digits[0] == brand and luhn.is_valid(digits)
    assert re.sub(r"\d", "0", found) == re.sub(r"\d", "0", card)


@pytest.mark.parametrize(
    "iban",
    ["DE89370400440532013000", "GB29 NWBK 6016 1331 9268 19", "AT611904300234573201", "NO9386011117947"],
)
def test_ibans_have_right_check_digits_and_no_bank(iban: str) -> None:
    found = str(become("iban", iban))
    compact = found.replace(" ", "")
    assert is_iban(compact) and len(compact) == len(iban.replace(" ", ""))
    assert compact[:2] == "XZ" or set(compact[4:9]) == {"0"}
    assert (" " in found) == (" " in iban)


@given(st.ip_addresses())
def test_addresses_of_machines_are_those_of_documentation(address: object) -> None:
    assert is_documentation(str(become("ip", str(address))))


@pytest.mark.parametrize("network", ["10.0.0.0/8", "192.168.7.0/30", "2a00:1450::/32", "fe80::1/64"])
def test_networks_stay_networks(network: str) -> None:
    found = str(become("ip", network))
    assert is_documentation(found)
    written = ip_interface(network)
    if written.ip == written.network.network_address:
        assert ip_interface(found).ip == ip_interface(found).network.network_address


def test_urls_lead_nowhere_and_keep_nothing_but_the_scheme() -> None:
    found = str(become("url", "https://ada:pw@corp.example.net:8443/people/ada?q=bauer#x"))
    assert re.fullmatch(r"https://host-[0-9a-f]{8}\.example/[0-9a-f]{16}", found)
    assert str(become("sink", "https://hooks.slack.com/x")).startswith("https://sink.invalid/")


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(0, 10_000))
def test_intervals_of_one_person_stay(day: date, distance: int) -> None:
    later = date.fromordinal(day.toordinal() + distance)
    days = shift_days(KEY, "person-1", 30)
    assert 1 <= abs(days) <= 30
    one, other = (date.fromisoformat(shifted(d.isoformat(), days)) for d in (day, later))
    assert (other - one).days == distance and one != day


def test_moments_out_of_the_calendar_and_infinity_do_not_stop_a_clone() -> None:
    assert (
        shifted("infinity", 5) == "infinity"
        and shifted("9999-12-30 00:00:00+00", 5) == "9999-12-31 00:00:00+00"
    )
    assert (
        shifted('["2026-01-30 00:00:00+00","2026-02-01 00:00:00+00")', 2)
        == '["2026-02-01 00:00:00+00","2026-02-03 00:00:00+00")'
    )


def test_amounts_stay_near_or_in_their_bucket() -> None:
    noisy = Decimal(str(become("noise", "1000.00", percent=10)))
    assert Decimal(900) <= noisy <= Decimal(1100) and noisy != 1000 and noisy.as_tuple().exponent == -2
    assert become("bucket", "1234.56", width=100) == "1200.00" and become("bucket", "-1", width=100) == "-100"
    assert become("noise", "NaN") is None and become("bucket", "a lot") is None


def test_an_aggregate_keeps_sums_of_groups_and_shows_nobody() -> None:
    made = setting()
    means = made.means["d"] = Means(5)
    rows = [("a", str(value)) for value in (10, 20, 30, 40, 50)] + [("b", "7"), ("b", "9")]
    for group, value in rows:
        means.add(group, value)
    found = [
        become("aggregate", value, made=made, beside={"team": group}, by="team") for group, value in rows
    ]
    assert found == ["30"] * 5 + [None, None]


def test_secrets_are_made_anew_in_the_same_form() -> None:
    found = str(become("regenerate", "\\x" + "ab" * 32))
    assert re.fullmatch(r"\\x[0-9a-f]{64}", found)
    assert str(become("regenerate", "sk-secret-0123456789")).startswith("stg")
    assert become("null", "anything") is None and become("constant", "on", value="off") == "off"


def test_quasi_identifiers_become_coarse() -> None:
    assert (
        become("year", "1987-06-05") == "1987-01-01"
        and become("year", "1987-06-05", years=10) == "1980-01-01"
    )
    assert become("prefix", "10115", keep=2) == "10000" and become("prefix", "SW1A 1AA", keep=2) == "SW0x 0xx"


def test_a_binary_is_dropped_or_made_of_masked_text() -> None:
    assert become("drop", "\\x89504e47") == "\\x"
    assert become("render", "\\x89504e47", beside={"body": "masked"}, of="body") == "\\x" + b"masked".hex()
