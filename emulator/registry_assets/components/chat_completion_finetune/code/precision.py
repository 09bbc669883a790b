"""Which arithmetic a training uses."""

from dataclasses import dataclass
from typing import Any, Literal

Arithmetic = Literal["bf16", "fp16", "fp32"]


@dataclass(frozen=True)
class Machine:
    """What the training finds: a GPU or none, and whether its circuits know bf16."""

    gpu: str | None
    has_bf16: bool = False


def find_machine() -> Machine:
    """The GPU of this process. PyTorch also emulates bf16, slower than fp16: that is not had."""
    import torch

    if not torch.cuda.is_available():
        return Machine(None)
    return Machine(
        torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False)
    )


def arithmetic(precision: str, machine: Machine) -> Arithmetic:
    """The arithmetic for precision 16 or 32: 16 bits on a GPU only, bf16 where there is."""
    if machine.gpu is None or precision == "32":
        return "fp32"
    return "bf16" if machine.has_bf16 else "fp16"


def announcement(kind: Arithmetic, machine: Machine) -> str:
    """The line that a person reads in the log."""
    words: dict[str, Any] = {"bf16": "bf16", "fp16": "fp16", "fp32": "32 bits"}
    if machine.gpu is None:
        return f"No GPU here: training on the CPU in {words[kind]}, with one thread."
    return f"Training on {machine.gpu} in {words[kind]}."
