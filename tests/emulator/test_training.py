"""The whole chain of fine-tuning steps, with real training."""

import importlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from emulator.registry import Registry
from tests.emulator.steps import Steps, run_step


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """The folders of one chain of steps, the base model already imported."""
    steps = Steps(tmp_path_factory.mktemp("steps"))
    steps.import_model(steps.imported)
    return steps


@dataclass
class Logged:
    """What a run received over MLflow's REST API."""

    metrics: dict[str, list[dict[str, Any]]]
    tags: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def tracking() -> Iterator[tuple[str, Logged]]:
    """An HTTP server that keeps what is sent to runs/log-batch."""
    logged = Logged({}, {})

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/api/2.0/mlflow/runs/log-batch"
            logged.metrics.setdefault(body["run_id"], []).extend(body.get("metrics", []))
            tags = {tag["key"]: tag["value"] for tag in body.get("tags", [])}
            logged.tags.setdefault(body["run_id"], {}).update(tags)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", logged
    server.shutdown()
    server.server_close()


class TestTheWholeChain:
    """Real training: one run of all steps, looked at from several sides."""

    @pytest.fixture(scope="class")
    def trained(self, steps: Steps, tracking: tuple[str, Logged]) -> Steps:
        environment = {
            **os.environ,
            "MLFLOW_TRACKING_URI": tracking[0],
            "MLFLOW_RUN_ID": "step",
            "AZUREML_ROOT_RUN_ID": "root",
        }
        steps.preprocess(environment)
        steps.train(environment)
        steps.convert()
        return steps

    def test_the_loss_falls(self, trained: Steps) -> None:
        facts = json.loads((trained.trained / "training.json").read_text())
        assert facts["eval_loss"] < facts["eval_loss_before"] - 0.05
        assert facts["steps"] == 24

    def test_metrics_reach_both_runs_under_the_trainers_names(
        self, trained: Steps, tracking: tuple[str, Logged]
    ) -> None:
        metrics = tracking[1].metrics
        assert metrics["step"] == metrics["root"]
        names = {m["key"] for m in metrics["step"]}
        assert {"loss", "eval_loss", "learning_rate", "epoch", "train_runtime"} <= names
        losses = [(m["step"], m["value"]) for m in metrics["step"] if m["key"] == "eval_loss"]
        assert [step for step, _ in losses] == [0, 12, 24]
        assert all(after < before for (_, before), (_, after) in pairwise(losses))
        tags = tracking[1].tags
        assert tags["step"] == tags["root"]
        assert int(tags["root"]["train_tokens"]) > int(tags["root"]["train_assistant_tokens"]) > 0

    def test_progress_is_printed(self, trained: Steps) -> None:
        assert re.search(
            r"^step 10/24  epoch 0.\d\d  loss \d.\d+  learning rate .* tokens/s  .* left$",
            trained.output,
            re.MULTILINE,
        )
        assert "training on the CPU" in trained.output
        assert "DeepSpeed (stage 2) is not used here" in trained.output

    def test_save_total_limit_is_kept(self, trained: Steps) -> None:
        assert [p.name for p in trained.trained.glob("checkpoint-*")] == ["checkpoint-24"]

    def test_the_result_is_an_mlflow_model(self, trained: Steps) -> None:
        import mlflow.transformers
        import pandas

        pipeline = mlflow.transformers.load_model(str(trained.converted))
        chat = [{"role": "user", "content": "Hello there."}]
        reply = pipeline(chat, max_new_tokens=4)[0]["generated_text"][-1]
        assert reply["role"] == "assistant"
        model = mlflow.pyfunc.load_model(str(trained.converted))
        metadata = model.metadata
        assert metadata.metadata["is_finetuned_model"] is True
        assert metadata.metadata["base_model_task"] == "chat-completion"
        assert metadata.signature.inputs.input_names() == ["input_string"]
        data = pandas.DataFrame({"input_string": ["Hello there."]})
        answer = model.predict(data, params={"max_new_tokens": 4, "do_sample": False})
        assert isinstance(answer[0], str)

    def test_a_turn_ends_the_generation(self, trained: Steps) -> None:
        from transformers import PreTrainedTokenizerFast

        folder = trained.converted
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder / "components/tokenizer")
        settings = json.loads((folder / "model/generation_config.json").read_text())
        assert tokenizer.convert_tokens_to_ids("<|end|>") in settings["eos_token_id"]

    def test_an_adapter_that_was_not_merged_is_merged_by_the_converter(
        self, trained: Steps, tmp_path: Path
    ) -> None:
        """And two runs with one seed learn the same weights, to the bit."""
        adapters = []
        for name in ("one", "two"):
            short = ("--merge_lora_weights", "false", "--max_steps", "2")
            trained.train(folder=tmp_path / name, more=short)
            adapters.append((tmp_path / name / "adapter_model.safetensors").read_bytes())
        assert adapters[0] == adapters[1]
        trained.convert(source=tmp_path / "one", folder=tmp_path / "converted")
        config = json.loads((tmp_path / "converted/model/config.json").read_text())
        assert config["model_type"] == "phi3"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--learning_rate", "-1"], "learning_rate is -1; it must be greater than 0"),
            (
                ["--apply_early_stopping", "true", "--evaluation_strategy", "disable"],
                "apply_early_stopping needs evaluation_strategy",
            ),
            (["--metric_for_best_model", "f1"], "use loss"),
            (["--optim", "sgd"], "optim: invalid choice"),
            (
                ["--apply_deepspeed", "true", "--auto_find_batch_size", "true"],
                "cannot both be true",
            ),
        ],
    )
    def test_training_refuses(self, tmp_path: Path, arguments: list[str], message: str) -> None:
        folders = ("preprocess_output", "model_selector_output", "pytorch_model_folder")
        places = [word for name in folders for word in (f"--{name}", str(tmp_path / name))]
        result = run_step("chat_completion_finetune", *places, *arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.fixture
def step_module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Modules of the step's own folder."""
    monkeypatch.syspath_prepend(Registry().component_code("chat_completion_finetune"))
    return importlib.import_module


@pytest.mark.parametrize(
    ("precision", "gpu", "has_bf16", "used"),
    [
        ("16", "NVIDIA A100", True, "bf16"),
        ("16", "Tesla V100", False, "fp16"),
        ("16", None, False, "fp32"),
        ("32", "NVIDIA A100", True, "fp32"),
    ],
)
def test_arithmetic_is_what_the_machine_has(
    step_module: Callable[[str], ModuleType],
    precision: str,
    gpu: str | None,
    has_bf16: bool,
    used: str,
) -> None:
    module = step_module("precision")
    machine = module.Machine(gpu, has_bf16)
    assert module.arithmetic(precision, machine) == used
    assert (gpu or "CPU") in module.announcement(used, machine)


@pytest.mark.parametrize("window", [None, 5])
def test_a_packed_batch_has_the_loss_and_gradients_of_a_padded_one(
    step_module: Callable[[str], ModuleType], tmp_path: Path, window: int | None
) -> None:
    import torch
    from transformers import Phi3Config, Phi3ForCausalLM, TrainingArguments

    packing = step_module("packing")
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 50}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": window}
    ids, mask, labels = torch.randint(3, 50, (3, 9)), torch.ones(3, 9).long(), torch.full((3, 9), 0)
    for row, length in enumerate((9, 4, 7)):
        ids[row, length:], mask[row, length:] = 2, 0
        labels[row] = torch.where(mask[row].bool() & (torch.arange(9) % 3 > 0), ids[row], -100)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def loss(attention: str, dtype: Any) -> tuple[float, Any]:
        torch.manual_seed(0)
        config = Phi3Config(**sizes, **heads, pad_token_id=2, attn_implementation=attention)
        model = Phi3ForCausalLM(config)
        arguments = TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
        trainer = packing.PackedTrainer(model=model, args=arguments)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            result = trainer.compute_loss(model, dict(batch))
        result.backward()
        return result.item(), model.model.layers[0].self_attn.qkv_proj.weight.grad

    padded, packed = loss("eager", torch.float32), loss(packing.PACKED, torch.float32)
    assert packed[0] == pytest.approx(padded[0], abs=1e-5)
    torch.testing.assert_close(packed[1], padded[1], atol=1e-5, rtol=1e-4)
    assert loss(packing.PACKED, torch.bfloat16)[0] == pytest.approx(padded[0], abs=0.02)
