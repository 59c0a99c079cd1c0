"""RFC 3161 time-stamps, where the policy asks for them; read with ``rfc3161-client`` (extra ``timestamp``)."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tenant_certificate_verify.strict import Invalid


def check(folder: Path, envelope: bytes, roots: tuple[bytes, ...]) -> datetime | None:
    """When the envelope was stamped; None if the policy names no authority, whatever lies in the bundle.

    Raises:
        Invalid: there is no time-stamp, it cannot be checked, or it is not over this envelope.
    """
    if not roots:
        return None
    try:
        token = (folder / "timestamp.tsr").read_bytes()
    except OSError as error:
        raise Invalid("time-stamp: the policy asks for one and there is none") from error
    return _verified(token, envelope, roots)


def _verified(token: bytes, envelope: bytes, roots: tuple[bytes, ...]) -> datetime:
    try:
        from cryptography.x509 import load_der_x509_certificate
        from rfc3161_client import VerifierBuilder, decode_timestamp_response
        from rfc3161_client.errors import VerificationError
    except ImportError as error:
        raise Invalid("time-stamp: cannot be checked here; install the extra timestamp") from error
    try:
        response = decode_timestamp_response(token)
        builder = VerifierBuilder()
        for root in roots:
            builder = builder.add_root_certificate(load_der_x509_certificate(root))
        builder.build().verify_message(response, envelope)
    except (ValueError, VerificationError) as error:
        raise Invalid("time-stamp: not one of this certificate by an authority of the policy") from error
    return response.tst_info.gen_time.astimezone(UTC).replace(microsecond=0)
