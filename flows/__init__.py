"""One flow a file; each reads like a table of contents."""

import os

# Before Prefect is imported, which reads it then: its own server needs longer than the default of
# twenty seconds on a small or busy machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
