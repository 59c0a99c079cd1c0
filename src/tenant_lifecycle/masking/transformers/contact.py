"""How people are reached: e-mail, phone, address, login. Nothing of it reaches anybody.

Phone numbers lie in ranges that regulators keep for films and books.
"""

from __future__ import annotations

from collections.abc import Mapping

import phonenumbers

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.keying import normal
from tenant_lifecycle.masking.patterns import EMAIL
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

#: By country code: the number up to where it is free, and how many digits are.
#: NANPA 555-01xx; Ofcom 020 7946 0xxx; BNetzA 030 23125 xxx; ARCEP 01 99 00 xx xx; PTS 08-465 004 xx; ACMA 02 5550 xxxx.
FICTION: Mapping[int, tuple[str, int]] = {
    1: ("+120255501", 2),
    33: ("+3319900", 4),
    44: ("+442079460", 3),
    46: ("+468465004", 2),
    49: ("+493023125", 3),
    61: ("+6125550", 4),
}
_ELSEWHERE = 1
_STREETS = (
    "Alder",
    "Beech",
    "Cedar",
    "Elm",
    "Hazel",
    "Larch",
    "Linden",
    "Maple",
    "Oak",
    "Poplar",
    "Rowan",
    "Willow",
)


def _email(_rule: Rule, setting: Setting) -> Transform:
    host = setting.target.mail_host

    def one(value: str) -> str:
        if EMAIL.form.fullmatch(value.strip()) or "@" in value:
            return f"{setting.people.email_user(value)}@{host}"
        return setting.text(value)

    return lambda value, _row: one(value) if value.strip() else value


def fiction_phone(setting: Setting, value: str) -> str:
    """A number of the same country that nobody has."""
    international = setting.phones.number(value)
    digits = international or normal(value)
    code = phonenumbers.parse(international).country_code if international else _ELSEWHERE
    prefix, free = FICTION.get(code or _ELSEWHERE, FICTION[_ELSEWHERE])
    return f"{prefix}{setting.key.number('person.phone', digits, 10**free):0{free}}"


def is_fiction(number: str) -> bool:
    """Whether an international number lies in one of the ranges."""
    return any(
        number.startswith(prefix) and len(number) == len(prefix) + free for prefix, free in FICTION.values()
    )


def _phone(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: fiction_phone(setting, value) if value.strip() else value


def _address(_rule: Rule, setting: Setting) -> Transform:
    def one(value: str) -> str:
        number = setting.key.number("person.address", normal(value), 10**6)
        return f"{1 + number % 997} {_STREETS[number // 997 % len(_STREETS)]} Street, Exampletown"

    return lambda value, _row: one(value) if value.strip() else value


def _login(_rule: Rule, setting: Setting) -> Transform:
    """A login is a person's as well: no two become one."""
    ids = setting.texts("person.login")
    return lambda value, _row: f"user-{ids.token(normal(value))[2:]}"


def _national_id(_rule: Rule, setting: Setting) -> Transform:
    """A token: what only looks like an id may be somebody's."""
    ids = setting.texts("person.national_id")
    return lambda value, _row: f"id-{ids.token(normal(value))[2:]}"


_DIRECT = classes(DataClass.DIRECT)
KINDS = (
    Kind("email", Guarantee.PRESERVED, classes(DataClass.DIRECT, DataClass.SIDE_EFFECT), _email),
    Kind("phone", Guarantee.NOT_GUARANTEED, _DIRECT, _phone),
    Kind("address", Guarantee.NOT_GUARANTEED, _DIRECT, _address),
    Kind("national_id", Guarantee.PRESERVED, _DIRECT, _national_id),
    Kind("login", Guarantee.PRESERVED, _DIRECT, _login),
)
