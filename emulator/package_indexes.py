"""Package indexes, the one place outside that `pip install` in a notebook or a job must reach.

The proxy refuses every host that is not emulated; these are reached without it.
"""

import configparser
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

_DEFAULTS = ("pypi.org", "files.pythonhosted.org")
_SETTINGS = ("index-url", "extra-index-url")
_VARIABLES = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"),
    *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
)


def index_hosts(environment: Mapping[str, str]) -> list[str]:
    """PyPI's hosts, then those of the indexes that the environment and pip's files name."""
    found = dict.fromkeys(_DEFAULTS)
    values = [environment.get(name, "") for name in _VARIABLES]
    for address in " ".join([*values, *_configured(_files(environment))]).split():
        # uv's are NAME=https://...
        url = urlsplit(address[address.find("http") :])
        if url.scheme in ("http", "https") and url.hostname:
            found[url.hostname] = None
    return list(found)


def trusted_by_pip(environment: Mapping[str, str], state: Path) -> dict[str, str]:
    """The authorities that were trusted before the emulator's took their place, for pip alone.

    A network that opens TLS has its own authority in these variables: PyPI needs it. `state`: an
    emulator's bundle lies in its state folder, and is no one's own.
    """
    if environment.get("PIP_CERT"):
        return {}
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        bundle = environment.get(name)
        if bundle and not Path(bundle).is_relative_to(state) and Path(bundle).is_file():
            return {"PIP_CERT": bundle}
    return {}


def _files(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    places = [Path("/etc"), home / ".config/pip", home / ".pip", Path(sys.prefix)]
    if own := environment.get("XDG_CONFIG_HOME"):
        places.append(Path(own, "pip"))
    files = [place / "pip.conf" for place in places]
    if named := environment.get("PIP_CONFIG_FILE"):
        files.append(Path(named))
    return files


def _configured(files: Iterable[Path]) -> list[str]:
    """The indexes of pip's files; a file that cannot be read names none."""
    found: list[str] = []
    for file in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue
        for section in parser.sections():
            found += [parser.get(section, name, fallback="") for name in _SETTINGS]
    return found
