"""The inputs of the fine-tuning step."""

import argparse
from pathlib import Path
from typing import NoReturn

BOOLEAN = ("true", "false")
SCHEDULES = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
)


class UserError(Exception):
    """Something that the person who submitted the job can put right."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(allow_abbrev=False)
    add = parser.add_argument
    add("--apply_lora", choices=BOOLEAN, default="false")
    add("--merge_lora_weights", choices=BOOLEAN, default="true")
    add("--lora_alpha", type=int, default=128)
    add("--lora_r", type=int, default=8)
    add("--lora_dropout", type=float, default=0.0)
    add("--num_train_epochs", type=int, default=1)
    add("--max_steps", type=int, default=-1)
    add("--per_device_train_batch_size", type=int, default=1)
    add("--per_device_eval_batch_size", type=int, default=1)
    add("--auto_find_batch_size", choices=BOOLEAN, default="false")
    add("--optim", choices=("adamw_torch", "adafactor"), default="adamw_torch")
    add("--learning_rate", type=float, default=2e-5)
    add("--warmup_steps", type=int, default=0)
    add("--weight_decay", type=float, default=0.0)
    add("--adam_beta1", type=float, default=0.9)
    add("--adam_beta2", type=float, default=0.999)
    add("--adam_epsilon", type=float, default=1e-8)
    add("--gradient_accumulation_steps", type=int, default=1)
    add("--eval_accumulation_steps", type=int, default=-1)
    add("--lr_scheduler_type", choices=SCHEDULES, default="linear")
    add("--precision", choices=("32", "16"), default="32")
    add("--seed", type=int, default=42)
    add("--enable_full_determinism", choices=BOOLEAN, default="false")
    add("--dataloader_num_workers", type=int, default=0)
    add("--ignore_mismatched_sizes", choices=BOOLEAN, default="false")
    add("--max_grad_norm", type=float, default=1.0)
    add("--evaluation_strategy", choices=("epoch", "steps", "disable"), default="epoch")
    add("--evaluation_steps_interval", type=float, default=0.0)
    add("--eval_steps", type=int, default=500)
    add("--logging_strategy", choices=("epoch", "steps"), default="steps")
    add("--logging_steps", type=int, default=10)
    add("--metric_for_best_model", choices=("loss", "f1", "exact"), default="loss")
    add("--resume_from_checkpoint", choices=BOOLEAN, default="false")
    add("--save_total_limit", type=int, default=-1)
    add("--apply_early_stopping", choices=BOOLEAN, default="false")
    add("--early_stopping_patience", type=int, default=1)
    add("--early_stopping_threshold", type=float, default=0.0)
    add("--apply_deepspeed", choices=BOOLEAN, default="false")
    add("--deepspeed", type=Path)
    add("--deepspeed_stage", choices=("2", "3"), default="2")
    add("--apply_ort", choices=BOOLEAN, default="false")
    add("--preprocess_output", type=Path, required=True)
    add("--model_selector_output", type=Path, required=True)
    add("--pytorch_model_folder", type=Path, required=True)
    return check(parser.parse_args())


def check(a: argparse.Namespace) -> argparse.Namespace:
    if a.learning_rate <= 0:
        raise UserError(f"learning_rate is {a.learning_rate:g}; it must be greater than 0.")
    if a.apply_deepspeed == a.auto_find_batch_size == "true":
        raise UserError(
            "apply_deepspeed and auto_find_batch_size cannot both be true; set one to false."
        )
    if a.apply_early_stopping == "true" and a.evaluation_strategy == "disable":
        raise UserError("apply_early_stopping needs evaluation_strategy epoch or steps.")
    if a.metric_for_best_model != "loss":
        raise UserError(
            f"metric_for_best_model {a.metric_for_best_model} is not measured for chat "
            "completion; use loss."
        )
    if a.apply_lora == "true" and a.lora_r < 1:
        raise UserError(f"lora_r is {a.lora_r}; it must be 1 or more.")
    return a
