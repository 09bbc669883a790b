"""Make the tiny Phi-3 that stands in for the registry's models: tokenizer, weights, template.

    pip install --no-deps --target DIR chatterbot-corpus==1.3.3 zaragoza-construction-faq==1.2.1
    python emulator/base_model/make_base_model.py DIR

It is trained from scratch on help-desk, quiz and building questions, and on none of the
conversations of the stand-in hub: fine-tuning on those then has something to learn.
About a minute on one free core.
"""

import argparse
import json
import math
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

EMULATOR = Path(__file__).parent.parent
TARGET = EMULATOR / "registry_assets" / "models" / "Phi-3-mini-4k-instruct" / "model" / "data"
HELD_OUT = EMULATOR / "hub_assets" / "datasets" / "HuggingFaceH4" / "ultrachat_200k" / "data"

SEED = 7
VOCABULARY = 1024
SEQUENCE = 128
BATCH = 16
LEARNING_RATE = 3e-3
WARM_UP = 50
TOPICS = [
    *("ai", "botprofile", "coding", "computers", "conversations", "food", "greetings", "health"),
    *("history", "literature", "money", "movies", "science", "sports", "tech_support", "trivia"),
]
SPECIAL = ["<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)

Conversation = list[dict[str, str]]


def conversation(texts: list[str]) -> Conversation:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def help_desk(packages: Path) -> list[Conversation]:
    """chatterbot-corpus: question and answer pairs, each once."""
    import yaml

    found: dict[str, Conversation] = {}
    for topic in TOPICS:
        path = packages / "chatterbot_corpus" / "data" / "english" / f"{topic}.yml"
        for texts in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            texts = [str(text).strip() for text in texts][: len(texts) // 2 * 2]
            if texts:
                found.setdefault(json.dumps(texts), conversation(texts))
    return list(found.values())


def building_questions(packages: Path) -> list[Conversation]:
    """zaragoza-construction-faq: the English half."""
    path = packages / "zaragoza_construction_faq" / "data" / "faq-en-alpaca.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [conversation([row["instruction"], row["output"]]) for row in rows]


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
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        intermediate_size=192,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        tie_word_embeddings=True,
        sliding_window=2047,
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


def encode(tokenizer: Any, conversations: list[Conversation]) -> "torch.Tensor":
    """All conversations as one line of token ids, int64 of shape (tokens,)."""
    import torch

    text = tokenizer.apply_chat_template(conversations, tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor([token for part in ids for token in part])


def held_out_loss(model: Any, tokens: "torch.Tensor") -> float:
    """Mean next-token loss in nats over at most 160 windows of SEQUENCE tokens."""
    import torch

    windows = tokens[: len(tokens) // SEQUENCE * SEQUENCE].view(-1, SEQUENCE)[:160]
    model.eval()
    with torch.no_grad():
        losses = [
            float(
                model(
                    input_ids=windows[start : start + 32], labels=windows[start : start + 32]
                ).loss
            )
            for start in range(0, len(windows), 32)
        ]
    model.train()
    return sum(losses) / len(losses)


def train(model: Any, tokens: "torch.Tensor", steps: int) -> None:
    """AdamW with warm-up and cosine decay on random windows of the token line."""
    import torch

    optimizer = torch.optim.AdamW(
        model.parameters(), lr=LEARNING_RATE, weight_decay=0.1, betas=(0.9, 0.95)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            min(1.0, (step + 1) / WARM_UP)
            * (0.1 + 0.45 * (1 + math.cos(math.pi * min(1.0, step / steps))))
        ),
    )
    generator = torch.Generator().manual_seed(SEED)
    started = time.monotonic()
    model.train()
    for step in range(1, steps + 1):
        starts = torch.randint(0, len(tokens) - SEQUENCE, (BATCH,), generator=generator)
        batch = torch.stack([tokens[start : start + SEQUENCE] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 200 == 0 or step == steps:
            seconds = time.monotonic() - started
            print(f"step {step}/{steps}: loss {loss.item():.3f}, {seconds:.0f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("packages", type=Path, help="folder where the two packages are installed")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--out", type=Path, default=TARGET, help="gets model/ and tokenizer/")
    arguments = parser.parse_args()

    import pyarrow.parquet as pq
    import torch

    torch.set_num_threads(1)
    own = help_desk(arguments.packages) + building_questions(arguments.packages)
    random.Random(SEED).shuffle(own)
    kept, training = own[: len(own) // 20], own[len(own) // 20 :]
    tokenizer = make_tokenizer([m["content"] for talk in training for m in talk])
    model = make_model(tokenizer)
    test = pq.read_table(HELD_OUT / "test_sft-00000-of-00001.parquet", columns=["messages"])
    held_out = {
        "its own domain": encode(tokenizer, kept),
        "test_sft of the sample": encode(tokenizer, test["messages"].to_pylist()),
    }
    tokens = encode(tokenizer, training)
    before = {name: held_out_loss(model, part) for name, part in held_out.items()}
    train(model, tokens, arguments.steps)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {len(training)} conversations, {len(tokens):,} tokens")
    for name, part in held_out.items():
        print(f"held-out loss, {name}: {before[name]:.3f} -> {held_out_loss(model, part):.3f}")
    model.to(torch.float16).save_pretrained(arguments.out / "model")
    tokenizer.save_pretrained(arguments.out / "tokenizer")


if __name__ == "__main__":
    main()
