"""The warm node with the large packages loaded: what its children share, and what they must not."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.compute.warm import WarmNode
from tests.emulator.node_support import Bench

LOOK = """
import json, random, sys, uuid
loaded = sorted({name.partition('.')[0] for name in sys.modules})
import huggingface_hub.constants, numpy, torch, transformers
print(json.dumps({
    'loaded': loaded,
    'draws': [random.random(), numpy.random.random(), numpy.random.default_rng().random(),
              torch.rand(1).item(), torch.initial_seed(), str(uuid.uuid4())],
    'settings': [huggingface_hub.constants.ENDPOINT, huggingface_hub.constants.HF_HOME,
                 huggingface_hub.constants.HF_HUB_OFFLINE, torch.get_num_threads(),
                 torch.cuda.is_initialized(), torch.cuda._is_in_bad_fork()],
    'sum': (torch.ones(300, 300) @ torch.ones(300, 300)).sum().item(),
}))
"""
SEEDED = """
import random, numpy, torch
random.seed(1); numpy.random.seed(1); torch.manual_seed(1)
print(random.random(), numpy.random.random(), torch.rand(1).item(), torch.randperm(9).tolist())
"""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    variables = {"HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path / "hub")}
    return Bench(tmp_path, {**variables, "HF_HUB_OFFLINE": "1"})


async def _look(bench: Bench, node: WarmNode) -> dict[str, Any]:
    code, said = await bench.warm(node, LOOK)
    assert code == 0, said
    found: dict[str, Any] = json.loads(said)
    return found


def test_children_share_packages_and_settings_but_no_random_numbers(bench: Bench) -> None:
    async def scenario() -> None:
        node = bench.node()
        one, other = await _look(bench, node), await _look(bench, node)
        assert node.log.read_text() == ""
        if sys.platform == "linux":
            assert len(os.listdir(f"/proc/{node.pid}/task")) == 1
        warm = await bench.warm(node, SEEDED)
        await node.stop()

        code, said = await bench.cold(LOOK, "python script.py")
        assert code == 0, said
        cold = json.loads(said)
        assert {"torch", "transformers", "pyarrow", "peft"} <= {*one["loaded"]} - {*cold["loaded"]}
        assert "mlflow" not in one["loaded"]  # it reads its settings when it is imported
        assert all(a != b for a, b in zip(one["draws"], other["draws"], strict=True))
        assert one["settings"] == cold["settings"]
        assert one["sum"] == cold["sum"]
        assert warm == await bench.cold(SEEDED, "python script.py")

    asyncio.run(scenario())


ASK = """
import sys, traceback
import torch
asked = []
def spy(name):
    def ask(*arguments, **options):
        asked.append(name + ' ' + traceback.format_stack(limit=2)[0].split(chr(10))[0].strip())
        return 0
    return ask
torch.cuda._is_compiled = lambda: True
torch._C._cuda_getDeviceCount = spy('driver')
torch._C._cuda_getCurrentRawStream = spy('stream')
torch.cuda._lazy_init = spy('initialise')
torch.cuda._device_count_nvml = lambda: 1
import importlib
for package in sys.argv[1:]:
    importlib.import_module(package)
available = torch.cuda.is_available()
print(*asked, available, sep=chr(10))
"""


def test_importing_the_packages_leaves_a_gpu_alone(bench: Bench) -> None:
    """As if there were a GPU that NVML tells of: nothing asks the driver, nothing starts CUDA."""
    from emulator.compute.node import PACKAGES

    async def scenario() -> None:
        variables = {**bench.variables, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
        command = " ".join(["python script.py", *PACKAGES])
        asked = await Bench(bench.folder, variables).cold(ASK, command)
        assert asked == (0, "True\n")
        unasked = await bench.cold(ASK, "python script.py")  # the check is what asks the driver
        assert unasked[1].startswith("driver ")

    asyncio.run(scenario())
