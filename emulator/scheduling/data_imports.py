"""The job of a schedule that imports data: a pipeline of one node, as clients submit it."""

from collections.abc import Mapping
from typing import Any

from emulator.http import AzureError

ACTION = "ImportData"
_COMPONENTS = {"database": "import_data_database", "file_system": "import_data_file_system"}


def completed_import(given: Any) -> dict[str, Any]:
    """An import's definition with the nulls that the service adds; 400 for one without source."""
    source = given.get("source") if isinstance(given, dict) else None
    if not isinstance(source, dict) or source.get("sourceType") not in _COMPONENTS:
        raise AzureError(
            400,
            "UserError",
            "The schedule's action has no dataImportDefinition with a source of the type "
            f"{' or '.join(_COMPONENTS)}.",
        )
    return {"description": None, "tags": {}, "properties": {}, "isArchived": False, **given}


def import_job(definition: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of the job that does an import once."""
    name, source = str(definition.get("assetName") or "data"), definition["source"]
    written = {key: value for key, value in source.items() if key != "sourceType"}
    kind = "mltable" if source["sourceType"] == "database" else definition.get("dataType")
    sink = {"job_output_type": kind or "uri_folder", "name": name, "uri": definition.get("dataUri")}
    node = {
        "type": "data_transfer",
        "task": "import_data",
        "source": {"type": source["sourceType"], **written},
        "outputs": {"sink": sink},
        "componentId": "azureml://registries/azureml/components/"
        f"{_COMPONENTS[source['sourceType']]}/versions/0.0.1",
    }
    return {
        "jobType": "Pipeline",
        "experimentName": f"data_import_{name}",
        "description": definition.get("description"),
        "tags": definition.get("tags") or {},
        "properties": {"azureml.materializationAssetName": name},
        "jobs": {f"data_import_{name}": node},
        "inputs": {},
        "outputs": {},
        "settings": {"force_rerun": True, "default_compute": "serverless"},
    }
