"""What jobs pass around: literals, data and outputs of steps, read from either wire shape.

The top level of a job writes camelCase (`jobInputType`), the nodes of a pipeline snake_case
(`job_input_type`), and a component's YAML plain values; each is parsed here, once.
"""

from dataclasses import dataclass
from typing import Any

DATA_TYPES = frozenset(
    {"uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"}
)
"""Types of inputs and outputs that are files or folders."""

LITERAL_TYPES = frozenset({"string", "number", "integer", "boolean"})
"""Types of plain values."""

FILE_TYPES = frozenset({"uri_file"}) | LITERAL_TYPES
"""Types of outputs that are one file; a plain value is a file with its text."""


@dataclass(frozen=True)
class Literal:
    """A plain value; the wire knows text only."""

    text: str


@dataclass(frozen=True)
class Data:
    """A file or folder somewhere: a datastore path, an asset or a model."""

    uri: str
    type: str
    mode: str | None = None


@dataclass(frozen=True)
class StepOutput:
    """What another step will have written: the step's key, the output's name and type."""

    step: str
    name: str
    type: str = "uri_folder"
    earlier: tuple["StepOutput", ...] = ()
    """What stands in for it, newest last, where the step does not run: an earlier iteration."""

    @property
    def candidates(self) -> tuple["StepOutput", ...]:
        """Itself and what stands in for it, the one to prefer first."""
        return (self, *reversed(self.earlier))


@dataclass(frozen=True)
class PathIn:
    """A path inside of a data value: `${{parent.inputs.folder}}/part.csv`."""

    base: Data | StepOutput
    suffix: str
    type: str


Value = Literal | Data | StepOutput | PathIn


@dataclass(frozen=True)
class RawInput:
    """An input as written: either literal text, or data by its uri. Either may hold bindings."""

    text: str
    type: str
    mode: str | None

    @property
    def literal(self) -> bool:
        return self.type == "literal"


@dataclass(frozen=True)
class RawOutput:
    """An output as written. `binding` is an expression; `uri` a path that the user chose."""

    type: str | None = None
    mode: str | None = None
    uri: str | None = None
    binding: str | None = None
    asset_name: str | None = None
    asset_version: str | None = None


def literal_text(value: Any) -> str:
    """A YAML or JSON scalar as the service writes it: booleans as `True` and `False`."""
    return value if isinstance(value, str) else str(value)


def read_input(raw: Any) -> RawInput | None:
    """One input of a job or node; None where it is written but empty."""
    if raw is None:
        return None
    if not isinstance(raw, dict):
        return RawInput(literal_text(raw), "literal", None)
    kind = str(_either(raw, "jobInputType", "job_input_type", "type") or "literal").lower()
    if kind == "literal" or "value" in raw:
        value = raw.get("value")
        mode = _mode(raw.get("mode"))  # of what a binding leads to
        return None if value is None else RawInput(literal_text(value), "literal", mode)
    uri = _either(raw, "uri", "path")
    return None if uri is None else RawInput(str(uri), kind, _mode(raw.get("mode")))


def read_output(raw: Any) -> RawOutput:
    """One output of a job or node."""
    if raw is None:
        return RawOutput()
    if not isinstance(raw, dict):
        return RawOutput(binding=str(raw))
    kind = _either(raw, "jobOutputType", "job_output_type", "type")
    return RawOutput(
        type=None if kind in (None, "literal") else str(kind).lower(),
        mode=_mode(raw.get("mode")),
        uri=_either(raw, "uri", "path"),
        binding=raw.get("value"),
        asset_name=_either(raw, "assetName", "asset_name", "name"),
        asset_version=_either(raw, "assetVersion", "asset_version", "version"),
    )


def _either(raw: dict[str, Any], *names: str) -> Any:
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _mode(mode: Any) -> str | None:
    """`ReadOnlyMount` and `ro_mount` name the same thing; the second form is used inside."""
    words = {
        "readonlymount": "ro_mount",
        "readwritemount": "rw_mount",
        "evalmount": "eval_mount",
        "evaldownload": "eval_download",
    }
    return None if mode is None else words.get(str(mode).lower(), str(mode).lower())
