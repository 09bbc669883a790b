"""What leaves through the proxy: emulated hosts go to the emulator, all others nowhere."""

import socket
import ssl

import pytest
import requests
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from emulator.certificates import DOMAINS
from emulator.proxy import is_emulated
from tests.emulator.running import RunningEmulator


def test_a_host_that_is_not_emulated_is_refused(emulator: RunningEmulator) -> None:
    with pytest.raises(requests.exceptions.ProxyError, match="502"):
        requests.get("https://example.com/", timeout=10)


def test_plain_http_is_refused(emulator: RunningEmulator) -> None:
    proxy = emulator.environment["HTTPS_PROXY"]
    answer = requests.get("http://example.com/", proxies={"http": proxy}, timeout=10)
    assert answer.status_code == 502
    assert "does not emulate" in answer.text


@given(st.sampled_from(DOMAINS), st.from_regex(r"[a-z0-9-]{1,20}", fullmatch=True))
def test_only_whole_labels_match(domain: str, label: str) -> None:
    assert is_emulated(domain)
    assert is_emulated(f"{label}.{domain.upper()}")
    assert not is_emulated(f"{domain}.{label}.example")


@pytest.mark.parametrize(
    "host",
    ["azure.com", "evilmanagement.azure.com", "evilml.azure.com", "blob.core.windows.net.evil.com"],
)
def test_a_look_alike_is_not_emulated(host: str) -> None:
    assert not is_emulated(host)


def test_garbage_does_not_hang_the_proxy(emulator: RunningEmulator) -> None:
    host, _, port = emulator.environment["HTTPS_PROXY"].removeprefix("http://").partition(":")
    for garbage in (b"\r\n\r\n", b"CONNECT\r\n\r\n", b"\x16\x03\x01" * 50 + b"\r\n\r\n"):
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(garbage)
            assert connection.recv(100).startswith(b"HTTP/1.1 502")


def test_the_authority_is_bound_to_the_emulated_names(emulator: RunningEmulator) -> None:
    certificates = x509.load_pem_x509_certificates(
        (emulator.state / "certificates" / "server.pem").read_bytes()
    )
    constraints = certificates[1].extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    permitted = constraints.value.permitted_subtrees or []
    assert {name.value for name in permitted} == set(DOMAINS)


def test_nobody_trusts_the_certificate_without_the_bundle(emulator: RunningEmulator) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(
            "https://management.azure.com/metadata/endpoints",
            verify=ssl.get_default_verify_paths().openssl_cafile,
            timeout=10,
        )
