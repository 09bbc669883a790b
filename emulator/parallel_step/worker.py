"""A worker process of a parallel step: the entry script's init() once, run() for each mini-batch.

Requests come as lines of JSON on standard input, answers go to the descriptor that is the first
argument; what the script prints is its own.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import logging
import os
import sys
import traceback
from types import ModuleType, SimpleNamespace
from typing import Any


def main() -> None:
    """Serve until the input ends; shutdown() is called then."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    script, level, arguments = sys.argv[2], sys.argv[3], sys.argv[4:]
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    logging.basicConfig(level=getattr(logging, level.upper(), logging.INFO), stream=sys.stderr)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        module = _module(script)
        if hasattr(module, "init"):
            module.init()
    except BaseException:
        answer(error=traceback.format_exc())
        sys.exit(1)
    answer(ready=True)
    for line in requests:
        try:
            answer(returned=_run(module, json.loads(line)))
        except Exception:
            answer(error=traceback.format_exc())
    if hasattr(module, "shutdown"):
        module.shutdown()


def _module(script: str) -> ModuleType:
    name = os.path.splitext(os.path.basename(script))[0]
    spec = importlib.util.spec_from_file_location(name, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"The entry script {script} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "run", None)):
        raise AttributeError(f"The entry script {script} has no function run(mini_batch).")
    return module


def _run(module: ModuleType, request: dict[str, Any]) -> int:
    """Call run(); gives how many items it returned, whose text is written to request["rows"]."""
    batch: Any = request["files"]
    if request["table"]:
        import pandas

        batch = pandas.read_pickle(request["table"])
    context = SimpleNamespace(
        mini_batch_id=str(request["index"]),
        minibatch_index=request["index"],
        dataset_name=request["dataset"],
        partition_key_value=request["partition"] or None,
        global_row_index_lower_bound=request["first"],
    )
    given = [batch, context] if _takes_context(module.run) else [batch]
    result = module.run(*given)
    if hasattr(result, "to_csv"):
        text = result.to_csv(sep=" ", header=False, index=False)
    elif isinstance(result, (list, tuple)) or hasattr(result, "tolist"):
        text = "".join(f"{item}\n" for item in result)
    else:
        raise TypeError(
            f"run() must return a list or a pandas DataFrame, not {type(result).__name__}."
        )
    with open(request["rows"], "w", encoding="utf-8") as file:
        file.write(text)
    return len(result)


def _takes_context(function: Any) -> bool:
    names = list(inspect.signature(function).parameters.values())
    places = [
        name for name in names if name.kind in (name.POSITIONAL_OR_KEYWORD, name.POSITIONAL_ONLY)
    ]
    return len(places) > 1


if __name__ == "__main__":
    main()
