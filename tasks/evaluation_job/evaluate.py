"""How well a chat model does on conversations that it has not seen: loss, perplexity, ROUGE-L.

Runs as an Azure ML job and needs torch and transformers. Writes OUT/scores.json:

    loss        mean negative log likelihood of a token, in nats, over the assistant's messages and
                the tokens that end them; everything else is read but not scored
    perplexity  exp(loss)
    characters  of the text that was scored: models with other tokens compare by loss * tokens /
                characters
    rouge_l     mean ROUGE-L F1 (0 to 1) of greedy replies against the last assistant's message
                of the first conversations; null where none was asked for
"""

import argparse
import json
import math
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Messages = list[dict[str, str]]

_IGNORED = -100  # the label that the loss leaves out
_LOGIT_BYTES = 1 << 30
"""Most memory for the logits of one batch."""
_MOST_TOKENS = 16_384
"""Most tokens of one batch."""
_REPLIES_AT_ONCE = 8


def main() -> None:
    options = _parser().parse_args()
    model, tokenizer = load(options.model)
    conversations = read_conversations(options.rows, options.count)
    scores: dict[str, Any] = likelihood(model, tokenizer, conversations, options.max_length)
    print(f"loss {scores['loss']:.4f} over {scores['tokens']} tokens", flush=True)
    replies = reply_to(model, tokenizer, conversations[: options.replies], options)
    if replies:
        scores["rouge_l"] = sum(reply["rouge_l"] for reply in replies) / len(replies)
        print(f"ROUGE-L {scores['rouge_l']:.4f} over {len(replies)} replies", flush=True)
    scores |= {"device": str(model.device), "dtype": str(model.dtype), "replies": replies}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "scores.json").write_text(json.dumps(scores, indent=2), encoding="utf-8")
    log_metrics({name: scores[name] for name in ("loss", "perplexity", "rouge_l")})


def load(folder: Path) -> tuple[Any, Any]:
    """The model and its tokenizer out of an MLflow model's folder, or a transformers one."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model_folder, tokenizer_folder = find_parts(folder)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    if not tokenizer.chat_template:
        raise SystemExit(f"The tokenizer in {tokenizer_folder} has no chat template.")
    gpu = torch.cuda.is_available()
    dtype = torch.bfloat16 if gpu and torch.cuda.is_bf16_supported() else torch.float32
    kind: Any = AutoModelForCausalLM
    if not (model_folder / "config.json").is_file():  # an adapter that was not merged
        try:
            import peft
        except ImportError:
            raise SystemExit(
                f"{model_folder} holds an adapter that was not merged, and this environment has "
                "no peft: choose one that has it, or merge the adapter when training."
            ) from None

        kind = peft.AutoPeftModelForCausalLM
    model = kind.from_pretrained(model_folder, torch_dtype=dtype)
    return model.to("cuda" if gpu else "cpu").eval(), tokenizer


def find_parts(folder: Path) -> tuple[Path, Path]:
    """The folders of the weights and of the tokenizer."""
    for model, tokenizer in (
        ("model", "components/tokenizer"),
        ("data/model", "data/tokenizer"),
        ("model", "tokenizer"),
        (".", "."),
    ):
        for name in ("config.json", "adapter_config.json"):
            if (folder / model / name).is_file():
                return folder / model, folder / tokenizer
    raise SystemExit(f"{folder} holds no transformers model.")


def read_conversations(file: Path, count: int) -> list[Messages]:
    """The messages of the first `count` rows of a JSON Lines file that have an assistant's one."""
    found: list[Messages] = []
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            messages = json.loads(line)["messages"]
            if any(message["role"] == "assistant" for message in messages[1:]):
                found.append(messages)
            if len(found) == count:
                break
    if not found:
        raise SystemExit(f"{file.name} has no conversation with an assistant's message.")
    return found


def likelihood(
    model: Any, tokenizer: Any, conversations: Sequence[Messages], max_length: int
) -> dict[str, Any]:
    """Loss and perplexity over the assistant's tokens of the conversations."""
    import torch

    examples = [label(tokenizer, messages, max_length) for messages in conversations]
    examples = [(ids, labels) for ids, labels in examples if any(x != _IGNORED for x in labels[1:])]
    total, tokens, characters = 0.0, 0, 0
    for batch in batches(examples, int(model.config.vocab_size)):
        longest = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([i + [0] * (longest - len(i)) for i, _ in batch])
        labels = torch.tensor([x + [_IGNORED] * (longest - len(x)) for _, x in batch])
        seen = torch.tensor([[1] * len(i) + [0] * (longest - len(i)) for i, _ in batch])
        with torch.inference_mode():
            logits = model(ids.to(model.device), attention_mask=seen.to(model.device)).logits
            wanted = labels[:, 1:].to(model.device)
            chosen = logits[:, :-1][wanted != _IGNORED].float()
            targets = wanted[wanted != _IGNORED]
            total += float(torch.nn.functional.cross_entropy(chosen, targets, reduction="sum"))
            tokens += int(targets.numel())
        for _, wanted_ids in batch:
            said = [token for token in wanted_ids[1:] if token != _IGNORED]
            characters += len(tokenizer.decode(said, skip_special_tokens=True))
    if not tokens:
        raise SystemExit("No token of an assistant's message lies within the maximum length.")
    loss = total / tokens
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return {
        "loss": loss,
        "perplexity": perplexity if math.isfinite(perplexity) else None,
        "rouge_l": None,
        "rows": len(examples),
        "tokens": tokens,
        "characters": characters,
    }


