"""Write the fine-tuned model as an MLflow model of the transformers flavor.

The folder is the one that mlflow.transformers.save_model writes, made by copying files: importing
mlflow and loading the weights would take longer than all the rest, and as much memory as the model.
"""

import argparse
import json
import shutil
import sys
import uuid
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, NoReturn

import yaml

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
)
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "*.bin", "*.bin.index.json")
MODEL_FILES = ("config.json", "generation_config.json", *WEIGHTS, "*.py")
END_OF_TURN = frozenset({"<|end|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>"})
PARAMETERS = (
    ("temperature", "float", 1.0),
    ("top_p", "float", 1.0),
    ("do_sample", "boolean", True),
    ("max_new_tokens", "integer", 200),
)


class UserError(Exception):
    """Something that the person who submitted the job can put right."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(allow_abbrev=False)
    add = parser.add_argument
    add("--model_path", type=Path, required=True)
    add("--model_import_output", type=Path)
    add("--system_properties")
    add("--mlflow_model_folder", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    a = parse_arguments()
    model, tokenizer = (
        a.mlflow_model_folder / "model",
        a.mlflow_model_folder / "components/tokenizer",
    )
    for folder in (model, tokenizer):
        folder.mkdir(parents=True, exist_ok=True)
    if (a.model_path / "adapter_config.json").is_file():
        merge_adapter(a, model)
    else:
        copy(a.model_path, MODEL_FILES, model)
    copy(a.model_path, TOKENIZER_FILES, tokenizer)
    if not (model / "config.json").is_file() or not any(model.glob("*.safetensors")):
        raise UserError(f"model_path: {a.model_path} holds no Hugging Face model to convert.")
    add_end_of_turn(model / "generation_config.json", tokenizer / "tokenizer.json")
    write_environment(a.mlflow_model_folder)
    ml_model = describe(a, model, tokenizer)
    (a.mlflow_model_folder / "MLmodel").write_text(yaml.safe_dump(ml_model))
    print(
        f"MLflow model: {ml_model['flavors']['transformers']['pipeline_model_type']}, "
        f"{ml_model['model_size_bytes']:,} bytes, "
        f"fine-tuned from {ml_model['metadata']['base_model_name']}."
    )


def copy(source: Path, patterns: tuple[str, ...], target: Path) -> None:
    for file in {file for pattern in patterns for file in source.glob(pattern)}:
        shutil.copyfile(file, target / file.name)


def merge_adapter(a: argparse.Namespace, target: Path) -> None:
    """Add a LoRA adapter to the base weights that stand beside it."""
    bases = [a.model_path / "base_model"]
    if a.model_import_output:
        bases.append(a.model_import_output / "model")
    base = next((folder for folder in bases if folder.is_dir()), None)
    if base is None:
        raise UserError(
            f"model_path: {a.model_path} holds an adapter without its base model; "
            "train with merge_lora_weights true, or pass model_import_output."
        )
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    PeftModel.from_pretrained(model, a.model_path).merge_and_unload().save_pretrained(target)


def add_end_of_turn(config: Path, tokenizer: Path) -> None:
    """Generation stops at the mark that ends a turn, or replies would run on into the next."""
    if not tokenizer.is_file():
        return
    added = json.loads(tokenizer.read_text()).get("added_tokens", [])
    ends = [token["id"] for token in added if token["content"] in END_OF_TURN]
    settings = json.loads(config.read_text()) if config.is_file() else {}
    known = settings.get("eos_token_id") or []
    known = known if isinstance(known, list) else [known]
    settings["eos_token_id"] = known + [end for end in ends if end not in known]
    config.write_text(json.dumps(settings, indent=2) + "\n")


def requirements() -> list[str]:
    return [
        f"{package}=={version(package)}" for package in ("mlflow-skinny", "torch", "transformers")
    ]


def write_environment(folder: Path) -> None:
    python = f"python={python_version()}"
    conda = {
        "name": "mlflow-env",
        "channels": ["conda-forge"],
        "dependencies": [python, "pip", {"pip": requirements()}],
    }
    virtual = {
        "python": python_version(),
        "build_dependencies": ["pip", "setuptools", "wheel"],
        "dependencies": ["-r requirements.txt"],
    }
    (folder / "requirements.txt").write_text("\n".join(requirements()) + "\n")
    (folder / "conda.yaml").write_text(yaml.safe_dump(conda, sort_keys=False))
    (folder / "python_env.yaml").write_text(yaml.safe_dump(virtual, sort_keys=False))


def describe(a: argparse.Namespace, model: Path, tokenizer: Path) -> dict[str, Any]:
    """The content of the MLmodel file."""
    config = json.loads((model / "config.json").read_text())
    tokenizer_config = json.loads((tokenizer / "tokenizer_config.json").read_text())
    training = a.model_path / "training.json"
    base = json.loads(training.read_text())["base_model_name"] if training.is_file() else "unknown"
    files = [file for file in a.mlflow_model_folder.rglob("*") if file.is_file()]

    def column(name: str) -> str:
        return json.dumps([{"type": "string", "name": name, "required": True}])

    return {
        "flavors": {
            "python_function": {
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.transformers",
                "python_version": python_version(),
            },
            "transformers": {
                "code": None,
                "components": ["tokenizer"],
                "instance_type": "TextGenerationPipeline",
                "model_binary": "model",
                "pipeline_model_type": config["architectures"][0],
                "source_model_name": base,
                "task": "text-generation",
                "tokenizer_type": tokenizer_config.get(
                    "tokenizer_class", "PreTrainedTokenizerFast"
                ),
                "torch_dtype": f"torch.{config.get('dtype') or 'float32'}",
                "transformers_version": version("transformers"),
            },
        },
        "metadata": {
            "base_model_name": base,
            "base_model_task": "chat-completion",
            "is_finetuned_model": True,
        },
        "mlflow_version": version("mlflow-skinny"),
        "model_size_bytes": sum(file.stat().st_size for file in files),
        "model_uuid": uuid.uuid4().hex,
        "signature": {
            "inputs": column("input_string"),
            "outputs": column("output"),
            "params": json.dumps(
                [
                    {"name": name, "type": kind, "default": default, "shape": None}
                    for name, kind, default in PARAMETERS
                ]
            ),
        },
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"UserError: {error}")
