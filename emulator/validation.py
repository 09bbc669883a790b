"""Bodies of the control API: read into a model, or refused with the name of the field."""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from emulator.http import AzureError

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], value: Any, where: str = "") -> Model:
    """The value as a model; AzureError 400 that names every field that is wrong."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        problems = "; ".join(_sentence(problem, where) for problem in error.errors())
        raise AzureError(400, "UserError", problems) from error


def _sentence(problem: Any, where: str) -> str:
    field = ".".join(str(part) for part in (where, *problem["loc"]) if part != "") or "the body"
    message: str = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{field}: there is no such field"
    return f"{field}: {message}"
