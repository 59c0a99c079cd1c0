"""``python -m tenant_certificate_verify``."""

from tenant_certificate_verify.cli import main

raise SystemExit(main())
