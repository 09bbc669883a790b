"""Every emulated host, dispatched by name to one service."""

import logging
import time
from functools import cached_property

from starlette.datastructures import State
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from emulator import (
    blob,
    control,
    datastore_service,
    key_vault,
    mlflow_service,
    public_blobs,
    registry_publish,
    registry_service,
    registry_uploads,
    run_history,
    scoring,
    service_instances,
)
from emulator.batch import service as batch_service
from emulator.blob_store import BlobError
from emulator.core import Emulator
from emulator.gate import Gate, host_of
from emulator.headers import ServiceHeaders
from emulator.http import AzureError, Handler, Router, request_id
from emulator.identity import MACHINE_LEARNING, MANAGEMENT, identity_router
from emulator.limits import limited
from emulator.placeholders import Placeholders
from emulator.refusals import refusal
from emulator.resource_manager import (
    assets,
    batch_endpoints,
    computes,
    connections,
    datastores,
    dependents,
    deployment_skus,
    endpoints,
    jobs,
    key_vaults,
    locations,
    managed_networks,
    not_emulated,
    provider_operations,
    registries,
    role_assignments,
    schedules,
    storage_accounts,
    template_deployments,
    template_validation,
    uploads,
    user_identities,
    workspace_network,
    workspace_quotas,
    workspaces,
)
from emulator.storage_errors import CODE, STATUS, NotKept, storage_problem

_log = logging.getLogger(__name__)

UNKNOWN = "NotSupported"
"""The operation's name of a request that no service knows."""

_BLOB_DOMAIN = ".blob.core.windows.net"
_API_DOMAINS = (".api.azureml.ms", ".experiments.azureml.net")
"""A region's data plane; clients of a registry that name a workspace ask at the second."""
_OPEN_PATHS = ("/metadata/endpoints", "/discovery")
"""Answered without a token, as the real service does."""


def gated_application(emulator: Emulator) -> ASGIApp:
    """All services behind the event log and the faults."""
    application = Application(emulator)
    gate = Gate(application, emulator.faults, emulator.events, application.operation_name, refusal)
    return Placeholders(gate, emulator.config)


class Application:
    """The ASGI application behind the TLS server."""

    def __init__(self, emulator: Emulator) -> None:
        self.state = State({"emulator": emulator})
        self._emulator = emulator
        self.management = Router("resource manager")
        for resource in (workspaces, computes, assets, uploads, jobs, endpoints, schedules):
            resource.register(self.management)
        batch_endpoints.register(self.management)
        for part in (locations, datastores, connections, registries, template_deployments):
            part.register(self.management)
        for other in (storage_accounts, key_vaults, user_identities, role_assignments, dependents):
            other.register(self.management)
        template_validation.register(self.management)
        managed_networks.register(self.management)
        for part in (deployment_skus, provider_operations, workspace_network, workspace_quotas):
            part.register(self.management)
        registry_publish.register(self.management)
        not_emulated.register(self.management)
        self.api = Router("data plane")
        for service in (registry_service, registry_uploads, run_history, mlflow_service):
            service.register(self.api)
        locations.register_data_plane(self.api)
        datastore_service.register(self.api)
        service_instances.register(self.api)
        batch_service.register(self.api)
        self.identity = identity_router()
        self.vaults = key_vault.vault_router()
        self.control = Router("control")
        control.register(self.control)

    @cached_property
    def _headers(self) -> ServiceHeaders:
        return ServiceHeaders(self._emulator.config)

    def operation_name(self, scope: Scope) -> str | None:
        """The name of what a request asks for; None for the control API, which is not logged."""
        host = host_of(scope)
        if host == control.HOST:
            return None
        if host.endswith(_BLOB_DOMAIN):
            name = blob.operation_name(scope)
        elif host.endswith(".inference.ml.azure.com"):
            batch = scope["path"].rstrip("/") == scoring.BATCH_JOBS
            name = batch_service.INVOKE if batch else "Endpoint_Score"
        else:
            router = self._router(host)
            name = router.name(scope) if router else None
        return name or UNKNOWN

    def _router(self, host: str) -> Router | None:
        if host == "login.microsoftonline.com":
            return self.identity
        if host == "management.azure.com":
            return self.management
        if host.endswith(key_vault.DOMAIN):
            return self.vaults
        return self.api if host.endswith(_API_DOMAINS) else None

    def _handler(self, host: str) -> Handler:
        if host == "login.microsoftonline.com":
            return self.identity.handle
        if host == "management.azure.com":
            return self._authenticated(self.management)
        if host.endswith(_API_DOMAINS):
            return self._authenticated(self.api, *MACHINE_LEARNING)
        if host.endswith(key_vault.DOMAIN):
            return self.vaults.handle
        if host.endswith(_BLOB_DOMAIN):
            return public_blobs.handle
        if host.endswith(".inference.ml.azure.com"):
            return scoring.handle
        if host == control.HOST:
            return self.control.handle
        raise AzureError(
            501, "HostNotSupported", f"The local Azure ML does not emulate the host {host}."
        )

    def _authenticated(self, router: Router, *audiences: str) -> Handler:
        async def handle(request: Request) -> Response:
            if request.scope["path"] not in _OPEN_PATHS:
                self._emulator.tokens.check(request, *MANAGEMENT, *audiences)
            return await router.handle(request)

        return handle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope["app"] = self
        request = Request(scope, receive, send)
        host, path = host_of(scope), scope["path"]
        config = self._emulator.config
        began = time.monotonic()
        losses = self._emulator.store.losses
        try:
            if host != control.HOST:
                await self._emulator.reset_done()
            if not host.endswith(_BLOB_DOMAIN):
                request = Request(scope, limited(scope, receive), send)
            response = await self._handler(host)(request)
        except ClientDisconnect:
            _log.info("%s https://%s%s: the client went away", request.method, host, path)
            return
        except AzureError as error:
            response = error.response(config.location)
        except Exception as error:
            _log.exception("%s https://%s%s failed", request.method, host, path)
            response = self._failure(error, request)
        try:
            self._keep(losses, request)
        except NotKept as error:
            response = self._failure(error, request)
        if "x-ms-request-id" not in response.headers:
            response.raw_headers.append((b"x-ms-request-id", request_id().encode()))
        if self._router(host) in (self.management, self.api):
            self._headers.add(response, request, began)
        _log.info("%s https://%s%s %s", request.method, host, path, response.status_code)
        await response(scope, receive, send)

    def _keep(self, losses: int, request: Request) -> None:
        """Nobody is told of what is not on the disk."""
        store = self._emulator.store
        store.commit()
        if store.losses != losses and request.method not in ("GET", "HEAD"):
            raise NotKept(
                "The local Azure ML could not write all of what the request changes to its state "
                "folder. Make room there, and send the request again."
            )

    def _failure(self, error: Exception, request: Request) -> Response:
        """The answer that something failed which should not."""
        if problem := storage_problem(error):
            if host_of(request.scope).endswith(_BLOB_DOMAIN):
                return blob.error_response(request, BlobError(STATUS, CODE, problem))
            return AzureError(STATUS, CODE, problem).response(self._emulator.config.location)
        return AzureError(
            500,
            "InternalServerError",
            f"The local Azure ML failed on {request.method} {request.scope['path']}; its log has "
            "the reason.",
        ).response(self._emulator.config.location)
