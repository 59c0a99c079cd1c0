"""Makes ``names-1.txt`` out of Faker, once: ``python -m make_names > names-1.txt`` in this folder.

Masking reads the file and never Faker, so a newer Faker changes no pseudonym. A changed table is a new file with
the next number, and clones say which one they were made with.
"""

from __future__ import annotations

import unicodedata

from faker import Faker

LOCALES = (
    "en_US",
    "en_GB",
    "de_DE",
    "fr_FR",
    "es_ES",
    "it_IT",
    "nl_NL",
    "pl_PL",
    "sv_SE",
    "pt_BR",
    "fi_FI",
    "cs_CZ",
)


def main() -> None:
    """Two sections, sorted: given names and family names of one word, in Latin letters."""
    for section, attributes in {"given": ("first_names",), "family": ("last_names",)}.items():
        print(f"[{section}]")
        for name in sorted(_names(attributes)):
            print(name)


def _names(attributes: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    for locale in LOCALES:
        provider = next(
            p
            for p in Faker(locale).get_providers()
            if type(p).__module__.startswith("faker.providers.person")
        )
        for attribute in attributes:
            found.update(getattr(provider, attribute))
    return {unicodedata.normalize("NFC", name) for name in found if _usable(name)}


def _usable(name: str) -> bool:
    return (
        3 <= len(name) <= 12
        and name.isalpha()
        and name == name.capitalize()
        and name.encode("latin-1", "ignore").decode("latin-1") == name
    )


if __name__ == "__main__":
    main()
