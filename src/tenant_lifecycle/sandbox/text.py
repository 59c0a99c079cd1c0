"""Readable English about office work, the same on every run: a small grammar, no corpus, no download."""

from __future__ import annotations

from random import Random

_WHO = """The finance team|Our auditor|The plant manager|A customer|The support desk|Legal|Procurement
The data steward|Each regional office|The release manager|Human resources|An external consultant""".replace(
    "\n", "|"
).split("|")
_DID = """approved|reviewed|rejected|archived|reported|scheduled|escalated|measured|replaced|translated
documented|forecast|inspected|renewed|postponed|consolidated""".replace("\n", "|").split("|")
_WHAT = """the quarterly invoice|a supplier contract|the onboarding checklist|a safety procedure|the travel policy
two open incidents|the retention schedule|a pricing proposal|the warehouse inventory|an access request
the maintenance plan|a translation memory|the service catalogue|the risk register""".replace("\n", "|").split(
    "|"
)
_WHEN = """before the end of the month|after the second reminder|in line with the new guideline|without any exception
during the weekly review|because two figures did not match|for the northern region|as agreed in the steering meeting
while the system was under maintenance|once every signature was in place""".replace("\n", "|").split("|")
_FIRST = [
    "Ada",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Esther",
    "Farid",
    "Grace",
    "Hiro",
    "Ines",
    "Jakub",
    "Kavya",
    "Lars",
    "Mei",
    "Nadia",
    "Omar",
    "Priya",
    "Quentin",
    "Rosa",
    "Sven",
    "Tariq",
    "Uma",
    "Vera",
    "Wanda",
    "Yusuf",
    "Zoë",
]
_LAST = [
    "Almeida",
    "Bauer",
    "Chandra",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Haddad",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Nakamura",
    "Okafor",
    "Petrov",
    "Rossi",
    "Silva",
    "Tanaka",
    "Unger",
    "Varga",
    "Weber",
    "Yilmaz",
]


class Writer:
    """Writes sentences, texts and names from one seeded source of chance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._sentences = [
            f"{random.choice(_WHO)} {random.choice(_DID)} {random.choice(_WHAT)} {random.choice(_WHEN)}, "
            f"reference {random.getrandbits(64):016x}."
            for _ in range(4000)
        ]
        self._paragraphs = [" ".join(random.choices(self._sentences, k=12)) for _ in range(400)]

    def sentence(self) -> str:
        """About 110 characters."""
        return self._sentences[int(self._random.random() * 4000)]

    def sentences(self, count: int) -> str:
        """So many of them, in one line."""
        return " ".join(self._random.choices(self._sentences, k=count))

    def text(self, paragraphs: int) -> str:
        """So many paragraphs of about 1.3 kB each."""
        return "\n\n".join(self._random.choices(self._paragraphs, k=paragraphs))

    def title(self) -> str:
        """A heading."""
        return f"{self._random.choice(_WHAT).capitalize()} {self._random.choice(_WHEN)}"

    def person(self) -> tuple[str, str]:
        """A full name and the local part of an address."""
        first, last = self._random.choice(_FIRST), self._random.choice(_LAST)
        return f"{first} {last}", f"{first}.{last}".lower()
