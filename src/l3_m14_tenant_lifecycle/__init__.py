"""Tenant lifecycle as ten functions, for notebooks: a thin facade over `tenant_lifecycle`.

``offline=True`` touches nothing: it checks what was given and says what would be done. ``offline=False`` does
it, with the installation that ``TENANT_LIFECYCLE_CONFIG`` or ``./lifecycle.yaml`` describes; what this version
cannot do raises `NotAvailable`.
"""

from l3_m14_tenant_lifecycle.backup import create_tenant_backup, restore_tenant_backup
from l3_m14_tenant_lifecycle.certificate import generate_deletion_certificate
from l3_m14_tenant_lifecycle.cloning import clone_tenant
from l3_m14_tenant_lifecycle.consistency import verify_data_consistency
from l3_m14_tenant_lifecycle.erasure import execute_gdpr_deletion, verify_gdpr_deletion
from l3_m14_tenant_lifecycle.migration import migrate_tenant_blue_green
from l3_m14_tenant_lifecycle.rollback import rollback_migration
from l3_m14_tenant_lifecycle.status import MigrationStatus
from tenant_lifecycle.errors import NotAvailable

__all__ = [
    "MigrationStatus",
    "NotAvailable",
    "clone_tenant",
    "create_tenant_backup",
    "execute_gdpr_deletion",
    "generate_deletion_certificate",
    "migrate_tenant_blue_green",
    "restore_tenant_backup",
    "rollback_migration",
    "verify_data_consistency",
    "verify_gdpr_deletion",
]
