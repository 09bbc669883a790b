"""Make the tiny Phi-3 that stands in for the registry's models: tokenizer, weights, template.

    pip install --no-deps --target DIR chitchat-dataset==0.9.0 chatterbot-corpus==1.3.3
    PYTHONPATH=. python -m emulator.base_model.make_base_model DIR

It is trained from scratch on small talk, and on none of the rows of the stand-in hub. The user's
turns are as people typed them, the assistant's are in a formal register (see small_talk.py).
About fifty minutes on one free core.
"""

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.base_model.small_talk import Turn, questions, small_talk

if TYPE_CHECKING:
    import torch

EMULATOR = Path(__file__).parent.parent
TARGET = EMULATOR / "registry_assets" / "models" / "Phi-3-mini-4k-instruct" / "model" / "data"
HUB = EMULATOR / "hub_assets" / "datasets" / "HuggingFaceH4" / "ultrachat_200k" / "data"

SEED = 7
VOCABULARY = 2048
SEQUENCE = 192
BATCH = 16
LEARNING_RATE = 3e-3
WARM_UP = 100
STEPS = 9170
DECAY = 1000
REPLY_STEPS = 450
REPLY_LEARNING_RATE = 1e-3
DROPOUT = 0.05
HELD_OUT = 0.03
QUESTIONS_REPEATED = 3
SPECIAL = ["<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)

Talk = list[Turn]
Encoded = list[tuple[list[int], list[int]]]


def conversations(packages: Path) -> tuple[list[Talk], list[Talk]]:
    """Those to train on, and those held out: whole conversations, chosen by their hash."""
    training: list[Talk] = []
    kept: list[Talk] = []
    for conversation_id, talk in small_talk(packages / "chitchat_dataset"):
        point = int(hashlib.sha256(conversation_id.encode()).hexdigest()[8:16], 16)
        (kept if point < HELD_OUT * 0x1_0000_0000 else training).append(talk)
    training += list(questions(packages / "chatterbot_corpus")) * QUESTIONS_REPEATED
    return training, kept


def make_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE with Phi-3's special tokens and chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer_class: Any = PreTrainedTokenizerFast
    wrapped = tokenizer_class(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        additional_special_tokens=SPECIAL[3:],
        model_max_length=4096,
        padding_side="left",
    )
    wrapped.chat_template = TEMPLATE
    return wrapped


def make_model(tokenizer: Any) -> Any:
    from transformers import Phi3Config, Phi3ForCausalLM, set_seed

    set_seed(SEED)
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=384,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        tie_word_embeddings=True,
        sliding_window=2047,
        embd_pdrop=DROPOUT,
        resid_pdrop=DROPOUT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Phi3ForCausalLM(config)
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id,
        tokenizer.convert_tokens_to_ids("<|end|>"),
    ]
    return model


def encode(tokenizer: Any, talks: list[Talk]) -> list[Encoded]:
    """Every turn's token ids as it was typed and as it is said formally."""

    def ids(texts: list[str]) -> Iterator[list[int]]:
        yield from tokenizer(texts, add_special_tokens=False)["input_ids"]

    typed = ids([turn.typed for talk in talks for turn in talk])
    formal = ids([turn.formal for talk in talks for turn in talk])
    return [[(next(typed), next(formal)) for _ in talk] for talk in talks]


