"""Batch scoring: invocations of batch endpoints, which are pipeline jobs of the workspace."""
