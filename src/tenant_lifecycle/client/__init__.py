"""What an application imports: find the writer, write, and follow the tenant when it moves."""
