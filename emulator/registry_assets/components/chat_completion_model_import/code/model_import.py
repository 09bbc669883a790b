"""Bring the base model into the pipeline: one Hugging Face folder and where it came from."""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

WEIGHTS = ("*.safetensors", "*.bin")


class UserError(Exception):
    """Something that the person who submitted the job can put right."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def parse_arguments() -> argparse.Namespace:
    parser = Parser(allow_abbrev=False)
    add = parser.add_argument
    add("--huggingface_id")
    add("--pytorch_model_path", type=Path)
    add("--mlflow_model_path", type=Path)
    add("--validation_output", type=Path)
    add("--finetune_config_path", type=Path)
    add("--output_dir", type=Path, required=True)
    return parser.parse_args()


def model_parts(folder: Path) -> list[Path]:
    """The folders that together hold weights, configuration and tokenizer.

    Understands the layouts of MLflow's transformers flavor (model, components/tokenizer), of the
    registry's models (data/model, data/config, data/tokenizer) and a plain Hugging Face folder.
    """
    layouts = (
        ("model", "components/tokenizer"),
        ("data/model", "data/config", "data/tokenizer"),
        (".",),
    )
    for layout in layouts:
        parts = [folder / part for part in layout if (folder / part).is_dir()]
        if any((part / "config.json").is_file() for part in parts):
            return parts
    raise UserError(f"{folder} holds no Hugging Face model: no config.json was found in it.")


def copy_model(folder: Path, target: Path) -> None:
    for part in model_parts(folder):
        for file in sorted(part.iterdir()):
            if file.is_file() and file.name != "MLmodel":
                shutil.copyfile(file, target / file.name)


def download_model(identifier: str, target: Path) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
    try:
        snapshot_download(identifier, local_dir=target, allow_patterns=patterns)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        where = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"huggingface_id: {identifier} could not be fetched from {where}: {reason}"
        ) from error
    shutil.rmtree(target / ".cache", ignore_errors=True)


def finetune_config(a: argparse.Namespace) -> dict[str, Any]:
    """Chat settings: the file that was passed, else the one that comes with the model."""
    source = a.pytorch_model_path or a.mlflow_model_path
    packaged = [source / name / "finetune_config.json" for name in ("", "data")] if source else []
    for file in [a.finetune_config_path, *packaged]:
        if file and (file.is_file() or file is a.finetune_config_path):
            try:
                config = json.loads(file.read_text())
            except (OSError, ValueError) as error:
                raise UserError(f"finetune_config_path: {file} cannot be read: {error}") from error
            if not isinstance(config, dict):
                raise UserError(f"finetune_config_path: {file} must hold a JSON object.")
            return config
    return {}


def base_model_name(a: argparse.Namespace) -> str:
    if a.mlflow_model_path and not a.pytorch_model_path:
        ml_model = a.mlflow_model_path / "MLmodel"
        if ml_model.is_file():
            import yaml

            metadata = yaml.safe_load(ml_model.read_text()).get("metadata") or {}
            if name := metadata.get("base_model_name"):
                return str(name)
    source = a.pytorch_model_path or a.mlflow_model_path or a.huggingface_id
    return str(source).rstrip("/").rpartition("/")[2]


def main() -> None:
    a = parse_arguments()
    if a.validation_output and a.validation_output.is_file():
        print(f"Validation: {json.loads(a.validation_output.read_text()).get('status')}")
    target = a.output_dir / "model"
    target.mkdir(parents=True, exist_ok=True)
    if folder := a.pytorch_model_path or a.mlflow_model_path:
        copy_model(folder, target)
    elif a.huggingface_id:
        download_model(a.huggingface_id, target)
    else:
        raise UserError(
            "No base model: pass one of mlflow_model_path, pytorch_model_path or huggingface_id."
        )
    weights = [file for pattern in WEIGHTS for file in target.glob(pattern)]
    if not weights:
        raise UserError(f"The base model has no weights; looked for {' and '.join(WEIGHTS)}.")
    config = json.loads((target / "config.json").read_text())
    metadata = {
        "base_model_name": base_model_name(a),
        "model_type": config.get("model_type"),
        "architectures": config.get("architectures"),
        "max_position_embeddings": config.get("max_position_embeddings"),
        "finetune_config": finetune_config(a),
    }
    (a.output_dir / "metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    size = sum(file.stat().st_size for file in weights)
    print(f"Imported {metadata['base_model_name']} ({metadata['model_type']}), {size:,} bytes.")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"UserError: {error}")
