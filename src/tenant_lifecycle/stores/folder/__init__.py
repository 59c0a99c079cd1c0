"""A folder of log files as a store: rewritten line by line, and searched file by file."""
