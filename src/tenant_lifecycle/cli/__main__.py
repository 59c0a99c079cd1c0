"""``python -m tenant_lifecycle.cli`` is tenantctl, where no script is installed."""

import sys

from tenant_lifecycle.cli.program import main

sys.exit(main())
