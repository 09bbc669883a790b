"""Rules about VM sizes: what a model allows and what the region offers. Names ignore case."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

from tasks.errors import SizeNotAllowed
from tasks.values import ClusterSize

Purpose = Literal["fine-tuning", "serving"]

# K80 sizes: they have too little memory for any of these models. Used where the registry gives
# no list of allowed sizes.
DENIED_SIZES = ("Standard_NC6", "Standard_NC12", "Standard_NC24", "Standard_NC24r")


def check_size(
    size: str,
    allowed: Sequence[str] | None,
    purpose: Purpose,
    model_name: str,
    denied: Sequence[str] = DENIED_SIZES,
) -> None:
    """Raise SizeNotAllowed unless the model may be fine-tuned or served on the VM size.

    `allowed` is the registry's list for the purpose; without one (None) everything but `denied`
    is taken.
    """
    known = {name.lower() for name in (denied if allowed is None else allowed)}
    if allowed is None and size.lower() in known:
        raise SizeNotAllowed(
            f"{size} is not supported for {purpose} {model_name}: "
            "its K80 GPUs have too little memory.",
            f"Choose a size other than {', '.join(denied)}.",
        )
    if allowed is not None and size.lower() not in known:
        raise SizeNotAllowed(
            f"{size} is not allowed for {purpose} {model_name}.",
            f"Allowed: {', '.join(allowed) or 'none'}.",
        )


def find_size(
    name: str, sizes: Sequence[ClusterSize], allowed: Sequence[str] | None = None
) -> ClusterSize:
    """The VM size as the workspace's region offers it; SizeNotAllowed when it does not."""
    offered = {size.name.lower(): size for size in sizes}
    if found := offered.get(name.lower()):
        return found
    names = [size.name for size in sizes]
    if allowed is not None:
        wanted = {size.lower() for size in allowed}
        fitting = [size for size in names if size.lower() in wanted]
        advice = (
            f"Allowed and offered there: {', '.join(fitting)}."
            if fitting
            else "None of the allowed sizes is offered there: choose another region."
        )
    else:
        lower = get_close_matches(name.lower(), list(offered), n=5, cutoff=0.6)
        near = [offered[match].name for match in lower] or names[:10]
        advice = f"Nearest offered: {', '.join(near)}." if near else "It offers no size at all."
    raise SizeNotAllowed(f"{name} is not offered in the workspace's region.", advice)