def label(tokenizer: Any, messages: Messages, max_length: int) -> tuple[list[int], list[int]]:
    """The conversation's tokens, and beside each its label: itself where an assistant says it.

    What an assistant says is what the template adds by that message, after the words that ask
    for it.
    """
    whole = tokens_of(tokenizer, messages)
    labels = [_IGNORED] * len(whole)
    for index, message in enumerate(messages):
        if message["role"] != "assistant" or index == 0:
            continue
        before = tokens_of(tokenizer, messages[:index], asking=True)
        after = tokens_of(tokenizer, messages[: index + 1])
        start, end = common(before, whole), common(after, whole)
        labels[start:end] = whole[start:end]
    return whole[:max_length], labels[:max_length]


def tokens_of(tokenizer: Any, messages: Messages, asking: bool = False) -> list[int]:
    """The tokens of the messages; `asking`: with the words after which an assistant speaks."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=asking)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens both begin with."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))


def batches(
    examples: Sequence[tuple[list[int], list[int]]], vocabulary: int
) -> Iterator[list[tuple[list[int], list[int]]]]:
    """The examples by length, as many at once as their logits have room for."""
    room = max(1, min(_MOST_TOKENS, _LOGIT_BYTES // (4 * vocabulary)))
    batch: list[tuple[list[int], list[int]]] = []
    for example in sorted(examples, key=lambda pair: len(pair[0])):
        if batch and len(example[0]) * (len(batch) + 1) > room:
            yield batch
            batch = []
        batch.append(example)
    if batch:
        yield batch


def reply_to(
    model: Any, tokenizer: Any, conversations: Sequence[Messages], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A greedy reply to each conversation up to its last assistant's message, which stands by."""
    import torch

    asked = [split(messages) for messages in conversations]
    room = max(1, options.max_length - options.max_new_tokens)
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    found: list[dict[str, Any]] = []
    for first in range(0, len(asked), _REPLIES_AT_ONCE):
        group = asked[first : first + _REPLIES_AT_ONCE]
        prompts = [tokens_of(tokenizer, before, asking=True)[-room:] for before, _ in group]
        longest = max(map(len, prompts))
        ids = torch.tensor([[padding] * (longest - len(p)) + p for p in prompts])
        seen = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        with torch.inference_mode():
            made = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=seen.to(model.device),
                do_sample=False,
                max_new_tokens=options.max_new_tokens,
                pad_token_id=padding,
            )
        texts = tokenizer.batch_decode(made[:, longest:], skip_special_tokens=True)
        for (before, expected), text in zip(group, texts, strict=True):
            score = rouge_l(expected, text)
            question = before[-1]["content"] if before else ""
            found.append(
                {"asked": question, "expected": expected, "reply": text.strip(), "rouge_l": score}
            )
    return found


def split(messages: Messages) -> tuple[Messages, str]:
    """What comes before the last assistant's message, and that message."""
    for index in range(len(messages) - 1, 0, -1):
        if messages[index]["role"] == "assistant":
            return messages[:index], messages[index]["content"]
    raise ValueError("no assistant's message")


def rouge_l(expected: str, reply: str) -> float:
    """ROUGE-L F1 of the words, 0 to 1: lower case, runs of letters a to z and of digits.

    Written out, because the images that jobs run in do not all have a package for it.
    """
    first, second = words(expected), words(reply)
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for index, other in enumerate(second, start=1):
            above = row[index]
            row[index] = diagonal + 1 if word == other else max(above, row[index - 1])
            diagonal = above
    common_words = row[-1]
    return 2 * common_words / (len(first) + len(second)) if common_words else 0.0


def words(text: str) -> list[str]:
    """The words as ROUGE counts them."""
    return re.findall(r"[a-z0-9]+", text.lower())


def log_metrics(metrics: dict[str, float | None]) -> None:
    """Log the metrics with the job, where there is one; scores.json has them in any case."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        return
    try:
        import mlflow

        mlflow.log_metrics({name: value for name, value in metrics.items() if value is not None})
    except Exception as error:  # no MLflow, or none that knows the workspace's address
        print(f"The metrics are not logged with MLflow: {error}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Score a chat model on held-out conversations.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--replies", type=int, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    parser.add_argument("--max-length", type=int, required=True)
    return parser


if __name__ == "__main__":
    main()
