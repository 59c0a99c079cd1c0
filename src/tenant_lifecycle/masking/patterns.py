"""What can be told by its form and its checksum: addresses, cards, accounts, phones, ids, keys.

A form alone is not enough where a checksum exists: an order number is no card. Each detector costs one pass of a
regular expression; the checksum is asked only of what has the form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import phonenumbers
from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.us import ssn


@dataclass(frozen=True, slots=True)
class Span:
    """Something found in a text, by what kind of transformer it belongs to."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind of thing: its form, and what a match must stand up to."""

    kind: str
    form: re.Pattern[str]
    is_one: Callable[[str], bool] = lambda _: True

    def spans(self, text: str) -> Iterator[Span]:
        """Where it stands; of a form with a ``value``, only that."""
        value = "value" if "value" in self.form.groupindex else 0
        for match in self.form.finditer(text):
            if self.is_one(match[value]):
                yield Span(*match.span(value), self.kind)


def is_card(text: str) -> bool:
    """Digits of a card's length, first digit and check digit."""
    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and luhn.is_valid(digits) and len(set(digits)) > 1


def is_iban(text: str) -> bool:
    """Country, length and check digits; XZ, which no country has, stands for made-up ones."""
    compact = re.sub(r"\s", "", text)
    if compact[:2].upper() == "XZ":
        return len(compact) >= 15 and _mod97(compact)
    return bool(iban.is_valid(compact, check_country=False))


def _mod97(compact: str) -> bool:
    digits = "".join(str(int(c, 36)) for c in compact[4:] + compact[:4])
    return int(digits) % 97 == 1


#: Ids of people by how they are written; as bare digits they could be anything, so only columns have those.
_NATIONAL: Sequence[tuple[str, Any]] = (
    (r"[0-9]{3}-[0-9]{2}-[0-9]{4}", ssn),
    (r"[0-9]{3}[ -][0-9]{3}[ -][0-9]{4}", nhs),
    (r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}", idnr),
    (r"[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]", codicefiscale),
    (r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", nir),
    (r"[0-9]{8}-?[A-Z]", dni),
    (r"[XYZ]-?[0-9]{7}-?[A-Z]", nie),
    (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", cpf),
    (r"[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}", aadhaar),
    (r"[0-9]{4}\.[0-9]{2}\.[0-9]{3}", bsn),
)


def is_national_id(text: str) -> bool:
    """Valid by the rule of a country that writes it so."""
    return any(re.fullmatch(form, text) and module.is_valid(text) for form, module in _NATIONAL)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Phones:
    """Phone numbers: international ones, and those that one of the regions would dial."""

    regions: tuple[str, ...] = ()
    _FORM = re.compile(r"(?<![\w.,/:#-])(?:\+|00)?\(?[0-9][0-9 ().\-/]{6,22}[0-9](?![\w:])")

    kind = "phone"

    def spans(self, text: str) -> Iterator[Span]:
        for match in self._FORM.finditer(text):
            if self.number(match[0]) is not None:
                yield Span(match.start(), match.end(), self.kind)

    def number(self, text: str) -> str | None:
        """In the form ``+491701234567``; None: no phone number."""
        written = text.strip()
        written = "+" + written[2:] if written.startswith("00") else written
        for region in (None,) if written.startswith("+") else self._dialling(written):
            try:
                parsed = phonenumbers.parse(written, region)
            except phonenumbers.NumberParseException:
                continue
            if phonenumbers.is_valid_number(parsed):
                return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164))
        return None

    def _dialling(self, written: str) -> Iterator[str]:
        """Regions in which the number would be dialled so; a date is no number anywhere."""
        if _DATE.fullmatch(written):
            return
        for region in self.regions:
            trunk = phonenumbers.ndd_prefix_for_region(region, True)
            if trunk != "0" or written.lstrip("( ").startswith(trunk):
                yield region


_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2,4}")
EMAIL = Detector("email", re.compile(r"(?<![\w.+%-])[\w.+%'-]+@(?:[\w-]+\.)+[^\W\d_][\w-]*(?<!-)"))
URL = Detector(
    "url",
    re.compile(
        r"\b(?:https?|wss?|ftp|amqps?|postgres(?:ql)?|rediss?|smtp)://[^\s\"'<>\\]+[^\s\"'<>\\.,;:!?)\]}]"
    ),
)
CARD = Detector("card", re.compile(r"(?<![\w.-])[2-6][0-9](?:[ -]?[0-9]){11,17}(?![\w-])"), is_card)
IBAN = Detector(
    "iban", re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), is_iban
)
NATIONAL_ID = Detector(
    "national_id",
    re.compile(rf"(?<![\w.-])(?:{'|'.join(form for form, _ in _NATIONAL)})(?![\w-])"),
    is_national_id,
)
IPV4 = Detector("ip", re.compile(r"(?<![\w.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w.]*[0-9])"), _is_ip)
IPV6 = Detector(
    "ip",
    re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])"),
    lambda t: len(t) > 4 and _is_ip(t),
)
MAC = Detector("mac", re.compile(r"(?<![\w:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:-])"))
#: Keys of known makers, tokens of web sessions, private keys.
SECRET = Detector(
    "secret",
    re.compile(
        r"\b(?:sk|pk|rk)[-_](?:live|test|proj|ant|or)?[-_]?[A-Za-z0-9_-]{16,}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
        r"|\bgh[pousr]_[A-Za-z0-9]{30,}|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}|\bglpat-[\w-]{20,}"
        r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
        r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----"
    ),
)
#: What is called a password beside it.
PASSWORD = Detector(
    "secret",
    re.compile(
        r"(?:[Pp]assword|[Pp]asswort|PASSWORD|[Pp]asswd|secret_key|api_key)\"?[:=] ?\"?(?P<value>[^\s\"',;]{6,})"
    ),
)
UUID = Detector(
    "uuid", re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?![0-9A-Za-z])")
)
#: In the order of precedence where two find the same stretch.
DETECTORS: Sequence[Detector] = (SECRET, PASSWORD, URL, EMAIL, UUID, IBAN, CARD, NATIONAL_ID, IPV4, IPV6, MAC)


def spans(text: str, phones: Phones) -> Iterator[Span]:
    """Everything in the text that has a form of its own, possibly overlapping.

    What cannot be in the text for want of a character is not asked for.
    """
    digits = any(map(text.__contains__, "0123456789"))
    for detector in DETECTORS:
        if (digits or detector not in _WITH_DIGITS) and any(map(text.__contains__, _NEEDED[detector])):
            yield from detector.spans(text)
    if digits:
        yield from phones.spans(text)


#: One of these stands in every text that has such a thing.
_NEEDED: Mapping[Detector, Sequence[str]] = {
    SECRET: ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "xox", "AIza", "glpat-", "eyJ", "-----BEGIN"),
    PASSWORD: ("assw", "PASSWORD", "secret_key", "api_key"),
    URL: ("://",), EMAIL: ("@",), UUID: ("-",), IBAN: ("",), CARD: ("",), NATIONAL_ID: ("",), IPV4: (".",), IPV6: (":",),
    MAC: (":", "-"),
}  # fmt: skip
_WITH_DIGITS = frozenset({IBAN, CARD, NATIONAL_ID, UUID, IPV4})
