"""Keyed permutations: different ids stay different and equal ones equal, with no table of who became what.

An unbalanced domain is walked: a value that falls outside is permuted again until it falls inside, which ends
because a permutation has no way around itself. Ten Feistel rounds with a keyed BLAKE2b; see decision 0040.
"""

from __future__ import annotations

import hashlib
import re
import string
import uuid
from dataclasses import dataclass
from functools import lru_cache

from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from tenant_lifecycle.errors import UsageError

_ROUNDS = 10
_KEPT = 1 << 16
#: Bits of a UUID that say its version and variant.
_MARKS = (0xF << 76) | (0x3 << 62)
#: Below so many texts of one shape a keyed permutation hides nothing: they get a token.
_FEWEST = 1_000_000
_UUID = re.compile(r"\{?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})\}?", re.IGNORECASE)


class Permutation:
    """Of the whole numbers from 0 up to ``size``, by a key of 32 bytes."""

    def __init__(self, key: bytes, size: int) -> None:
        if size < 1:
            raise UsageError(f"a permutation of {size} numbers cannot be")
        self._size = size
        self._half = max(1, ((size - 1).bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1
        self._bytes = (self._half + 7) // 8
        self._states = [
            hashlib.blake2b(
                round_.to_bytes(2, "big") + size.to_bytes(64, "big"), key=key, digest_size=self._bytes + 8
            )
            for round_ in range(_ROUNDS)
        ]
        self._of = lru_cache(_KEPT)(self._walked)

    def __call__(self, number: int) -> int:
        """What the number becomes, 0 <= both < size."""
        if not 0 <= number < self._size:
            raise UsageError("the number is outside of the permutation's domain")
        return self._of(number)

    def inverse(self, number: int) -> int:
        """What became this number."""
        while True:
            number = self._unmixed(number)
            if number < self._size:
                return number

    def _walked(self, number: int) -> int:
        while True:
            number = self._mixed(number)
            if number < self._size:
                return number

    def _mixed(self, number: int) -> int:
        left, right = number >> self._half, number & self._mask
        for state in self._states:
            left, right = right, left ^ self._round(state, right)
        return left << self._half | right

    def _unmixed(self, number: int) -> int:
        left, right = number >> self._half, number & self._mask
        for state in reversed(self._states):
            left, right = right ^ self._round(state, left), left
        return left << self._half | right

    def _round(self, state: hashlib.blake2b, half: int) -> int:
        mixer = state.copy()
        mixer.update(half.to_bytes(self._bytes, "big"))
        return int.from_bytes(mixer.digest(), "big") & self._mask


@dataclass(frozen=True, slots=True)
class IdRange:
    """Where the ids of a domain lie, and where the clone's are to lie."""

    #: The smallest, and how many there may be.
    low: int
    size: int
    #: The smallest of the clone; None: the same.
    target: int | None = None


class IntegerIds:
    """Ids of one domain. What lies outside of the range (a dangling reference) becomes a negative number."""

    def __init__(self, key: bytes, ids: IdRange, bits: int = 64) -> None:
        """``bits``: of the narrowest column that holds such ids.

        Raises:
            UsageError: the clone's ids would not fit into the column.
        """
        self._low = ids.low
        self._size = ids.size
        self._target = ids.low if ids.target is None else ids.target
        if self._target + ids.size > 1 << (bits - 1) or self._target < 0:
            raise UsageError(
                f"{ids.size} ids from {self._target} on do not fit into {bits} bits",
                next_step="give the domain a range that the column can hold",
            )
        self._inside = Permutation(key, ids.size)
        self._outside = Permutation(key, 1 << (bits - 1))
        self._modulus = 1 << (bits - 1)

    def __call__(self, number: int) -> int:
        offset = number - self._low
        if 0 <= offset < self._size:
            return self._target + self._inside(offset)
        return -1 - self._outside(number % self._modulus)


class UuidIds:
    """Of all UUIDs, one permutation for every domain, so that one in prose goes with its row. Version bits stay."""

    def __init__(self, key: bytes) -> None:
        self._permutation = Permutation(key, 1 << 122)
        self._of = lru_cache(_KEPT)(self._mapped)

    def __call__(self, text: str) -> str | None:
        """In the form in which it was written; None: it is no UUID."""
        return self._of(text)

    def _mapped(self, text: str) -> str | None:
        match = _UUID.fullmatch(text)
        if match is None:
            return None
        number = uuid.UUID(match[1]).int
        mapped = uuid.UUID(int=_scattered(self._permutation(_gathered(number)), number))
        plain = str(mapped) if "-" in text else mapped.hex
        plain = plain.upper() if any(c.isupper() for c in text) else plain
        return text.replace(match[1], plain)


def _gathered(number: int) -> int:
    """The 122 bits beside version and variant, together."""
    return (number >> 80) << 74 | ((number >> 64) & 0xFFF) << 62 | (number & ((1 << 62) - 1))


def _scattered(bits: int, marks: int) -> int:
    spread = (bits >> 74) << 80 | ((bits >> 62) & 0xFFF) << 64 | (bits & ((1 << 62) - 1))
    return spread | (marks & _MARKS)


class TextIds:
    """Texts as ids: a text of the same shape where there are enough of them, else a token; never two the same.

    Shape: a small letter for a small one, a digit for a digit, everything that is no letter or digit as it is.
    """

    _ALPHABETS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._siv = AESSIV(hashlib.blake2b(b"token", key=key, digest_size=64).digest())
        self._permutation = lru_cache(1024)(lambda size: Permutation(key, size))
        self._of = lru_cache(_KEPT)(self._mapped)

    def __call__(self, text: str) -> str:
        return self._of(text)

    def _mapped(self, text: str) -> str:
        alphabets = [self._alphabet(character) for character in text]
        size = 1
        for alphabet in alphabets:
            size *= len(alphabet) if alphabet else 1
        foreign = any(
            not alphabet and character.isalnum() for alphabet, character in zip(alphabets, text, strict=True)
        )
        if foreign or size < _FEWEST or len(text) > 64:
            return self.token(text)
        return _spelled(self._permutation(size)(_number(text, alphabets)), text, alphabets)

    def token(self, text: str) -> str:
        """``t-`` and hexadecimal digits, small letters, that only the key leads back."""
        data = text.encode(errors="surrogatepass") or b"\0"
        return f"t-{self._siv.encrypt(data, [b'empty' if not text else b'text']).hex()}"

    def _alphabet(self, character: str) -> str:
        return next((alphabet for alphabet in self._ALPHABETS if character in alphabet), "")


def _number(text: str, alphabets: list[str]) -> int:
    number = 0
    for character, alphabet in zip(text, alphabets, strict=True):
        if alphabet:
            number = number * len(alphabet) + alphabet.index(character)
    return number


def _spelled(number: int, text: str, alphabets: list[str]) -> str:
    spelled: list[str] = []
    for character, alphabet in zip(reversed(text), reversed(alphabets), strict=True):
        if alphabet:
            number, digit = divmod(number, len(alphabet))
            character = alphabet[digit]
        spelled.append(character)
    return "".join(reversed(spelled))
