"""``python -m tenant_lifecycle.cli``: the same as ``tenantctl``."""

from tenant_lifecycle.cli.program import main

raise SystemExit(main())
