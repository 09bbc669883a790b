"""One flow a file; each reads like a table of contents."""

import atexit
import gc
import os
import time

BEGAN = time.monotonic()
"""When this process began to import the flows."""

# What the libraries make when they are imported stays until the end: looking through it for garbage
# again and again made a fifth of the start, and the end of the process a second longer.
gc.set_threshold(50_000, 20, 50)
atexit.register(gc.freeze)

# Before Prefect is imported, which reads them then. Its own server needs longer than the default of
# twenty seconds on a small or busy machine; and a busy one answers 503 for longer than five tries.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "8")
