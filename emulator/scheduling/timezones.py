"""Time zones by the names that Azure uses: those of Windows."""

from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tzlocal.windows_tz import win_tz

from emulator.http import AzureError

_OBSOLETE = {
    "Kamchatka Standard Time": "Asia/Kamchatka",
    "Mid-Atlantic Standard Time": "Etc/GMT+2",
}
"""Names that the SDK still offers and Windows has given up."""

_NAMES = {name.lower(): zone for name, zone in (_OBSOLETE | win_tz).items()}


@cache
def find_zone(name: str) -> ZoneInfo:
    """The time zone of a Windows name, or of an IANA one. AzureError 400 for any other."""
    try:
        return ZoneInfo(_NAMES.get(name.strip().lower(), name))
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise AzureError(
            400,
            "UserError",
            f"The time zone '{name}' is not known. Give the Windows name of one, such as "
            "'UTC' or 'Pacific Standard Time'.",
        ) from error
