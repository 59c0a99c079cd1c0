"""Cards and bank accounts: published test numbers and countries that do not exist, never a valid stranger's."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

#: Numbers that payment providers publish for tests, by the first digits of their brand.
TEST_CARDS: Mapping[str, tuple[str, ...]] = {
    "4": ("4242424242424242", "4000056655665556", "4111111111111111"),
    "5": ("5555555555554444", "5200828282828210", "5105105105105100"),
    "2": ("2223003122003222",),
    "34": ("378282246310005", "371449635398431"),
    "37": ("378282246310005", "371449635398431"),
    "60": ("6011111111111117", "6011000990139424"),
    "30": ("3056930009020004",),
    "36": ("36227206271667",),
    "35": ("3566002020360505",),
    "62": ("6200000000000005",),
}
ALL_TEST_CARDS = frozenset(card for cards in TEST_CARDS.values() for card in cards)
#: A country of ISO 3166's user-assigned codes: no bank has it.
NO_COUNTRY = "XZ"
#: In Germany and Austria a bank code of zeros belongs to nobody; length of the code.
_NO_BANK = {"DE": 8, "AT": 5}


def test_card(setting: Setting, value: str) -> str:
    """A test number of the brand, with the separators of the value where it has as many digits."""
    digits = re.sub(r"\D", "", value)
    cards = TEST_CARDS.get(digits[:2]) or TEST_CARDS.get(digits[:1]) or TEST_CARDS["4"]
    card = cards[setting.key.number("account.card", digits, len(cards))]
    if len(card) != len(digits):
        return card
    left = iter(card)
    return "".join(next(left) if character.isdigit() else character for character in value)


def _card(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: test_card(setting, value)


def _card_token(_rule: Rule, setting: Setting) -> Transform:
    """For unique columns."""
    ids = setting.texts("account.card")
    return lambda value, _row: f"tok_test_{ids.token(value)[2:]}"


def made_up_iban(setting: Setting, value: str) -> str:
    """As long as the value and with right check digits, of a bank or a country that there is not."""
    compact = re.sub(r"\s", "", value).upper()
    country = compact[:2] if compact[:2] in _NO_BANK else NO_COUNTRY
    zeros = _NO_BANK.get(country, 0)
    free = max(len(compact), 15) - 4 - zeros
    number = setting.key.number("account.iban", compact, 10**free)
    body = "0" * zeros + f"{number:0{free}}"
    plain = f"{country}{_check_digits(country, body)}{body}"
    return " ".join(plain[at : at + 4] for at in range(0, len(plain), 4)) if " " in value.strip() else plain


def _check_digits(country: str, body: str) -> str:
    digits = "".join(str(int(c, 36)) for c in f"{body}{country}00")
    return f"{98 - int(digits) % 97:02}"


def _iban(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: made_up_iban(setting, value)


def _account(_rule: Rule, setting: Setting) -> Transform:
    """Any other number of an account or a customer: the same shape."""
    ids = setting.texts("account.number")
    return lambda value, _row: ids(value)


_ACCOUNT = classes(DataClass.ACCOUNT)
KINDS = (
    Kind("card", Guarantee.LOSSY, _ACCOUNT, _card),
    Kind("card_token", Guarantee.PRESERVED, _ACCOUNT, _card_token),
    Kind("iban", Guarantee.NOT_GUARANTEED, _ACCOUNT, _iban),
    Kind("account", Guarantee.PRESERVED, _ACCOUNT, _account),
)
