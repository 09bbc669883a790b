"""Which conversations the fine-tuning component can use: its rules, applied before it is paid."""

import hashlib
import inspect
import sys
from collections.abc import Sequence
from typing import Any

MESSAGES = "messages"
FEWEST_TRAINING_ROWS = 10

EMPTY = "no messages"
SINGLE = "only one message"
MALFORMED = "a message without role and content as text"
NO_ASSISTANT = "no message of the assistant"
NO_USER = "no message of the user"


def why_unusable(messages: Any, *, for_training: bool) -> str | None:
    """The reason why a conversation is left out; None when it is used.

    `messages` is a list of {"role": str, "content": str}. Rows that are not trained on, but sent
    to the deployed model, need only something that a user says.
    """
    if not messages:
        return EMPTY
    if not isinstance(messages, Sequence) or not all(_is_message(message) for message in messages):
        return MALFORMED
    if not for_training:
        return None if _says(messages, "user") else NO_USER
    if len(messages) == 1:
        return SINGLE
    return None if _says(messages, "assistant") else NO_ASSISTANT


def _is_message(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("role"), str)
        and isinstance(message.get("content"), str)
    )


def _says(messages: Sequence[dict[str, str]], role: str) -> bool:
    return any(message["role"] == role and message["content"].strip() for message in messages)


def rules_version() -> str:
    """Changes whenever this file does, so that data checked by older rules is checked again."""
    return hashlib.sha256(inspect.getsource(sys.modules[__name__]).encode()).hexdigest()[:12]
