"""What runs under `exec` reaches package indexes, and nothing else, without the proxy."""

from pathlib import Path

import pytest
import requests.utils

from emulator.config import make_config

PIP_FILE = """
[global]
index-url = https://user:secret@packages.example:8443/simple
extra-index-url = https://wheels.example/simple file:///opt/simple
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".pip").mkdir()
    (tmp_path / ".pip/pip.conf").write_text(PIP_FILE)
    return tmp_path


def test_a_client_goes_to_the_indexes_without_the_proxy(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "HOME": str(home),
        "UV_INDEX": "ours=https://uv.example/simple",
        "NO_PROXY": "pypi.org",
    }
    environment = make_config(home / "state", {}).client_environment(given)
    monkeypatch.setenv("no_proxy", environment["NO_PROXY"])

    def is_direct(host: str) -> bool:
        return bool(requests.utils.should_bypass_proxies(f"https://{host}/simple/x/", None))

    hosts = ("pypi.org", "files.pythonhosted.org", "packages.example", "wheels.example")
    assert all(map(is_direct, (*hosts, "uv.example")))
    assert not any(map(is_direct, ("management.azure.com", "huggingface.co", "example.com")))


def test_pip_trusts_whom_it_trusted_before(home: Path) -> None:
    bundle = home / "company.pem"
    bundle.write_text("")
    config = make_config(home / "state", {})
    before = {"HOME": str(home), "SSL_CERT_FILE": str(bundle)}
    first = config.client_environment(before)
    assert first["PIP_CERT"] == str(bundle)
    assert first["SSL_CERT_FILE"] == str(config.ca_bundle)
    # A job of an emulator that was itself started under `exec`.
    nested = config.client_environment({**before, **first})
    assert "PIP_CERT" not in nested
    config.ca_bundle.parent.mkdir(parents=True)
    config.ca_bundle.write_text("")
    alone = {"HOME": str(home), "SSL_CERT_FILE": str(config.ca_bundle)}
    assert "PIP_CERT" not in config.client_environment(alone)
