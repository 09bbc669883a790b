"""Train the base model on tokenized conversations with the transformers Trainer, and save the best.

Writes to pytorch_model_folder the best model as a Hugging Face folder, its tokenizer,
training.json, and the checkpoints that the training kept.
"""

import argparse
import json
import os
import shutil
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from arguments import UserError, parse_arguments  # type: ignore[import-not-found]
from metrics import log_metrics  # type: ignore[import-not-found]
from precision import (  # type: ignore[import-not-found]
    Arithmetic,
    announcement,
    arithmetic,
    find_machine,
)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# One process trains; with more GPUs in sight the Trainer would split every batch among them.
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
OUT_OF_MEMORY = (
    "There is not enough {kind} memory on the machine to do the operation. Please try: "
    "1. Running the experiment on a VM with higher {kind} memory. "
    "2. Decreasing the `per_device_train_batch_size`. 3. Enabling LoRA or Deepspeed or ORT."
)


def main() -> None:
    a = parse_arguments()
    say_what_is_not_used(a)
    print("Loading torch and transformers ...", flush=True)
    import torch
    import transformers
    from packing import PackedTrainer  # type: ignore[import-not-found]

    warnings.filterwarnings("ignore", category=FutureWarning)
    machine = find_machine()
    kind = arithmetic(a.precision, machine)
    if machine.gpu is None:
        torch.set_num_threads(1)
    print(announcement(kind, machine), flush=True)
    summary = json.loads((a.preprocess_output / "summary.json").read_text())
    tokenizer = transformers.AutoTokenizer.from_pretrained(a.preprocess_output / "tokenizer")
    train, validation = (read_split(a.preprocess_output, s) for s in ("train", "validation"))

    if a.enable_full_determinism == "true":
        transformers.enable_full_determinism(a.seed)
    # Before the adapter is made: its first values are random.
    transformers.set_seed(a.seed)
    model, dtype = load_model(a)
    trainer = PackedTrainer(
        model=model,
        args=training_arguments(a, kind, len(train)),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=Collator(tokenizer.pad_token_id or 0, summary["pad_to"]),
        callbacks=callbacks(a, summary["rows"]["train"]["tokens"]),
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    before = trainer.evaluate()["eval_loss"]
    result = trainer.train(resume_from_checkpoint=newest_checkpoint(a))
    # The best model is loaded by now; its loss was measured when its checkpoint was saved.
    after = trainer.state.best_metric or trainer.evaluate()["eval_loss"]
    save(a, trainer, tokenizer, dtype)
    metadata = json.loads((a.model_selector_output / "metadata.json").read_text())
    facts = {
        "base_model_name": metadata["base_model_name"],
        "eval_loss_before": before,
        "eval_loss": after,
        "steps": trainer.state.global_step,
        "best_checkpoint": Path(trainer.state.best_model_checkpoint or "").name or None,
        **result.metrics,
    }
    (a.pytorch_model_folder / "training.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"Done: evaluation loss {before:.3f} before, {after:.3f} after the training.")


def say_what_is_not_used(a: argparse.Namespace) -> None:
    if a.apply_deepspeed == "true":
        print(f"DeepSpeed (stage {a.deepspeed_stage}) is not used here: one process trains.")
    if a.apply_ort == "true":
        print("ONNX Runtime is not used: no fine-tuning task supports it.")


def read_split(folder: Path, split: str) -> list[dict[str, list[int]]]:
    """Token ids, and labels that are -100 wherever the assistant does not speak."""
    rows = []
    for line in (folder / f"{split}.jsonl").read_text().splitlines():
        row = json.loads(line)
        labels = [-100] * len(row["input_ids"])
        for start, end in row["assistant"]:
            labels[start:end] = row["input_ids"][start:end]
        rows.append({"input_ids": row["input_ids"], "labels": labels})
    return rows


class Collator:
    """Rows to a batch of tensors, padded on the right to the longest row or to a fixed length."""

    def __init__(self, pad: int, length: int | None) -> None:
        self.pad = pad
        self.length = length

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Any]:
        import torch

        length = self.length or max(len(row["input_ids"]) for row in rows)

        def padded(values: list[int], filler: int) -> list[int]:
            return values + [filler] * (length - len(values))

        return {
            "input_ids": torch.tensor([padded(r["input_ids"], self.pad) for r in rows]),
            "labels": torch.tensor([padded(r["labels"], -100) for r in rows]),
            "attention_mask": torch.tensor([padded([1] * len(r["labels"]), 0) for r in rows]),
        }


def load_model(a: argparse.Namespace) -> tuple[Any, Any]:
    """The base model in 32 bits, with an adapter if one is wanted; and the type it was saved in."""
    import torch
    from packing import PACKABLE, PACKED
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = a.model_selector_output / "model"
    config = AutoConfig.from_pretrained(folder)
    saved_as = config.dtype or torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation=PACKED if config.model_type in PACKABLE else None,
        ignore_mismatched_sizes=a.ignore_mismatched_sizes == "true",
    )
    parameters = sum(p.numel() for p in model.parameters())
    if a.apply_lora == "true":
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(
            model,
            LoraConfig(
                r=a.lora_r,
                lora_alpha=a.lora_alpha,
                lora_dropout=a.lora_dropout,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(f"Model: {parameters:,} parameters, {trained:,} of them are trained.", flush=True)
    return model, saved_as


def training_arguments(a: argparse.Namespace, kind: Arithmetic, rows: int) -> Any:
    import torch
    from transformers import TrainingArguments

    strategy = "no" if a.evaluation_strategy == "disable" else a.evaluation_strategy
    eval_steps = a.eval_steps
    if a.evaluation_steps_interval > 0:
        batch = a.per_device_train_batch_size * a.gradient_accumulation_steps
        eval_steps = max(1, int(a.evaluation_steps_interval * rows / batch))
    gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(a.pytorch_model_folder),
        num_train_epochs=a.num_train_epochs,
        max_steps=a.max_steps,
        per_device_train_batch_size=a.per_device_train_batch_size,
        per_device_eval_batch_size=a.per_device_eval_batch_size,
        auto_find_batch_size=a.auto_find_batch_size == "true",
        optim="adamw_torch_fused" if a.optim == "adamw_torch" else a.optim,
        learning_rate=a.learning_rate,
        warmup_steps=a.warmup_steps,
        weight_decay=a.weight_decay,
        adam_beta1=a.adam_beta1,
        adam_beta2=a.adam_beta2,
        adam_epsilon=a.adam_epsilon,
        gradient_accumulation_steps=a.gradient_accumulation_steps,
        eval_accumulation_steps=a.eval_accumulation_steps
        if a.eval_accumulation_steps > 0
        else None,
        lr_scheduler_type=a.lr_scheduler_type,
        bf16=kind == "bf16",
        fp16=kind == "fp16",
        seed=a.seed,
        dataloader_num_workers=a.dataloader_num_workers,
        dataloader_pin_memory=gpu,
        max_grad_norm=a.max_grad_norm,
        eval_strategy=strategy,
        eval_steps=eval_steps,
        save_strategy=strategy,
        save_steps=eval_steps,
        save_total_limit=a.save_total_limit if a.save_total_limit > 0 else None,
        load_best_model_at_end=strategy != "no",
        metric_for_best_model="loss",
        logging_strategy=a.logging_strategy,
        logging_steps=a.logging_steps,
        use_cpu=not gpu,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
    )


def callbacks(a: argparse.Namespace, tokens_an_epoch: int) -> list[Any]:
    from transformers import EarlyStoppingCallback, TrainerCallback

    class Progress(TrainerCallback):
        """Prints a line and logs the metrics whenever the Trainer has news."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            metrics = {k: float(v) for k, v in logs.items() if isinstance(v, int | float)}
            log_metrics(metrics, state.global_step)
            if "loss" in metrics:
                elapsed = time.monotonic() - self.started
                speed = tokens_an_epoch * state.epoch / elapsed
                left = elapsed / state.global_step * (state.max_steps - state.global_step)
                print(
                    f"step {state.global_step}/{state.max_steps}  epoch {state.epoch:.2f}  "
                    f"loss {metrics['loss']:.3f}  learning rate {metrics['learning_rate']:.1e}  "
                    f"{speed:,.0f} tokens/s  {timedelta(seconds=round(left))} left",
                    flush=True,
                )
            elif "eval_loss" in metrics:
                print(
                    f"step {state.global_step}  evaluation loss {metrics['eval_loss']:.3f}",
                    flush=True,
                )

    early = [EarlyStoppingCallback(a.early_stopping_patience, a.early_stopping_threshold)]
    return [Progress(), *(early if a.apply_early_stopping == "true" else [])]


def newest_checkpoint(a: argparse.Namespace) -> str | None:
    if a.resume_from_checkpoint == "false":
        return None
    found = a.pytorch_model_folder.glob("checkpoint-*")
    newest = max(found, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
    if newest is None:
        print("There is no checkpoint to go on from: the training starts afresh.")
        return None
    print(f"Going on from {newest.name}.")
    return str(newest)


def save(a: argparse.Namespace, trainer: Any, tokenizer: Any, dtype: Any) -> None:
    model = trainer.model
    if a.apply_lora == "true" and a.merge_lora_weights == "true":
        model = model.merge_and_unload()
    elif a.apply_lora == "true":
        shutil.copytree(a.model_selector_output / "model", a.pytorch_model_folder / "base_model")
    model.to(dtype).save_pretrained(a.pytorch_model_folder)
    tokenizer.save_pretrained(a.pytorch_model_folder)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"UserError: {error}")
    except (MemoryError, RuntimeError) as error:
        if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
            raise
        kind = "GPU" if "CUDA" in str(error) else "main"
        sys.exit(f"UserError: {OUT_OF_MEMORY.format(kind=kind)}")
