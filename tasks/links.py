"""Pages of the studio, all from the one address that the service gives: that of the job."""

from urllib.parse import quote, urlsplit

from tasks.values import RegisteredModel


def run_page(studio_url: str, run: str) -> str:
    """The page of a run below the job: its metrics, its logs."""
    return _page(studio_url, f"runs/{quote(run)}")


def model_page(studio_url: str, model: RegisteredModel) -> str:
    """The page of a model of the job's workspace."""
    return _page(studio_url, f"model/{quote(model.name)}:{quote(model.version)}/details")


def endpoint_page(studio_url: str, name: str) -> str:
    """The page of an online endpoint of the job's workspace."""
    return _page(studio_url, f"endpoints/realtime/{quote(name)}/detail")


def _page(studio_url: str, path: str) -> str:
    return urlsplit(studio_url)._replace(path=f"/{path}").geturl()
