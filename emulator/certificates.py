"""The emulator's certificate authority and its one server certificate.

The authority may sign only for the hosts that are emulated (name constraints), so a stolen key
cannot impersonate anything else, and only the processes that `exec` starts trust it.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from emulator.config import Config

DOMAINS = (
    "login.microsoftonline.com",
    "management.azure.com",
    "blob.core.windows.net",
    "vault.azure.net",
    "api.azureml.ms",
    "experiments.azureml.net",
    "inference.ml.azure.com",
    "ml.azure.com",
    "azureml-emulator.test",
)
"""The authority signs for these and the names below them."""

_LIFETIME = timedelta(days=365)


def server_names(config: Config) -> tuple[str, ...]:
    """The names in the server's certificate; a wildcard covers one label."""
    return (
        "login.microsoftonline.com",
        "management.azure.com",
        "*.blob.core.windows.net",
        "*.vault.azure.net",
        "*.api.azureml.ms",
        "*.experiments.azureml.net",
        f"*.{config.location}.inference.ml.azure.com",
        "ml.azure.com",
        "azureml-emulator.test",
    )


def ensure_certificates(config: Config) -> tuple[Path, Path]:
    """Make what is missing or about to expire; gives the server's key and chain files."""
    folder = config.certificates
    key, chain, bundle = folder / "server.key", folder / "server.pem", config.ca_bundle
    if not (key.exists() and chain.exists() and bundle.exists() and _is_fresh(config, chain)):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        _make(config, key, chain, bundle)
    return key, chain


def _is_fresh(config: Config, chain: Path) -> bool:
    """Whether a certificate lives on and names all hosts: an earlier release knew fewer."""
    certificate = x509.load_pem_x509_certificate(chain.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if names.get_values_for_type(x509.DNSName) != list(server_names(config)):
        return False
    return certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=1)


def _make(config: Config, key: Path, chain: Path, bundle: Path) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _authority(authority_key)
    server_key = ec.generate_private_key(ec.SECP256R1())
    server = _server(server_names(config), server_key, authority, authority_key)
    _write(config.certificates / "ca.key", _pem(authority_key), private=True)
    _write(key, _pem(server_key), private=True)
    public = serialization.Encoding.PEM
    _write(chain, server.public_bytes(public) + authority.public_bytes(public))
    _write(bundle, _public_authorities() + authority.public_bytes(public))


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Local Azure ML emulator")])
    allowed = [x509.DNSName(domain) for domain in DOMAINS]
    return (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.NameConstraints(permitted_subtrees=allowed, excluded_subtrees=None),
            critical=True,
        )
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    names: tuple[str, ...],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "azureml-emulator.test")])
    return (
        _builder(subject, authority.subject, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFETIME)
    )


def _key_usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public_authorities() -> bytes:
    """The authorities that clients trust anyway: a bundle replaces theirs, it does not add."""
    import certifi

    return Path(certifi.where()).read_bytes() + b"\n"


def _write(file: Path, content: bytes, private: bool = False) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600 if private else 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
