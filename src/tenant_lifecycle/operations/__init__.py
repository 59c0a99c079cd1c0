"""What is done to a tenant, one file per operation; steps that read like the page in docs/."""
