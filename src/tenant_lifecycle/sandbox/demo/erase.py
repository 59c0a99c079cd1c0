"""The demonstration of an erasure: everything of a tenant goes, what was forgotten is found, and it is certified.

Traps are planted first. The eraser takes away what the ownership rules cover; the verifier, with credentials of its
own, finds what lies beyond them, and the erasure stops there: it is not done. A person clears those places, two more
searches find nothing, and the certificate is checked by a program that knows nothing of this one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenant_lifecycle.errors import LifecycleError
from tenant_lifecycle.evidence.keys import LocalSigner, Role
from tenant_lifecycle.evidence.trust import trust_policy
from tenant_lifecycle.model.erasure.certificate import rfc3339
from tenant_lifecycle.model.erasure.request import Ground, Request, RequestState
from tenant_lifecycle.model.names import TenantId
from tenant_lifecycle.model.operation import Operation, State
from tenant_lifecycle.sandbox.demo.operating import succeeded
from tenant_lifecycle.sandbox.environment import Fill, Sandbox, running
from tenant_lifecycle.sandbox.parts import Part
from tenant_lifecycle.sandbox.traps import Traps
from tenant_lifecycle.sandbox.verifier import CONTROL_TENANT
from tenant_lifecycle.wiring import Lifecycle, find_installation

Say = Callable[[str], None]
TENANT = TenantId("hooli")
_STORES = (Part.REDIS, Part.VECTORS, Part.OBJECTS, Part.LOGS, Part.ANALYTICS)
_PATIENCE_S = 240.0
#: Nobody waits a day for a demonstration; ``erasure`` is the last section of the sandbox's file.
_HURRY = "  cooling_off: 0s\n  settle: 1s\n  rescans: [1h]\n"
_ORIGIN = "sandbox.example/audit"
_VALID = {0: "complete", 10: "interim"}


@dataclass(frozen=True, slots=True)
class EraseSettings:
    """How big."""

    scale: float = 0.2


@dataclass(frozen=True, slots=True)
class EraseResult:
    """What was counted."""

    systems: int
    items_erased: int
    #: Addresses of the tenant's data that the first searches found after the deletion.
    residue_found_first: int
    residue_left: int
    #: By the offline verifier, a process of its own.
    certificate_valid: bool
    certificate_verdict: str
    neighbours: int
    neighbours_unchanged: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every promise held."""
        found = self.residue_found_first > 0 and self.residue_left == 0
        return found and self.certificate_valid and self.neighbours_unchanged

    def as_json(self) -> dict[str, Any]:
        return {"erasure": asdict(self)}


