"""A warm compute node: a process with torch and transformers loaded that forks one child a step.

It knows nothing of the emulator. A line of JSON on standard input asks for a process:

    {"id": 1, "script": path | "module": name, "arguments": [...], "folder": path,
     "environment": {...}, "log": path, "path": [folders for sys.path]}

Lines on standard output tell {"ready": true}, {"id": 1, "pid": n} and {"id": 1, "code": n}, where
a negative code is the number of a signal. At the end of its input the node kills what still runs
and ends: nothing outlives the emulator that started it.
"""

import atexit
import contextlib
import importlib
import io
import json
import os
import runpy
import select
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn

PACKAGES = (
    "yaml",
    "numpy",
    "pyarrow.parquet",
    "torch",
    "safetensors.torch",
    "huggingface_hub",
    "accelerate",
    "transformers",
    "transformers.trainer",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.phi3.modeling_phi3",
    "transformers.models.llama.tokenization_llama",
    "peft",
    "starlette.applications",
    "uvicorn",
)
"""What the registry's components and the scoring server import."""


class Node:
    """The loop of the node: one thread, so that a child is forked from a quiet process."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests = requests
        self._answers = answers
        self._running: dict[int, int] = {}
        self._rest = b""
        self._wakeup, wakeup = os.pipe()
        for end in (self._wakeup, wakeup):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._inner = (requests, answers, self._wakeup, wakeup)

    def serve(self) -> None:
        """Answer requests until the input ends."""
        self._tell({"ready": True})
        while True:
            ready, _, _ = select.select([self._requests, self._wakeup], [], [])
            if self._wakeup in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wakeup, 4096)
            self._collect()
            if self._requests in ready and not self._read():
                break
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _read(self) -> bool:
        """Start what was asked for; False at the end of the input."""
        content = os.read(self._requests, 1 << 16)
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            self._start(json.loads(line))
        return bool(content)

    def _start(self, request: dict[str, Any]) -> None:
        has_group, leads_group = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            os.close(leads_group)
            _become(request, (*self._inner, has_group))
        os.close(leads_group)
        os.read(has_group, 1)  # until then nobody could end its group
        os.close(has_group)
        self._running[pid] = request["id"]
        self._tell({"id": request["id"], "pid": pid})

    def _collect(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            identifier = self._running.pop(pid, None)
            if identifier is not None:
                self._tell({"id": identifier, "code": os.waitstatus_to_exitcode(status)})

    def _tell(self, message: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps(message).encode() + b"\n")


def _become(request: dict[str, Any], inner: tuple[int, ...]) -> NoReturn:
    """Turn the forked child into what a new `python script` would be, and run it."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _open_streams(request["log"])
        for descriptor in inner:
            if descriptor > 2:
                os.close(descriptor)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.path[:0] = request["path"]
        code = _run(request)
    except BaseException as error:
        traceback.print_exception(error)
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]  # what Python does at its end
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _open_streams(log: str) -> None:
    """Standard input is empty, both outputs go to the log at once, as with `python -u`."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        raw = io.FileIO(descriptor, "w", closefd=False)
        errors = "backslashreplace" if name == "stderr" else "strict"
        text = io.TextIOWrapper(raw, encoding="utf-8", errors=errors, write_through=True)
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)


def _run(request: dict[str, Any]) -> int:
    """Run the script or module as the main program; its exit code."""
    try:
        if script := request.get("script"):
            sys.argv = [script, *request["arguments"]]
            sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
            runpy.run_path(script, run_name="__main__")
        else:
            sys.argv = [request["module"], *request["arguments"]]
            runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        _print_error(error)
        return 1
    return 0


def _print_error(error: BaseException) -> None:
    """The traceback as Python prints it: from the program's own frames on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
        frames = frames.tb_next
    own = frames
    while own is not None and "<frozen runpy>" in own.tb_frame.f_code.co_filename:
        own = own.tb_next
    traceback.print_exception(type(error), error, own)


def main() -> None:
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a package prints at its import is no answer
    del sys.path[0]  # the folder of this file
    # Asking the driver would keep the forked children from using a GPU.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for package in PACKAGES:
        with contextlib.suppress(ImportError):  # the step that needs it says so
            importlib.import_module(package)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the emulator's to handle
    Node(requests, answers).serve()


if __name__ == "__main__":
    main()
