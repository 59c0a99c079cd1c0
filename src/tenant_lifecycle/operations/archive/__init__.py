"""The archiver: every change of every protected tenant into the repository, within the tier's seconds."""
