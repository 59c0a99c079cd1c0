"""Keys: from files, variables and KMS; one that cannot be what it should be is refused with the way out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from issuing import Office
from moto import mock_aws
from moto.kms.models import kms_backends

from tenant_certificate_verify import cli
from tenant_lifecycle import config
from tenant_lifecycle.errors import ConfigError, StoreRejected
from tenant_lifecycle.evidence import notes
from tenant_lifecycle.evidence.keys import Algorithm, LocalSigner, Role
from tenant_lifecycle.evidence.kms import KmsSigner
from tenant_lifecycle.evidence.merkle import EMPTY_ROOT
from tenant_lifecycle.evidence_file import DEFAULT_ORIGIN, EvidenceConfig, KeyConfig
from tenant_lifecycle.wiring.evidence import open_signer

#: RFC 8032, 7.1, test 2.
_SEED = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
_SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


class Kms:
    """An emulator of KMS, not KMS: moto's, in this process, completed by what it lacks.

    moto ignores ``MessageType`` and hashes a digest once more; here it signs the digest, as KMS documents it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def sign(self, **given: Any) -> dict[str, Any]:
        if given["MessageType"] == "RAW":
            assert len(given["Message"]) <= 4096, "KMS takes no more"
            return dict(self._client.sign(**given))
        (backend,) = (one["eu-central-1"] for one in kms_backends.values())
        key = backend.keys[given["KeyId"]].private_key.private_key
        return {"Signature": key.sign(given["Message"], ec.ECDSA(Prehashed(hashes.SHA256())))}


@pytest.fixture
def kms() -> Iterator[Kms]:
    with mock_aws():
        yield Kms(
            boto3.client(
                "kms", region_name="eu-central-1", aws_access_key_id="test", aws_secret_access_key="test"
            )
        )


def test_a_signature_is_the_one_of_the_standard() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = LocalSigner(Role.LOG, Ed25519PrivateKey.from_private_bytes(bytes.fromhex(_SEED)))
    assert key.sign(bytes.fromhex("72")).hex() == _SIGNATURE
    assert key.public.verifies(bytes.fromhex(_SIGNATURE), bytes.fromhex("72"))
    assert not key.public.verifies(bytes.fromhex(_SIGNATURE), bytes.fromhex("73"))


