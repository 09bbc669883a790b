"""The managed network of a workspace: its outbound rules, kept and answered; it blocks nothing."""

import uuid
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.http import WORKSPACE, AzureError, Router, emulator_of, json_body
from emulator.resource_manager.locations import keep_result
from emulator.resource_manager.resources import listing, properties_of, workspace_path
from emulator.store import Resource, Store

_RULES = WORKSPACE + "/outboundRules"
_RULE = _RULES + "/{rule}"
_DESTINATIONS: dict[str, type] = {"FQDN": str, "PrivateEndpoint": dict, "ServiceTag": dict}
"""Kinds of rules, and the JSON type of where each leads."""
_STRICT = "AllowOnlyApprovedOutbound"


def register(router: Router) -> None:
    router.operation("ManagedNetworkSettingsRule_CreateOrUpdate", "PUT", _RULE)(_put)
    router.operation("ManagedNetworkSettingsRule_Delete", "DELETE", _RULE)(_delete)
    router.operation(
        "ManagedNetworkProvisions_ProvisionManagedNetwork",
        "POST",
        WORKSPACE + "/provisionManagedNetwork",
    )(_provision)

    @router.operation("ManagedNetworkSettingsRule_List", "GET", _RULES)
    async def list_rules(request: Request) -> Response:
        workspace = _workspace(request)
        return listing(request, [_resource(workspace, name) for name in _rules(workspace)])

    @router.operation("ManagedNetworkSettingsRule_Get", "GET", _RULE)
    async def get_rule(request: Request) -> Response:
        workspace, name = _workspace(request), request.path_params["rule"]
        if name not in _rules(workspace):
            raise AzureError(404, "ResourceNotFound", f"The outbound rule {name} was not found.")
        return JSONResponse(_resource(workspace, name))


async def _put(request: Request) -> Response:
    emulator, workspace = emulator_of(request), _workspace(request)
    rule = _checked(properties_of(await json_body(request)), _mode(workspace))
    network = _network(workspace)
    rules = {**_rules(workspace), request.path_params["rule"]: rule}
    _keep(emulator.store, workspace, {**network, "outboundRules": rules})
    operation = emulator.operations.begin(None)
    headers = emulator.operations.headers(operation, location=True)
    keep_result(emulator, operation, _resource(workspace, request.path_params["rule"]))
    return Response(status_code=202, headers=headers)


async def _delete(request: Request) -> Response:
    emulator, workspace = emulator_of(request), _workspace(request)
    rules, name = _rules(workspace), request.path_params["rule"]
    if name not in rules:
        return Response(status_code=204)
    left = {key: rule for key, rule in rules.items() if key != name}
    _keep(emulator.store, workspace, {**_network(workspace), "outboundRules": left})
    headers = emulator.operations.headers(emulator.operations.begin(None), location=True)
    return Response(status_code=202, headers=headers)


async def _provision(request: Request) -> Response:
    emulator, workspace = emulator_of(request), _workspace(request)
    body = await json_body(request) if await request.body() else {}
    _mode(workspace)
    status = {"status": "Active", "sparkReady": body.get("includeSpark") is True}
    rules = {name: {**rule, "status": "Active"} for name, rule in _rules(workspace).items()}
    network = _network(workspace)
    named = {"networkId": network.get("networkId") or str(uuid.uuid4())}
    _keep(emulator.store, workspace, {**network, **named, "status": status, "outboundRules": rules})
    operation = emulator.operations.begin(None)
    keep_result(emulator, operation, status)
    headers = emulator.operations.headers(operation, location=True)
    return Response(status_code=202, headers=headers)


def _checked(rule: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """A rule with what the service adds to it; 400 for one that the network cannot have."""
    kind = next((k for k in _DESTINATIONS if k.lower() == str(rule.get("type")).lower()), None)
    if kind is None:
        raise AzureError(
            400,
            "ValidationError",
            f"The outbound rule's type '{rule.get('type')}' is none of {', '.join(_DESTINATIONS)}.",
        )
    destination = rule.get("destination")
    if not destination or not isinstance(destination, _DESTINATIONS[kind]):
        raise AzureError(400, "ValidationError", f"An outbound rule of type {kind} needs a target.")
    if kind != "PrivateEndpoint" and mode != _STRICT:
        raise AzureError(
            400,
            "ValidationError",
            f"Outbound rules of type {kind} need the isolation mode {_STRICT}; the workspace's "
            f"managed network has {mode}.",
        )
    status = "Inactive" if kind == "PrivateEndpoint" else "Active"
    return {"category": "UserDefined", "status": status, **rule, "type": kind}


def _workspace(request: Request) -> Resource:
    workspace = emulator_of(request).store.get(workspace_path(request))
    assert workspace is not None
    return workspace


def _network(workspace: Resource) -> dict[str, Any]:
    return dict(workspace["properties"].get("managedNetwork") or {})


def _mode(workspace: Resource) -> str:
    """How the network is closed off; 400 for a workspace without one."""
    mode = str(_network(workspace).get("isolationMode") or "Disabled")
    if mode == "Disabled":
        raise AzureError(
            400,
            "ValidationError",
            f"The workspace {workspace['name']} has no managed network. Update it with one first.",
        )
    return mode


def _rules(workspace: Resource) -> dict[str, dict[str, Any]]:
    rules: dict[str, dict[str, Any]] = _network(workspace).get("outboundRules") or {}
    return rules


def _resource(workspace: Resource, name: str) -> Resource:
    return {
        "id": f"{workspace['id']}/outboundRules/{name}",
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces/outboundRules",
        "properties": _rules(workspace)[name],
        "systemData": workspace["systemData"],
    }


def _keep(store: Store, workspace: Resource, network: dict[str, Any]) -> None:
    workspace["properties"]["managedNetwork"] = network
    store.put(workspace["id"], workspace)