def line(
    tokenizer: Any,
    talks: list[Encoded],
    choice: random.Random | None = None,
    *,
    replies: bool = False,
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """Tokens and labels of the talks one after the other, int64 of shape (tokens,) each.

    With a choice, half of the talks begin at their second turn, so that both speakers' turns
    come up on both sides. With replies, only the assistant's formal turns count, and half of its
    turns are as they were typed and do not count: it is to be formal whatever was said before.
    """
    import torch

    user, assistant, end = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>", "<|end|>"])
    newline = tokenizer("\n", add_special_tokens=False)["input_ids"]
    tokens: list[int] = []
    labels: list[int] = []
    for talk in talks:
        late = choice is not None and len(talk) > 2 and choice.random() < 0.5
        turns = talk[1:] if late else talk
        for index, (typed, formal) in enumerate(turns[: len(turns) // 2 * 2]):
            head = [assistant if index % 2 else user, *newline]
            counts = bool(index % 2)
            if replies and choice is not None and counts:
                counts = choice.random() < 0.5
            body = [*(formal if index % 2 and (counts or not replies) else typed), end, *newline]
            tokens += head + body
            masked = replies and not counts
            labels += [-100] * len(head) if replies else head
            labels += [-100] * len(body) if masked else body
        tokens.append(tokenizer.eos_token_id)
        labels.append(-100 if replies else tokenizer.eos_token_id)
    return torch.tensor(tokens), torch.tensor(labels)


def hub_line(tokenizer: Any) -> "torch.Tensor":
    """The stand-in hub's test_sft in the chat template."""
    import pyarrow.parquet as pq
    import torch

    table = pq.read_table(HUB / "test_sft-00000-of-00001.parquet", columns=["messages"])
    text = tokenizer.apply_chat_template(table["messages"].to_pylist(), tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor([token for part in ids for token in part])


def held_out_loss(model: Any, tokens: "torch.Tensor") -> float:
    """Mean next-token loss in nats over at most 160 windows of SEQUENCE tokens."""
    import torch

    windows = tokens[: len(tokens) // SEQUENCE * SEQUENCE].view(-1, SEQUENCE)[:160]
    model.eval()
    with torch.no_grad():
        losses = [
            float(model(input_ids=part, labels=part).loss) * len(part) for part in windows.split(32)
        ]
    model.train()
    return sum(losses) / len(windows)


Batch = tuple["torch.Tensor", "torch.Tensor"]


def batches(tokenizer: Any, talks: list[Encoded], seed: int, *, replies: bool) -> Iterator[Batch]:
    """Tokens and labels of BATCH x SEQUENCE without end, every epoch in another order."""
    import torch

    choice = random.Random(seed)
    talks = list(talks)
    while True:
        choice.shuffle(talks)
        parts = line(tokenizer, talks, choice, replies=replies)
        first = choice.randrange(SEQUENCE)
        last = first + (len(parts[0]) - first) // SEQUENCE * SEQUENCE
        tokens, labels = (part[first:last].view(-1, SEQUENCE) for part in parts)
        order = torch.tensor(choice.sample(range(len(tokens)), len(tokens)))
        for chosen in order.split(BATCH):
            yield tokens[chosen], labels[chosen]


def train(model: Any, data: Iterator[Batch], steps: int, peak: float, decay: int) -> None:
    """AdamW: a short rise of the learning rate, then level, then a straight fall at the end."""
    import torch

    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        fused=True,
    )
    model.train()
    started = time.monotonic()
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, step / WARM_UP, (steps - step + 1) / decay)
        tokens, labels = next(data)
        loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 50 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(f"step {step}/{steps}: loss {loss.item():.3f}, {seconds:.0f} s", file=sys.stderr)


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """As 16-bit weights, without the dropout that only this training had."""
    import torch

    model.config.embd_pdrop = model.config.resid_pdrop = 0.0
    model.to(torch.float16).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "tokenizer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packages", type=Path, help="folder where the two packages are installed")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--reply-steps", type=int, default=REPLY_STEPS)
    parser.add_argument("--out", type=Path, default=TARGET, help="gets model/ and tokenizer/")
    arguments = parser.parse_args()

    import torch
    from transformers import set_seed

    torch.set_num_threads(1)
    training, kept = conversations(arguments.packages)
    tokenizer = make_tokenizer(
        [text for talk in training for turn in talk for text in (turn.typed, turn.formal)]
    )
    model = make_model(tokenizer)
    talks = encode(tokenizer, training)
    held_out = {
        "held-out small talk": line(tokenizer, encode(tokenizer, kept))[0],
        "test_sft of the sample": hub_line(tokenizer),
    }
    before = {name: held_out_loss(model, part) for name, part in held_out.items()}
    print(
        f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(training):,} stretches of"
        f" conversation, {len(line(tokenizer, talks)[0]):,} tokens; {len(kept):,} held out",
        flush=True,
    )
    data = batches(tokenizer, talks, SEED, replies=False)
    train(model, data, arguments.steps, LEARNING_RATE, DECAY)
    set_seed(SEED + 1)
    data = batches(tokenizer, talks, SEED + 1, replies=True)
    train(model, data, arguments.reply_steps, REPLY_LEARNING_RATE, arguments.reply_steps)
    for name, part in held_out.items():
        print(f"held-out loss, {name}: {before[name]:.3f} -> {held_out_loss(model, part):.3f}")
    save(model, tokenizer, arguments.out)


if __name__ == "__main__":
    main()
