"""Ids: bijections by domain, the tenant itself, and names that are made of ids (``documents/{tenant}/{document}.txt``)."""

from __future__ import annotations

import re

from tenant_lifecycle.masking.classes import DataClass, Guarantee, Rule
from tenant_lifecycle.masking.naming import NameForm
from tenant_lifecycle.masking.setting import Setting, Transform
from tenant_lifecycle.masking.transformers.kind import Kind, classes

_INTEGER = re.compile(r"-?[0-9]+")


def _uuid(rule: Rule, setting: Setting) -> Transform:
    texts = setting.texts(rule.domain)
    return lambda value, _row: setting.uuids(value) or texts.token(value)


def _integer(rule: Rule, setting: Setting) -> Transform:
    ids, texts = setting.integers(rule.domain), setting.texts(rule.domain)
    return lambda value, _row: str(ids(int(value))) if _INTEGER.fullmatch(value) else texts.token(value)


def _opaque(rule: Rule, setting: Setting) -> Transform:
    """A text that is an id: another one of its shape."""
    ids = setting.texts(rule.domain)
    return lambda value, _row: ids(value)


def _tenant(_rule: Rule, setting: Setting) -> Transform:
    target = setting.target
    others = setting.texts("tenant")
    return lambda value, _row: target.target if value == target.tenant else others(value)


def _tenant_name(_rule: Rule, setting: Setting) -> Transform:
    target = setting.target
    return lambda _value, _row: target.target_name or f"Clone {target.target}"


def _template(rule: Rule, setting: Setting) -> Transform:
    """``template``: what the text looks like; what does not look so becomes a token."""
    form, texts = NameForm.parse(rule.text("template")), setting.texts("names")

    def one(value: str) -> str:
        masked = form.masked(value, setting)
        return texts.token(value) if masked is None else masked

    return lambda value, _row: one(value)


_IDS = classes(DataClass.IDENTIFIER, DataClass.SUBJECT_ID)
_TENANT = classes(DataClass.TENANT_ID)
KINDS = (
    Kind("uuid", Guarantee.PRESERVED, _IDS, _uuid),
    Kind("integer", Guarantee.PRESERVED, _IDS, _integer),
    Kind("opaque", Guarantee.PRESERVED, _IDS, _opaque),
    Kind("tenant", Guarantee.PRESERVED, _TENANT, _tenant),
    Kind("tenant_name", Guarantee.LOSSY, _TENANT, _tenant_name),
    Kind(
        "template",
        Guarantee.NOT_GUARANTEED,
        classes(DataClass.IDENTIFIER, DataClass.FREE_TEXT),
        _template,
        frozenset({"template"}),
    ),
)