def run_erase_demo(settings: EraseSettings, say: Say) -> EraseResult:
    """Run it from nothing to nothing.

    Raises:
        LifecycleError: the erasure did not go as it should; the message says why.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tenant-lifecycle-demo-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        say("starting PostgreSQL, Redis, and emulators of Pinecone, S3 and CloudWatch Logs ...")
        sandbox = Sandbox(folder / "sandbox", parts=_STORES)
        with running(sandbox, scale=settings.scale, green=Fill.RESIDENTS):
            file = sandbox.folder / "lifecycle.yaml"
            signers = [LocalSigner.generate(role) for role in (Role.PERFORMER, Role.VERIFIER, Role.LOG)]
            file.write_text(file.read_text() + _HURRY + _evidence(sandbox.folder, signers))
            traps = Traps(sandbox, TENANT)
            for trap in traps.plant():
                say(f"  trap in {trap.system}: {trap.what}")
            with Lifecycle(find_installation(file)) as lifecycle, lifecycle.runner():
                for tenant in (TENANT, TenantId(CONTROL_TENANT)):
                    succeeded(lifecycle, lifecycle.backups.start_backup(tenant, "blue", actor="on call"))
                say(f"{TENANT} and the control tenant are backed up")
                story = _Story(lifecycle, traps, signers, folder, say)
                story.tell()
                return story.result(time.monotonic() - began)


def _evidence(folder: Path, signers: Sequence[LocalSigner]) -> str:
    """The section ``evidence``, and a file for each key."""
    lines = ["evidence:", f"  origin: {_ORIGIN}", "  keys:"]
    for signer in signers:
        signer.write(folder / f"{signer.role.value}.key")
        lines.append(f"    {signer.role.value}: {{file: {signer.role.value}.key}}")
    issuer = '{legal_name: "Sandbox Ltd", role: processor, contact: privacy@sandbox.example}'
    return "\n".join([*lines, f"  issuer: {issuer}"]) + "\n"


class _Story:
    """One erasure, told while it happens."""

    def __init__(
        self, lifecycle: Lifecycle, traps: Traps, signers: Sequence[LocalSigner], folder: Path, say: Say
    ) -> None:
        self._lifecycle = lifecycle
        self._erasures = lifecycle.erasures
        self._traps = traps
        self._signers = signers
        self._folder = folder
        self._say = say
        self._id = ""
        self._found_first = 0
        self._verdict: tuple[bool, str] = (False, "")

    def tell(self) -> None:
        """Asked, planned, approved, erased, found wanting, mended, certified."""
        request = self._approved()
        self._say("erasing ...")
        self._id = self._erasures.start(request.id, actor="dana").id
        self._until(RequestState.NEEDS_HUMAN)
        self._show_residue()
        self._traps.clear()
        self._say("a person cleared those places; once more")
        self._erasures.again(request.id, actor="dana")
        self._until(RequestState.LIVE_ERASED)
        self._say("every live system was searched twice and nothing was found")
        self._certify()

    def _approved(self) -> Request:
        request = self._erasures.request(TENANT, Ground.CONTRACT_END, actor="sales")
        plan = self._erasures.plan(request.id, actor="sales")
        items = sum(one.items for system in plan.systems for one in system.sets)
        self._say(
            f"plan {plan.digest[:19]}: {TENANT} out of {len(plan.systems)} systems, {items:,} items; due in "
            f"{(request.deadline.due_at - request.received_at) / 86400:.0f} days"
        )
        for refusal in plan.refusals:
            self._say(f"  refused: {refusal.message}; {refusal.next_step}")
        for person in ("privacy officer", "platform lead"):
            request = self._erasures.approve(request.id, plan=plan.digest, actor=person)
            self._say(f"  approved by the {person}")
        return request

    def _show_residue(self) -> None:
        outcome = self._judged()
        self._found_first = self._looks_found()
        self._say(f"not done: {outcome['overall']}; found after the deletion:")
        for system, hits in self._erasures.residuals(TENANT).items():
            for hit in hits:
                self._say(f"  {system}: {hit['place']}, {hit['encoding']}")

    def _certify(self) -> None:
        bundle, policy = self._folder / "certificate", self._folder / "trust.json"
        self._wait_for(lambda: bool(self._erasures.certificates(self._request.id)), "the certificate")
        self._erasures.export_certificate(self._request.id, bundle)
        policy.write_text(json.dumps(self._trust()))
        checked = subprocess.run(
            [sys.executable, "-m", "tenant_certificate_verify", "--json", "--policy", str(policy), str(bundle)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        verdict = (
            json.loads(checked.stdout)["verdict"] if checked.returncode in _VALID else checked.stderr.strip()
        )
        self._verdict = checked.returncode in _VALID, verdict
        self._say(f"the offline verifier says: {self._verdict[1]}")

    def _trust(self) -> Mapping[str, Any]:
        """What the customer knows of the keys, over another way than the certificate's."""
        now = time.time()
        keys = [(signer.role, signer.public) for signer in self._signers]
        return trust_policy(
            _ORIGIN, keys, valid_from=rfc3339(now - 3600), valid_until=rfc3339(now + 365 * 86400)
        )

    @property
    def _request(self) -> Request:
        return self._erasures.find(TENANT)

    @property
    def _operation(self) -> Operation:
        return self._lifecycle.operation(self._id)

    def _steps(self, beginning: str) -> list[Mapping[str, Any]]:
        steps = self._lifecycle.steps(self._id)
        return [step.output or {} for step in steps if step.key.startswith(beginning)]

    def _judged(self) -> Mapping[str, Any]:
        return self._steps("judge/")[-1]

    def _looks_found(self) -> int:
        """What the second looks of the newest round found."""
        rounds = len(self._steps("judge/"))
        return sum(one["hits"] + one["remaining"] for one in self._steps(f"look/{rounds}/2/"))

    def _until(self, state: RequestState) -> None:
        self._wait_for(lambda: self._request.state is state, str(state))

    def _wait_for(self, condition: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not condition():
            operation = self._operation
            stopped = operation.state in (State.ATTENTION, State.FAILED, State.ABORTED)
            if stopped or time.monotonic() > end:
                error = operation.error
                raise LifecycleError(
                    f"waiting for {what}: the request is {self._request.state}, "
                    f"{error.message if error else self._request.why}",
                    next_step=error.next_step if error else "",
                )
            time.sleep(0.05)

    def result(self, seconds: float) -> EraseResult:
        """Everything counted, from the journal and the last search."""
        judged = self._judged()
        erased = sum(one.get("deleted", 0) for one in self._steps("erase/"))
        return EraseResult(
            systems=len(judged["systems"]),
            items_erased=erased,
            residue_found_first=self._found_first,
            residue_left=self._looks_found(),
            certificate_valid=self._verdict[0],
            certificate_verdict=self._verdict[1],
            neighbours=judged.get("neighbours", 0),
            neighbours_unchanged=judged.get("neighbours_changed") == [],
            seconds=round(seconds, 1),
        )


def erase_lines(result: EraseResult) -> list[str]:
    """The summary for people."""
    rows = [
        ("erased", f"{result.items_erased:,} items in {result.systems} systems"),
        ("found after deletion", f"{result.residue_found_first} places that no rule mentions"),
        ("left at the end", f"{result.residue_left}"),
        ("certificate", result.certificate_verdict),
        (
            "neighbours",
            f"{result.neighbours} compared, {'unchanged' if result.neighbours_unchanged else 'CHANGED'}",
        ),
        ("time", f"{result.seconds:.0f} s"),
    ]
    return [f"{name:<24} {value}" for name, value in rows]
