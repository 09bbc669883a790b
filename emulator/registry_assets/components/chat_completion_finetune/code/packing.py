"""The same loss from fewer operations: no padding is computed, and no logits that nobody learns.

A batch comes padded, as ever. Its real tokens go through the model as one row, in which a token
attends to its own conversation only; the output layer sees the tokens whose successor is learned.
"""

from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, Trainer

PACKED = "packed_sdpa"
PACKABLE = frozenset({"llama", "mistral", "phi3", "qwen2", "qwen3"})
"""Architectures (model_type) in which tokens meet in the attention and nowhere else."""


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    lengths: list[int],
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of conversations that stand one behind the other.

    query, key, value: (1, heads, tokens, head size), tokens = sum of `lengths`; there may be fewer
    heads of keys and values. Returns (1, tokens, heads, head size), and no weights.
    """
    parts = [
        functional.scaled_dot_product_attention(
            *triple,
            attn_mask=_window(length, sliding_window, query.device),
            is_causal=not sliding_window or length <= sliding_window,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=key.shape[1] != query.shape[1],
        )
        for length, *triple in zip(
            lengths, *(states.split(lengths, dim=2) for states in (query, key, value)), strict=True
        )
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _window(length: int, size: int | None, device: torch.device) -> torch.Tensor | None:
    """(length, length), true where a token sees another; None where it sees all before it."""
    if not size or length <= size:
        return None
    place = torch.arange(length, device=device)
    behind = place[:, None] - place
    return (behind >= 0) & (behind < size)


AttentionInterface.register(PACKED, attend)


class PackedTrainer(Trainer):
    """A Trainer that packs the batches of a model with this attention."""

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The mean cross entropy of the learned tokens; its parts are (rows, length) tensors."""
        if self.model.config._attn_implementation != PACKED:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        real = inputs["attention_mask"].bool()
        successors = functional.pad(inputs["labels"], (0, 1), value=-100)[:, 1:][real]
        learned = (successors != -100).nonzero().squeeze(1)
        outputs = model(
            input_ids=inputs["input_ids"][real][None],
            position_ids=(inputs["attention_mask"].cumsum(1) - 1)[real][None],
            lengths=inputs["attention_mask"].sum(1).tolist(),
            logits_to_keep=learned,
            use_cache=False,
        )
        total = functional.cross_entropy(
            outputs.logits[0].float(), successors[learned], reduction="sum"
        )
        count = len(learned) if num_items_in_batch is None else num_items_in_batch
        return (total / count, outputs) if return_outputs else total / count
