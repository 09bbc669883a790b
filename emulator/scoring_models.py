"""Models that answer requests: chat models of transformers, and those of MLflow's other flavors.

Loaded by its path too, with the Python of a deployment's environment: nothing of the emulator is
imported here.
"""

import os
from pathlib import Path
from typing import Any, Protocol

PARAMETERS: dict[str, tuple[type[float], ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": (int,),
    "do_sample": (bool,),
    "max_new_tokens": (int,),
    "repetition_penalty": (int, float),
    "return_full_text": (bool,),
}
DEFAULT_NEW_TOKENS = 200


class BadRequest(Exception):
    """A request that the model cannot answer; the text goes to the client."""


class Model(Protocol):
    def score(self, body: dict[str, Any]) -> Any:
        """The answer to a request's JSON body. Raises BadRequest."""

    def schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What it takes and what it gives, as JSON schemas."""


def load(folder: Path) -> Model:
    """Load a model folder. Raises ValueError for a folder that holds no model."""
    for model, tokenizer in (
        ("model", "components/tokenizer"),
        ("data/model", "data/tokenizer"),
        (".", "."),
    ):
        if (folder / model / "config.json").is_file():
            return ChatModel(folder / model, folder / tokenizer)
    if (folder / "MLmodel").is_file():
        return TabularModel(folder)
    raise ValueError(f"{folder} holds neither an MLmodel file nor a config.json")


class ChatModel:
    """A transformers model with a chat template."""

    def __init__(self, model: Path, tokenizer: Path) -> None:
        os.environ["HF_HUB_OFFLINE"] = "1"
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        gpu = torch.cuda.is_available()
        if not gpu:
            torch.set_num_threads(1)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer)
        if not self._tokenizer.chat_template:
            raise ValueError(f"the tokenizer in {tokenizer} has no chat template")
        dtype = "auto" if gpu else torch.float32
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=dtype)
        self._model = loaded.to("cuda" if gpu else "cpu").eval()
        self._context = int(self._model.config.max_position_embeddings)

    def score(self, body: dict[str, Any]) -> Any:
        conversations, parameters = read_chat_request(body)
        replies = [self._reply(messages, parameters) for messages in conversations]
        return {"output": replies[0] if len(replies) == 1 else replies}

    def schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        text = {"type": "string"}
        message = _object(role=text, content=text)
        conversation = {"type": "array", "items": message}
        data = _object(input_string={"type": "array", "items": conversation})
        data["properties"]["parameters"] = {"type": "object"}
        return _object(input_data=data), _object(output=text)

    def _reply(self, messages: list[dict[str, str]], parameters: dict[str, Any]) -> str:
        import torch

        try:
            prompt = self._tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
            ).to(self._model.device)
        except Exception as error:  # Templates raise what they like.
            raise BadRequest(f"The chat template refused the conversation: {error}") from error
        length = prompt["input_ids"].shape[1]
        room = self._context - length
        if room < 1:
            raise BadRequest(
                f"The conversation has {length} tokens; the model reads at most "
                f"{self._context - 1} and one more for its reply."
            )
        settings = dict(parameters)
        whole = settings.pop("return_full_text", False)
        settings["max_new_tokens"] = min(settings.get("max_new_tokens", DEFAULT_NEW_TOKENS), room)
        if settings.get("temperature") == 0:
            settings |= {"do_sample": False, "temperature": 1.0}
        with torch.inference_mode():
            tokens = self._model.generate(**prompt, **settings, min_new_tokens=1)[0]
        text: str = self._tokenizer.decode(
            tokens if whole else tokens[length:], skip_special_tokens=True
        )
        return text.strip()


class TabularModel:
    """Any other MLflow model, through its pyfunc flavor."""

    def __init__(self, folder: Path) -> None:
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(str(folder))

    def score(self, body: dict[str, Any]) -> Any:
        import pandas
        from mlflow.exceptions import MlflowException

        try:
            data = self._input(body)
            answer = self._model.predict(data, params=body.get("params") or None)
        except (MlflowException, ValueError) as error:
            raise BadRequest(f"The model refused input_data: {error}") from error
        if isinstance(answer, pandas.DataFrame):
            return answer.to_dict("records")
        return answer.tolist() if hasattr(answer, "tolist") else answer

    def schemas(self) -> tuple[dict[str, Any], dict[str, Any]]:
        signature = self._model.metadata.signature if self._model.metadata else None
        gives = _values(signature.outputs if signature else None)
        if signature is None or signature.inputs is None or signature.inputs.is_tensor_spec():
            return _object(input_data=_values(signature.inputs if signature else None)), gives
        name: dict[str, Any] = {"type": "string"}
        if signature.inputs.has_input_names():
            name["enum"] = signature.inputs.input_names()
        row = {"type": "array", "items": {}}
        data = _object(
            columns={"type": "array", "items": name},
            index={"type": "array", "items": {"type": "integer"}},
            data={"type": "array", "items": row},
        )
        data["required"].remove("index")
        return _object(input_data=data), gives

    def _input(self, body: dict[str, Any]) -> Any:
        """What the model is given: a table, or tensors, by the key that it came under."""
        import pandas

        if isinstance(split := body.get("dataframe_split"), dict):
            return pandas.DataFrame(split["data"], split.get("index"), split.get("columns"))
        if isinstance(records := body.get("dataframe_records"), list):
            return pandas.DataFrame(records)
        for key in ("inputs", "instances"):
            if isinstance(body.get(key), list | dict):
                return _tensors(body[key])
        data = body.get("input_data")
        if isinstance(data, dict) and {"columns", "data"} <= data.keys():
            return pandas.DataFrame(data["data"], data.get("index"), data["columns"])
        schema = self._model.metadata.get_input_schema() if self._model.metadata else None
        if isinstance(data, list | dict) and schema is not None and schema.is_tensor_spec():
            return _tensors(data)
        if isinstance(data, list | dict):
            return pandas.DataFrame(data)
        raise BadRequest("input_data is missing, or neither an object nor a list.")


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _values(schema: Any) -> dict[str, Any]:
    """The JSON schema of a list of values, or of rows, of an MLflow schema; None for an unknown."""
    if schema is None:
        return {}
    if schema.is_tensor_spec():
        return {"type": "array", "items": {}}
    columns = {str(column.name): _kind(column.type) for column in schema.inputs}
    only = len(columns) == 1 and not schema.has_input_names()
    return {"type": "array", "items": next(iter(columns.values())) if only else _object(**columns)}


def _kind(kind: Any) -> dict[str, Any]:
    """The JSON schema of a value of an MLflow type; of any value for one that is not plain."""
    word = str(getattr(kind, "name", ""))
    known = {"boolean": "boolean", "string": "string", "datetime": "string", "binary": "string"}
    known |= {"integer": "integer", "long": "integer", "float": "number", "double": "number"}
    return {"type": known[word]} if word in known else {}


def _tensors(data: Any) -> Any:
    """Numbers as MLflow's tensor models take them: an array, or arrays by name."""
    import numpy

    if isinstance(data, dict):
        return {name: numpy.array(values) for name, values in data.items()}
    return numpy.array(data)


def read_chat_request(body: dict[str, Any]) -> tuple[list[list[dict[str, str]]], dict[str, Any]]:
    """The conversations and generation parameters of a request. Raises BadRequest."""
    data = body.get("input_data")
    if not isinstance(data, dict) or "input_string" not in data:
        raise BadRequest("The body must have input_data.input_string: a list of conversations.")
    given = data["input_string"]
    if not isinstance(given, list) or not given:
        raise BadRequest("input_data.input_string must be a list that is not empty.")
    conversations = [given] if isinstance(given[0], dict) else given
    for number, messages in enumerate(conversations):
        if not isinstance(messages, list) or not messages:
            raise BadRequest(f"Conversation {number} is not a list of messages.")
        for message in messages:
            texts = message if isinstance(message, dict) else {}
            if not all(isinstance(texts.get(key), str) for key in ("role", "content")):
                raise BadRequest(
                    f"Conversation {number} has a message without the texts role and content."
                )
    parameters = {**(data.get("parameters") or {}), **(body.get("params") or {})}
    for name, value in parameters.items():
        _check_parameter(name, value)
    return conversations, parameters


def _check_parameter(name: str, value: Any) -> None:
    kinds = PARAMETERS.get(name)
    if kinds is None:
        raise BadRequest(f"Parameter {name} is not supported; use {', '.join(PARAMETERS)}.")
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise BadRequest(f"Parameter {name} is {value!r}; it must be of the type {expected}.")
    number = float(value)
    valid, limit = {
        "temperature": (number >= 0, "0 or more"),
        "top_k": (number >= 0, "0 or more"),
        "max_new_tokens": (number >= 1, "1 or more"),
        "top_p": (0 < number <= 1, "greater than 0 and at most 1"),
        "repetition_penalty": (number > 0, "greater than 0"),
    }.get(name, (True, ""))
    if not valid:
        raise BadRequest(f"Parameter {name} is {value}; it must be {limit}.")
