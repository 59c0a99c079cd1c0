"""What a step makes of refusals: those that may pass by themselves are waited for, others are not."""

from __future__ import annotations

import pytest

from tenant_lifecycle.errors import PreconditionRefused, StoreRejected, StoreUnavailable, UnmappedData
from tenant_lifecycle.model.findings import Finding, Severity, unanswered
from tenant_lifecycle.operations.migrate.provision import refuse

AWAY = unanswered("s3.reachable", StoreUnavailable("blue/objects: no answer", store="blue/objects"))
NO = unanswered(
    "s3.reachable", StoreRejected("blue/objects: wrong key", store="blue/objects", next_step="mend it")
)
UNMAPPED = Finding("s3.unmapped", Severity.REFUSAL, "no rule", "write one", "blue/objects")


def test_a_finding_about_a_store_that_does_not_answer_is_passing_if_asking_again_helps() -> None:
    assert (AWAY.message, AWAY.next_step, AWAY.subject, AWAY.passing) == (
        "no answer", "tenantctl doctor", "blue/objects", True,
    )  # fmt: skip
    assert (NO.message, NO.next_step, NO.passing) == ("wrong key", "mend it", False)


def test_stores_that_are_merely_away_are_asked_again() -> None:
    with pytest.raises(StoreUnavailable, match="blue/objects: no answer") as caught:
        refuse([AWAY, AWAY])
    assert caught.value.retryable and caught.value.store == "blue/objects"


def test_a_lasting_refusal_is_the_news_whatever_else_is_away() -> None:
    with pytest.raises(UnmappedData, match=r"no rule \(and 1 more\)"):
        refuse([AWAY, UNMAPPED])
    with pytest.raises(PreconditionRefused, match="wrong key"):
        refuse([NO])
    refuse([Finding("s3.reachable", Severity.OK, "answers")])
