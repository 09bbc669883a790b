"""Keys, signatures and tokens of the Blob service, and what they do not open."""

import socket
from uuid import uuid4

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    AccountSasPermissions,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)

from emulator.blob_store import BlobError
from tests.emulator.blob_support import Service, container, error_of, service

__all__ = ["container", "service"]  # fixtures


def test_a_wrong_key_is_refused(service: Service, container: ContainerClient) -> None:
    client = BlobServiceClient(
        service.url,
        credential={"account_name": service.config.account, "account_key": "d3Jvbmc="},
        retry_total=0,
    )
    with pytest.raises(ClientAuthenticationError) as error:
        client.get_blob_client(container.container_name, "a").upload_blob(b"1")
    assert error_of(error) == (403, "AuthenticationFailed")


def test_our_own_signature_opens_one_container(
    service: Service, container: ContainerClient
) -> None:
    name = container.container_name
    client = service.container(service.store.sas(name), name)
    client.upload_blob("a b/c", b"1")
    assert [b.name for b in client.list_blobs()] == ["a b/c"]
    client.delete_blob("a b/c")
    other = service.client.create_container(f"other-{uuid4().hex[:8]}").container_name
    with pytest.raises(ClientAuthenticationError):
        service.container(service.store.sas(name), other).upload_blob("a", b"1")


def test_signatures_of_the_real_library_are_verified(
    service: Service, container: ContainerClient
) -> None:
    name = container.container_name
    account, key = service.config.account, service.config.account_key
    container.upload_blob("d/x", b"1")
    blob_sas = generate_blob_sas(
        account,
        name,
        "d/x",
        account_key=key,
        permission=BlobSasPermissions(read=True),
        expiry=service.later(hours=1),
        content_type="text/x-test",
    )
    blob = service.container(blob_sas, name).get_blob_client("d/x")
    assert blob.download_blob().readall() == b"1"
    assert blob.download_blob().properties.content_settings.content_type == "text/x-test"
    with pytest.raises(ClientAuthenticationError):
        service.container(blob_sas, name).get_blob_client("d/other").download_blob()
    with pytest.raises(HttpResponseError) as error:
        blob.delete_blob()
    assert error_of(error) == (403, "AuthorizationPermissionMismatch")
    account_sas = generate_account_sas(
        account,
        key,
        ResourceTypes(container=True, object=True),
        AccountSasPermissions(read=True, list=True, write=True),
        service.later(hours=1),
    )
    client = service.container(account_sas, name)
    client.upload_blob("e", b"2")
    assert [b.name for b in client.list_blobs()] == ["d/x", "e"]
    with pytest.raises(HttpResponseError) as error:
        client.delete_blob("e")
    assert error_of(error) == (403, "AuthorizationPermissionMismatch")


def test_a_signature_to_create_does_not_overwrite(
    service: Service, container: ContainerClient
) -> None:
    name = container.container_name
    client = service.container(service.store.sas(name, permissions="c"), name)
    client.upload_blob("new", b"1")
    with pytest.raises(HttpResponseError) as error:
        client.upload_blob("new", b"2", overwrite=True)
    assert error_of(error) == (403, "AuthorizationPermissionMismatch")


def test_an_expired_or_changed_signature_is_refused(
    service: Service, container: ContainerClient
) -> None:
    name = container.container_name
    expired = service.store.sas(name, hours=-1)
    read_only = service.store.sas(name, permissions="r")
    for sas in (expired, read_only.replace("sp=r", "sp=rw"), read_only[:-6] + "AAA%3D"):
        with pytest.raises(ClientAuthenticationError) as error:
            service.container(sas, name).upload_blob("a", b"1")
        assert error_of(error) == (403, "AuthenticationFailed")
    future = generate_container_sas(
        service.config.account,
        name,
        account_key=service.config.account_key,
        permission=ContainerSasPermissions(list=True),
        start=service.later(hours=1),
        expiry=service.later(hours=2),
    )
    with pytest.raises(ClientAuthenticationError):
        list(service.container(future, name).list_blobs())


def test_bearer_tokens_need_the_storage_audience(
    service: Service, container: ContainerClient
) -> None:
    url = f"{service.url}/{container.container_name}/t"
    put = {"x-ms-blob-type": "BlockBlob"}

    def send(audience: str) -> httpx.Response:
        token = service.tokens.issue(audience, service.config.client_id)
        return httpx.put(url, content=b"1", headers={**put, "Authorization": f"Bearer {token}"})

    assert send("https://storage.azure.com").status_code == 201
    assert send("https://management.azure.com").status_code == 401
    anonymous = httpx.put(url, content=b"1", headers=put)
    assert anonymous.status_code == 401
    assert "storage.azure.com" in anonymous.headers["www-authenticate"]


def test_a_name_cannot_leave_its_container(service: Service, container: ContainerClient) -> None:
    host, _, port = service.url.removeprefix("http://").partition(":")
    name = container.container_name
    for blob in ("../other/x", "a/../../x", "%2e%2e/x", "..%2fx", "./x", "a//x", "/etc/passwd"):
        with socket.create_connection((host, int(port))) as raw:
            path = f"/{name}/{blob}?{service.store.sas(name)}"
            raw.sendall(
                f"PUT {path} HTTP/1.1\r\nHost: x\r\nx-ms-blob-type: BlockBlob\r\n"
                "Content-Length: 1\r\nConnection: close\r\n\r\n1".encode()
            )
            assert b"400 Bad Request" in raw.recv(4096)
    with pytest.raises(BlobError):
        service.store.path(name, "../x")
    with pytest.raises(BlobError):
        service.store.path("..", "x")
