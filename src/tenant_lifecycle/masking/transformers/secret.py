"""What opens something: gone, or made anew so that the copy can work; never the source's, not even encrypted."""

from __future__ import annotations

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes


def fresh_secret(setting: Setting, value: str) -> str:
    """As long as the value and nothing else of it; hexadecimal behind PostgreSQL's ``\\x``, else letters and digits."""
    stream = b"".join(
        setting.key.digest("secret", f"{block}.{value}") for block in range(1 + len(value) // 32)
    )
    if value.startswith("\\x"):
        return "\\x" + stream.hex()[: len(value) - 2]
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    return "stg" + "".join(letters[byte % 32] for byte in stream)[: max(13, len(value) - 3)]


def _regenerate(_rule: Rule, setting: Setting) -> Transform:
    return lambda value, _row: fresh_secret(setting, value)


def _billing(_rule: Rule, setting: Setting) -> Transform:
    """The id of a customer or a subscription at somebody who takes money: of no one there."""
    ids = setting.texts("billing")
    return lambda value, _row: f"test_{ids.token(value)[2:]}"


KINDS = (
    Kind("regenerate", Guarantee.NOT_GUARANTEED, classes(DataClass.SECRET), _regenerate),
    Kind("billing", Guarantee.PRESERVED, classes(DataClass.SIDE_EFFECT, DataClass.ACCOUNT), _billing),
)
