"""The errors that a fault answers with, each in the shape of the service that it stands for."""

import base64
import json
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator import blob
from emulator.blob_store import BlobError
from emulator.faults import Action
from emulator.http import AzureError
from emulator.identity import oauth_error, refused

_CODES = {
    400: "UserError",
    401: "AuthenticationFailed",
    403: "AuthorizationFailed",
    404: "ResourceNotFound",
    408: "RequestTimeout",
    409: "Conflict",
    412: "PreconditionFailed",
    429: "TooManyRequests",
    500: "InternalServerError",
    502: "BadGateway",
    503: "ServiceUnavailable",
    504: "GatewayTimeout",
}
_BLOB_CODES = {429: "ServerBusy", 500: "InternalError", 503: "ServerBusy"}
_CLAIMS = {"access_token": {"nbf": {"essential": True, "value": "0"}}}


def refusal(request: Request, action: Action) -> Response:
    """The answer for an action's status, or for its token."""
    host = (request.url.hostname or "").lower()
    if action.token is not None:
        return _token_refusal(request, host, action)
    status = action.status or 500
    is_blob = host.endswith(".blob.core.windows.net")
    codes = _CODES | _BLOB_CODES if is_blob else _CODES
    code = action.code or codes.get(status, "Error")
    message = action.message or f"{_phrase(status)} (a fault of the local Azure ML)."
    if is_blob:
        return blob.error_response(
            request, BlobError(status, code, message, headers=action.headers)
        )
    if host == "login.microsoftonline.com":
        answer = oauth_error(status, code, 90033, message)
        answer.headers.update(action.headers)
        return answer
    if host.endswith(".inference.ml.azure.com"):
        body = {"error": {"code": code, "message": message}}
        return JSONResponse(body, status, action.headers)
    return AzureError(status, code, message, action.headers).response()


def hub_refusal(request: Request, action: Action) -> Response:
    """The same of the Hugging Face hub."""
    status = action.status or 401
    message = action.message or f"{_phrase(status)} (a fault of the stand-in hub)."
    headers = {"X-Error-Code": action.code or "Fault", "X-Error-Message": message}
    return JSONResponse({"error": message}, status, headers | action.headers)


def _token_refusal(request: Request, host: str, action: Action) -> Response:
    """What a service says to a token that is over, or that was revoked before its time."""
    if host.endswith(".blob.core.windows.net"):
        text = "Signature not valid in the specified time frame"
        return blob.error_response(request, BlobError(403, "AuthenticationFailed", text))
    if host.endswith(".inference.ml.azure.com"):
        body = {"error": {"code": "aad_auth_access_denied", "message": "The token has expired."}}
        return JSONResponse(body, 401)
    if action.token == "expired":
        return refused(
            "ExpiredAuthenticationToken", "The access token expiry has passed."
        ).response()
    claims = base64.b64encode(json.dumps(_CLAIMS).encode()).decode()
    challenge = (
        'Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/'
        f'authorize", error="insufficient_claims", claims="{claims}"'
    )
    return AzureError(
        401,
        "InvalidAuthenticationToken",
        "The access token was revoked: continuous access evaluation asks for a new one.",
        {"WWW-Authenticate": challenge},
    ).response()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"