def test_a_key_file_is_for_its_owner_only_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "log.pem"
    made = LocalSigner.generate(Role.LOG)
    made.write(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert LocalSigner.from_file(Role.LOG, path).public == made.public
    with pytest.raises(FileExistsError):
        LocalSigner.generate(Role.LOG).write(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="other users") as refused:
        LocalSigner.from_file(Role.LOG, path)
    assert "chmod 600" in refused.value.next_step
    path.chmod(0o600)
    path.write_text("no key")
    with pytest.raises(ConfigError, match="no private key"):
        LocalSigner.from_file(Role.LOG, path)
    with pytest.raises(ConfigError, match="cannot be read"):
        LocalSigner.from_file(Role.LOG, tmp_path / "nowhere.pem")


def test_a_key_comes_from_a_variable(tmp_path: Path) -> None:
    made = LocalSigner.generate(Role.VERIFIER)
    made.write(tmp_path / "key.pem")
    config_ = EvidenceConfig(keys={"verifier": KeyConfig("environment", "TL_KEY")})
    environ = {"TL_KEY": (tmp_path / "key.pem").read_text()}
    assert open_signer(Role.VERIFIER, config_, environ).public == made.public
    with pytest.raises(ConfigError, match="TL_KEY is not set"):
        open_signer(Role.VERIFIER, config_, {})
    with pytest.raises(ConfigError, match="no key for the role officer"):
        open_signer(Role.OFFICER, config_, environ)


def test_a_key_of_another_kind_is_refused() -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(ConfigError, match="no Ed25519 key"):
        LocalSigner.from_pem(Role.LOG, pem, "here")


def test_no_key_shows_in_its_text() -> None:
    key = LocalSigner.generate(Role.LOG)
    assert repr(key) == "LocalSigner(role=<Role.LOG: 'log'>)"


def _kms_signer(kms: Any, role: Role, spec: str = "ECC_NIST_P256", usage: str = "SIGN_VERIFY") -> KmsSigner:
    key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["KeyId"]
    return KmsSigner(role, key, kms)


def test_a_certificate_and_a_log_signed_with_keys_of_kms_are_accepted(
    kms: Any, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """ECDSA P-256 through the emulator of KMS: what is tested is our client and the verifier, not KMS."""
    signers = [_kms_signer(kms, role) for role in (Role.PERFORMER, Role.VERIFIER, Role.LOG)]
    assert {signer.public.algorithm for signer in signers} == {Algorithm.ECDSA_P256}
    with_kms = Office(office.control, office.folder, office.now, *signers)
    folder = with_kms.export(with_kms.issue())
    policy = with_kms.policy()
    assert cli.main(["--policy", str(with_kms.write_policy(policy)), str(folder)]) == 0, capsys.readouterr()
    policy["keys"][0]["algorithm"] = "ed25519"
    assert cli.main(["--policy", str(with_kms.write_policy(policy)), str(folder)]) == 2


def test_a_kms_key_that_cannot_sign_or_is_gone_is_refused(kms: Any) -> None:
    with pytest.raises(ConfigError, match="no ECDSA P-256 key"):
        _kms_signer(kms, Role.LOG, "RSA_2048")
    with pytest.raises(StoreRejected, match="NotFoundException"):
        KmsSigner(Role.LOG, "12345678-0000-0000-0000-000000000000", kms)


def test_a_heads_key_has_the_id_of_its_kind(kms: Any) -> None:
    head = notes.Head("example.com/log", 0, EMPTY_ROOT)
    for signer in (LocalSigner.generate(Role.LOG), _kms_signer(kms, Role.LOG)):
        note = notes.sign_head(head, signer)
        assert notes.read_head(note, "example.com/log", signer.public) == head
        assert notes.verifier_key("example.com/log", signer.public).startswith("example.com/log+")


def test_a_note_of_another_implementation_is_read() -> None:
    """The example of the specification of signed notes: text, name, key id and signature line fit together."""
    line = (
        "\N{EM DASH} quasimodo.example/salvatore "
        "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc="
    )
    name, _, encoded = line.removeprefix("\N{EM DASH} ").partition(" ")
    assert name == "quasimodo.example/salvatore"
    assert len(notes._unb64(encoded)) == 4 + 64


FILE = """
version: 1
environments: {blue: {stores: {postgres: {kind: postgres, dsn: x}}}}
evidence:
  origin: example.com/audit
  keys:
    log: {file: keys/log.pem}
    performer: {environment: TL_PERFORMER}
    verifier: {kms: alias/verifier, region: eu-central-1}
  issuer: {legal_name: Example GmbH, role: processor, contact: privacy@vendor.example}
"""


def test_the_section_is_read(tmp_path: Path) -> None:
    found = config.loads(FILE, tmp_path / "lifecycle.yaml").evidence
    assert found.origin == "example.com/audit"
    assert found.keys["log"] == KeyConfig("file", str(tmp_path / "keys" / "log.pem"))
    assert found.keys["verifier"] == KeyConfig("kms", "alias/verifier", "eu-central-1")
    assert found.issuer is not None and found.issuer.legal_name == "Example GmbH"
    without = config.loads(FILE.partition("evidence:")[0], tmp_path / "lifecycle.yaml").evidence
    assert without == EvidenceConfig(DEFAULT_ORIGIN, {}, None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("origin: example.com/audit", "origin: an example", "no spaces"),
        ("log: {file", "logs: {file", "did you mean 'log'"),
        ("{file: keys/log.pem}", "{}", "one place"),
        ("{file: keys/log.pem}", "{file: a, kms: b}", "one place"),
        ("{file: keys/log.pem}", "{file: a, region: b}", "KMS's"),
        ("role: processor", "role: cloud", "not a valid choice"),
        ("legal_name: Example GmbH, ", "", "legal_name"),
    ],
)
def test_mistakes_in_the_section_are_told_with_their_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    assert old in FILE
    with pytest.raises(ConfigError, match=message) as wrong:
        config.loads(FILE.replace(old, new), tmp_path / "lifecycle.yaml")
    assert "lifecycle.yaml:" in str(wrong.value)


def test_environment_is_the_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(os.environ, "TL_KEY", raising=False)
    with pytest.raises(ConfigError, match="TL_KEY"):
        open_signer(Role.LOG, EvidenceConfig(keys={"log": KeyConfig("environment", "TL_KEY")}))
