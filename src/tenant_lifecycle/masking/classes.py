"""What kinds of data there are, what is done with each, and what a transformer promises: the words of a registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class DataClass(StrEnum):
    """What a value is to a person or to the company; every column, path, key and name has one."""

    #: Names a person: name, e-mail, phone, address, government id.
    DIRECT = "direct"
    #: A person's or company's money: card, account.
    ACCOUNT = "account"
    #: Names nobody alone and somebody together with others: birth date, zip, job.
    QUASI = "quasi"
    #: The id of a person.
    SUBJECT_ID = "subject_id"
    #: The id of anything else.
    IDENTIFIER = "identifier"
    #: The id or the name of the tenant.
    TENANT_ID = "tenant_id"
    #: Prose, titles, file names, tags, comments: may mention anybody.
    FREE_TEXT = "free_text"
    #: Opens something: tokens, passwords, keys and their hashes.
    SECRET = "secret"
    #: Makes a copy act on the world: callbacks, mail servers, schedules, billing ids.
    SIDE_EFFECT = "side_effect"
    #: Vectors made from text.
    EMBEDDING = "embedding"
    #: Content that cannot be read as text.
    BINARY = "binary"
    #: JSON with a rule for each path.
    JSON = "json"
    #: Everybody may know it: plans, roles, states.
    PUBLIC = "public"
    #: Counts, flags, positions, moments: says nothing of anybody.
    STRUCTURAL = "structural"


#: The larger, the more is done to it. A registry may go up from what the data shows, never down.
STRICTNESS: Mapping[DataClass, int] = {
    DataClass.PUBLIC: 0,
    DataClass.STRUCTURAL: 0,
    DataClass.IDENTIFIER: 1,
    DataClass.QUASI: 2,
    DataClass.JSON: 2,
    DataClass.TENANT_ID: 3,
    DataClass.SUBJECT_ID: 3,
    DataClass.FREE_TEXT: 4,
    DataClass.EMBEDDING: 4,
    DataClass.BINARY: 5,
    DataClass.SIDE_EFFECT: 5,
    DataClass.DIRECT: 5,
    DataClass.ACCOUNT: 5,
    DataClass.SECRET: 6,
}
#: Values of these are looked for in the clone, one by one.
SWEPT = frozenset({DataClass.DIRECT, DataClass.ACCOUNT, DataClass.SECRET})


class Guarantee(StrEnum):
    """What becomes of different values."""

    #: They stay different.
    PRESERVED = "preserved"
    #: They usually stay different.
    NOT_GUARANTEED = "not_guaranteed"
    #: They are meant to become equal.
    LOSSY = "lossy"


class DataType(StrEnum):
    """Parts of a tenant that a clone may have."""

    DOCUMENTS = "documents"
    EMBEDDINGS = "embeddings"
    METADATA = "metadata"
    CONFIGS = "configs"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done with the values of one place."""

    cls: DataClass
    #: The transformer, a name of `transformers.KINDS`.
    kind: str
    #: Which values are the same thing: equal values of one domain get equal pseudonyms, wherever they stand.
    domain: str = ""
    #: Of the transformer; it says which.
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    #: JSON only: rules by key, ``*`` for any other key, ``[]`` for the elements of a list.
    children: Mapping[str, Rule] = field(default_factory=dict)
    #: Left out (nulled, emptied) where a clone does not want this; None: as its set.
    data: DataType | None = None

    def text(self, option: str, default: str = "") -> str:
        """An option that is text."""
        return str(self.options.get(option, default))

    def number(self, option: str, default: float) -> float:
        """An option that is a number."""
        return float(self.options.get(option, default))
