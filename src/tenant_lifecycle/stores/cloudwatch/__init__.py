"""Amazon CloudWatch Logs: streams of tenants are deleted, streams that tenants share are written anew."""
