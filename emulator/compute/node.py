"""A warm compute node: a process with torch and transformers loaded that forks one child a step.

It knows nothing of the emulator. A line of JSON on standard input asks for a process:

    {"id": 1, "script": path | "module": name, "arguments": [...], "folder": path,
     "environment": {...}, "log": path, "path": [folders for sys.path]}

Lines on standard output tell {"ready": true}, {"id": 1, "pid": n}, {"id": 1, "code": n}, where a
negative code is the number of a signal, and {"id": 1, "refused": why} when there is no process.
At the end of its input the node kills what still runs and ends: nothing outlives the emulator
that started it.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

Request = dict[str, Any]

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

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG

_INTERRUPT = signal.getsignal(signal.SIGINT)
"""What the node was started with: a shell's background jobs, and their children, ignore Ctrl-C."""


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

    def serve(self) -> Request | None:
        """Answer requests until the input ends.

        Returns twice, as fork does: None in the node, in each child what it is to become.
        """
        self._tell({"ready": True})
        child: Request | None = None
        try:
            open_ = True
            while open_ and child is None:
                ready, _, _ = select.select([self._requests, self._wakeup], [], [])
                if self._wakeup in ready:
                    with contextlib.suppress(BlockingIOError):
                        os.read(self._wakeup, 4096)
                self._collect()
                if self._requests in ready:
                    open_, child = self._read()
        except BrokenPipeError:
            pass  # nobody listens any more
        finally:
            if child is None:
                self._kill()
        return child

    def _read(self) -> tuple[bool, Request | None]:
        """Start what was asked for; whether more can come, and in a child its request."""
        content = os.read(self._requests, 1 << 16)
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            request: Request = json.loads(line)
            if self._is_child(request):
                return True, request
        return bool(content), None

    def _is_child(self, request: Request) -> bool:
        """Fork a process for a request; whether this is that process."""
        has_group, leads_group = os.pipe()
        node = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            os.close(has_group)
            os.close(leads_group)
            self._tell({"id": request["id"], "refused": str(error)})
            return False
        if pid == 0:
            os.setsid()
            _end_with_parent(node)
            for descriptor in (*self._inner, has_group, leads_group):
                os.close(descriptor)
            return True
        os.close(leads_group)
        os.read(has_group, 1)  # until then nobody could end its group
        os.close(has_group)
        self._running[pid] = request["id"]
        self._tell({"id": request["id"], "pid": pid})
        return False

    def _collect(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            identifier = self._running.pop(pid, None)
            if identifier is not None:
                self._tell({"id": identifier, "code": os.waitstatus_to_exitcode(status)})

    def _kill(self) -> None:
        for pid in self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    def _tell(self, message: dict[str, Any]) -> None:
        os.write(self._answers, json.dumps(message).encode() + b"\n")


def _end_with_parent(parent: int | None) -> None:
    """Be killed when the parent ends, however that ends; with None no longer. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL if parent else 0)
        if parent and os.getppid() != parent:  # it ended before it was asked
            os._exit(-signal.SIGKILL)


class _End:
    """The last exit handler of a child: what an interpreter does at its end, without its cost.

    It ends the script's own objects, so that open files are written, but does not take apart the
    packages of the node, which would copy all their memory.
    """

    def __init__(self) -> None:
        self.code: int | None = None
        self.loaded: frozenset[str] = frozenset()

    def __call__(self) -> None:
        if self.code is None:  # the node itself, or a death by a signal
            return
        for name in {*sys.modules} - self.loaded:
            del sys.modules[name]
        sys.modules["__main__"].__dict__.clear()
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        ctypes.CDLL(None).fflush(None)
        os._exit(self.code & 0xFF)


def _become(request: Request, end: _End) -> None:
    """Turn the forked child into what a new `python script` would be, and run it.

    The interpreter ends as any other does: what is raised here is its end.
    """
    _open_streams(request["log"])
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, _INTERRUPT)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.path[:0] = request["path"]
    _seed()
    try:
        _run(request)
        end.code = 0
    except SystemExit as error:
        end.code = error.code or 0 if isinstance(error.code, int | None) else 1
        raise
    except BaseException as error:
        end.code = None if isinstance(error, KeyboardInterrupt) else 1
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
            frames = frames.tb_next
        error.__traceback__ = frames
        sys.excepthook(type(error), error, frames)
        sys.excepthook = lambda *_: None  # said already, without the node's own frames
        raise


def _open_streams(log: str) -> None:
    """Standard input is empty, both outputs go to the log; Python's own streams stay."""
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


def _seed() -> None:
    """Give the generators of the packages a state of the child's own, as a new process has."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if torch := sys.modules.get("torch"):
        torch.default_generator.seed()


def _run(request: Request) -> None:
    """Run the script or module as the main program."""
    main = sys.modules["__main__"] = ModuleType("__main__")
    if request.get("script") is None:
        sys.argv = [request["module"], *request["arguments"]]
        runpy._run_module_as_main(request["module"])  # type: ignore[attr-defined]
        return
    sys.argv = [request["script"], *request["arguments"]]
    path = os.path.abspath(request["script"])
    sys.path.insert(0, os.path.dirname(os.path.realpath(path)))
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        reason = f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}"
        print(f"{sys.executable}: {reason}", file=sys.stderr)
        sys.exit(2)
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(
        __file__=path,
        __loader__=loader,
        __cached__=None,
        __annotations__={},
        __builtins__=sys.modules["builtins"],
    )
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _refuse(reason: str) -> NoReturn:
    sys.exit(f"The warm node does not start: {reason}")


def main() -> None:
    end = _End()
    atexit.register(end)
    parent = os.getppid()
    _end_with_parent(parent)  # it reads nothing until the packages are there
    requests, answers = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what a package prints at its import is no answer
    if not sys.flags.safe_path:
        del sys.path[0]  # the folder of this file
    # Asking the driver would keep the forked children from using a GPU.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except Exception as error:  # the step that needs it will say so
            print(f"{package} cannot be imported: {error!r}", file=sys.stderr)
    threads = Path("/proc/self/task")
    if threads.is_dir() and len(names := [*threads.iterdir()]) > 1:
        found = ", ".join((name / "comm").read_text().strip() for name in names)
        _refuse(f"its packages started threads, which a fork would lose ({found}).")
    end.loaded = frozenset(sys.modules)
    gc.collect()
    gc.freeze()  # what is loaded stays shared between the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the emulator's to handle
    _end_with_parent(None)  # from now on the end of the input tells, and the children are ended
    if request := Node(requests, answers).serve():
        _become(request, end)


if __name__ == "__main__":
    main()
