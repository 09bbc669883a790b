"""A local Azure ML: the service's own REST protocol, spoken to the unmodified SDK."""
