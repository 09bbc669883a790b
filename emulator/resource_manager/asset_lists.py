"""Which assets a list shows, and in what order."""

from starlette.requests import Request

from emulator.http import AzureError
from emulator.store import Resource

_FILTERS = ("stage", "description", "version")
_VIEWS = ("activeonly", "archivedonly", "all")


def visible(request: Request, assets: list[Resource]) -> list[Resource]:
    """The assets of the list view that is asked for; archived ones are hidden unless it is."""
    asked = request.query_params.get("listViewType", "ActiveOnly")
    # In registries the SDK sends the name of its own constant: ListViewType.ACTIVE_ONLY.
    view = asked.rpartition(".")[2].replace("_", "").lower()
    if view not in _VIEWS:
        raise AzureError(
            400, "UserError", f"listViewType is ActiveOnly, ArchivedOnly or All, not '{asked}'."
        )
    if view == "all":
        return assets
    archived = view == "archivedonly"
    return [a for a in assets if bool(a["properties"].get("isArchived")) == archived]


def chosen(request: Request, versions: list[Resource]) -> list[Resource]:
    """The versions that a list asks for, in its order; given in the order of their creation."""
    query = {name.lower().lstrip("$"): value for name, value in request.query_params.items()}
    wanted = {key: query[key] for key in _FILTERS if query.get(key)}
    tags = _pairs(query.get("tags", ""))
    properties = _pairs(query.get("properties", ""))
    found = [
        version
        for version in visible(request, versions)
        if all(_value(version, key) == text for key, text in wanted.items())
        and _has(version["properties"].get("tags"), tags)
        and _has(version["properties"].get("properties"), properties)
    ]
    # Newest first, as the service does for "latest".
    return found if _ascending(query.get("orderby", "")) else found[::-1]


def _ascending(order: str) -> bool:
    field, _, direction = order.strip().lower().partition(" ")
    if field in ("", "createdtime", "createdat", "modifiedtime", "modifiedat"):
        return direction.strip() == "asc"
    raise AzureError(400, "UserError", f"$orderBy does not know '{order}'; use 'createdtime desc'.")


def _value(version: Resource, key: str) -> str | None:
    if key == "version":
        return str(version["name"])
    value = version["properties"].get(key)
    return None if value is None else str(value)


def _pairs(text: str) -> list[tuple[str, str | None]]:
    """`a=1,b` as [("a", "1"), ("b", None)]: a name without a value is one that must be there."""
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    return [(name.strip(), value.strip() if sign else None) for name, sign, value in parts]


def _has(found: dict[str, str] | None, wanted: list[tuple[str, str | None]]) -> bool:
    present = found or {}
    return all(
        name in present and (value is None or present[name] == value) for name, value in wanted
    )
