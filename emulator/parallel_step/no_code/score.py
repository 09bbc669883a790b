"""Predict whole files with an MLflow model: one line `row,prediction,file` for each row of a file.

Runs in the model's own environment: nothing of the emulator is imported here.
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

_IMAGES = (".png", ".jpg", ".jpeg", ".tiff", ".bmp", ".gif")
_model: Any = None


def init() -> None:
    """Load the model once for each worker process."""
    global _model
    import mlflow.pyfunc

    folder = Path(os.environ["AZUREML_MODEL_DIR"])
    (described,) = [*folder.glob("MLmodel"), *folder.glob("*/MLmodel")]
    _model = mlflow.pyfunc.load_model(str(described.parent))


def run(mini_batch: list[str]) -> list[str]:
    """The lines of all rows of these files."""
    return [line for path in mini_batch for line in _lines(Path(path))]


def _lines(path: Path) -> list[str]:
    predictions = _model.predict(_read(path))
    if hasattr(predictions, "to_dict"):
        rows = predictions.to_dict("records") if hasattr(predictions, "columns") else predictions
        values = [next(iter(row.values())) if len(row) == 1 else row for row in rows]
    else:
        values = predictions.tolist() if hasattr(predictions, "tolist") else list(predictions)
    return [_line(number, value, path.name) for number, value in enumerate(values)]


def _line(number: int, value: Any, file: str) -> str:
    text = io.StringIO()
    written = json.dumps(value, default=str) if isinstance(value, (dict, list)) else value
    csv.writer(text, lineterminator="").writerow([number, written, file])
    return text.getvalue()


def _read(path: Path) -> Any:
    kind = path.suffix.lower()
    if kind == ".csv":
        import pandas

        return pandas.read_csv(path)
    if kind in (".parquet", ".pq"):
        import pandas

        return pandas.read_parquet(path)
    if kind in _IMAGES:
        import numpy
        from PIL import Image

        with Image.open(path) as image:
            return numpy.expand_dims(numpy.asarray(image), axis=0)
    raise ValueError(
        f"{path.name}: a deployment without a scoring script reads .csv, .parquet, .pq and images "
        f"({', '.join(_IMAGES)}). Give the deployment a scoring script for files of another kind."
    )
