"""Which conversations the fine-tuning component can use, applied before it is paid, and how they
are written.
"""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from typing import Any

import orjson

MESSAGES = "messages"
FEWEST_TRAINING_ROWS = 10

EMPTY = "no messages"
SINGLE = "only one message"
MALFORMED = "a message without role and content as text"
NO_ASSISTANT = "no message of the assistant"
NO_USER = "no message of the user"

_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_APPEND_NEWLINE
"""Dates and times are written as Python shows them."""


def why_unusable(messages: Any, *, for_training: bool) -> str | None:
    """The reason why a conversation is left out; None when it is used.

    `messages` is a list of {"role": str, "content": str}. Rows that are not trained on, but sent
    to the deployed model, need only something that a user says.
    """
    if not messages:
        return EMPTY
    if not isinstance(messages, Sequence):
        return MALFORMED
    wanted = "assistant" if for_training else "user"
    says = False
    # One plain loop: of a large dataset this is called for every row.
    for message in messages:
        if not isinstance(message, dict):
            return MALFORMED
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or not isinstance(content, str):
            return MALFORMED
        if not says and role == wanted and content.strip():
            says = True
    if for_training and len(messages) == 1:
        return SINGLE
    if says:
        return None
    return NO_ASSISTANT if for_training else NO_USER


def line_of(row: dict[str, Any]) -> bytes:
    """The row as one line of JSON: always the same bytes for the same values."""
    return orjson.dumps(row, default=str, option=_OPTIONS)


def rules_version() -> str:
    """Changes whenever this file does, so that data checked by older rules is checked again."""
    return hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()[:12]
