"""Whether a template could be deployed: how clients have a component checked without making it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import AzureError, Router, emulator_of, json_body, request_id, timestamp
from emulator.resource_manager.asset_kinds import COMPONENTS
from emulator.resource_manager.asset_versions import check_version
from emulator.resource_manager.places import Place
from emulator.resource_manager.resources import properties_of

_PATH = (
    "/subscriptions/{subscription}/resourceGroups/{resource_group}"
    "/providers/Microsoft.Resources/deployments/{deployment}/validate"
)
_COMPONENT = "Microsoft.MachineLearningServices/workspaces/components/versions"


def register(router: Router) -> None:
    @router.operation("Deployments_Validate", "POST", _PATH)
    async def validate(request: Request) -> Response:
        template = properties_of(await json_body(request)).get("template")
        resources = template.get("resources") if isinstance(template, dict) else None
        listed = resources if isinstance(resources, list) else []
        _check_kinds(listed)
        problems = [problem for each in listed if (problem := _problem(request, each))]
        name = request.path_params["deployment"]
        if problems:
            error = {
                "code": "InvalidTemplateDeployment",
                "message": f"The template deployment '{name}' is not valid according to the "
                f"validation procedure. The tracking id is '{request_id()}'. See inner errors "
                "for details.",
                "details": problems,
            }
            return JSONResponse({"error": error}, 400)
        properties = {
            "mode": "Incremental",
            "provisioningState": "Succeeded",
            "timestamp": timestamp(),
            "duration": "PT0S",
            "correlationId": request_id(),
            "validatedResources": [{"id": _place(request, each).path} for each in listed],
        }
        path = request.url.path.rpartition("/")[0]
        kind = "Microsoft.Resources/deployments"
        return JSONResponse({"id": path, "name": name, "type": kind, "properties": properties})


def _check_kinds(resources: list[Any]) -> None:
    """Raise AzureError 501 for a template of anything but versions of components."""
    kinds = {str(each.get("type") if isinstance(each, dict) else each) for each in resources}
    if others := sorted(kinds - {_COMPONENT}):
        raise AzureError(
            501,
            "OperationNotSupported",
            "The local Azure ML does not emulate Deployments_Validate of a template with "
            f"{', '.join(others)}; it checks templates of {_COMPONENT}.",
        )
    if not kinds:
        raise AzureError(400, "InvalidTemplate", "The template of the deployment has no resources.")


def _problem(request: Request, resource: dict[str, Any]) -> dict[str, Any] | None:
    """What keeps a resource from being made; None where nothing does."""
    try:
        _, name, version = _names(resource)
        check_version(_place(request, resource), COMPONENTS, name, version, resource)
    except AzureError as error:
        if error.status == 501:
            raise
        return {"code": error.code, "message": error.message, "target": "componentSpec"}
    return None


def _place(request: Request, resource: dict[str, Any]) -> Place:
    group = request.url.path.partition("/providers/")[0]
    namespace = _COMPONENT.partition("/components/")[0]
    return Place(emulator_of(request), f"{group}/providers/{namespace}/{_names(resource)[0]}")


def _names(resource: dict[str, Any]) -> tuple[str, str, str]:
    """The workspace, the component and the version that a resource's name is made of."""
    parts = str(resource.get("name")).split("/")
    if len(parts) != 3:
        raise AzureError(
            400,
            "InvalidTemplate",
            f"The name {resource.get('name')} of a resource of type {_COMPONENT} must be "
            "<workspace>/<component>/<version>.",
        )
    return parts[0], parts[1], parts[2]
