"""Role definitions and role assignments of the resource manager."""

import re
import uuid
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import authorization
from emulator.authorization import ROLES, Role
from emulator.http import ResourceManagerError, Router, emulator_of, json_body
from emulator.resource_manager.resources import properties_of
from emulator.store import Resource

_BASE = "{scope:path}/providers/Microsoft.Authorization"
_EQUALS = re.compile(r"(\w+)\s+eq\s+'([^']*)'", re.IGNORECASE)
_ASSIGNED = re.compile(r"assignedTo\('([^']*)'\)", re.IGNORECASE)


def register(router: Router) -> None:
    assignment = _BASE + "/roleAssignments/{assignment}"
    router.operation("RoleAssignments_Create", "PUT", assignment)(_create)

    @router.operation("RoleDefinitions_List", "GET", _BASE + "/roleDefinitions")
    async def list_definitions(request: Request) -> Response:
        wanted = dict(_EQUALS.findall(request.query_params.get("$filter", "")))
        name = wanted.get("roleName")
        found = [_definition(request, r) for r in ROLES if name is None or r.name == name]
        return JSONResponse({"value": found})

    @router.operation("RoleDefinitions_Get", "GET", _BASE + "/roleDefinitions/{definition}")
    async def get_definition(request: Request) -> Response:
        return JSONResponse(_definition(request, _role(request.path_params["definition"], 404)))

    @router.operation("RoleAssignments_ListForScope", "GET", _BASE + "/roleAssignments")
    async def list_assignments(request: Request) -> Response:
        return JSONResponse({"value": _listed(request)})

    @router.operation("RoleAssignments_Get", "GET", assignment)
    async def get_assignment(request: Request) -> Response:
        found = authorization.assignment(emulator_of(request), _path(request))
        if found is None:
            name = request.path_params["assignment"]
            raise ResourceManagerError(
                404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found."
            )
        return JSONResponse(found)

    @router.operation("RoleAssignments_Delete", "DELETE", assignment)
    async def delete_assignment(request: Request) -> Response:
        emulator, path = emulator_of(request), _path(request)
        found = authorization.assignment(emulator, path)
        if found is None:
            return Response(status_code=204)
        authorization.remove(emulator, path)
        return JSONResponse(found)


async def _create(request: Request) -> Response:
    emulator = emulator_of(request)
    properties = properties_of(await json_body(request), "roleDefinitionId", "principalId")
    name, principal = request.path_params["assignment"], properties.get("principalId")
    if not _is_guid(name):
        raise ResourceManagerError(
            400, "InvalidRoleAssignmentId", f"The role assignment ID '{name}' is not a valid GUID."
        )
    if not principal or not _is_guid(principal):
        raise ResourceManagerError(
            400, "InvalidPrincipalId", f"The principal ID '{principal}' is not valid: it is a GUID."
        )
    role = _role(str(properties.get("roleDefinitionId")), 400)
    scope = _scope(request)
    for other in authorization.assignments(emulator):
        given = other["properties"]
        same = given["principalId"] == principal and given["scope"].lower() == scope.lower()
        if (
            other["name"] != name
            and same
            and role == authorization.role_of(given["roleDefinitionId"])
        ):
            raise ResourceManagerError(
                409,
                "RoleAssignmentExists",
                f"The role assignment already exists. The ID of the conflicting role assignment "
                f"is {other['name'].replace('-', '')}.",
            )
    kind = str(properties.get("principalType") or "ServicePrincipal")
    return JSONResponse(authorization.assign(emulator, scope, name, role, principal, kind), 201)


def _listed(request: Request) -> list[Resource]:
    """What is assigned at a scope and above it, and below it too unless atScope() is asked for."""
    emulator, scope = emulator_of(request), _scope(request)
    text = request.query_params.get("$filter", "")
    equal = dict(_EQUALS.findall(text))
    assigned = _ASSIGNED.search(text)
    principal = assigned[1] if assigned else equal.get("principalId")
    found = []
    for resource in authorization.assignments(emulator):
        given = resource["properties"]
        above = authorization.within(scope, given["scope"])
        below = "atscope()" not in text.lower() and authorization.within(given["scope"], scope)
        if (above or below) and principal in (None, given["principalId"]):
            found.append(resource)
    return found


def _role(definition: str, status: int) -> Role:
    role = authorization.role_of(definition)
    if role is None:
        raise ResourceManagerError(
            status,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{definition.rpartition('/')[2]}' does not "
            "exist. The local Azure ML knows built-in roles only; list the role definitions to "
            "see which.",
        )
    return role


def _definition(request: Request, role: Role) -> dict[str, Any]:
    subscription = emulator_of(request).config.subscription
    return {
        "id": f"/subscriptions/{subscription}/providers/Microsoft.Authorization/roleDefinitions"
        f"/{role.guid}",
        "name": role.guid,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name,
            "type": "BuiltInRole",
            "description": "",
            "assignableScopes": ["/"],
            "permissions": [
                {
                    "actions": list(role.actions),
                    "notActions": [],
                    "dataActions": list(role.data_actions),
                    "notDataActions": [],
                }
            ],
        },
    }


def _path(request: Request) -> str:
    return authorization.assignment_path(_scope(request), request.path_params["assignment"])


def _scope(request: Request) -> str:
    return "/" + str(request.path_params["scope"]).strip("/")


def _is_guid(text: str) -> bool:
    try:
        return bool(uuid.UUID(text))
    except ValueError:
        return False
