"""The templates for containers: they fit into prefect.yaml, and name files that are there."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel

from deployments.register import PREFECT_FILE, ROOT

TEMPLATES = ROOT / "deployments" / "templates"
POOLS = sorted(TEMPLATES.glob("*.yaml"))


def put_in_place(template: Path) -> dict[str, Any]:
    """prefect.yaml with the template in place of `azure`, as docs/workers.md says."""
    body = re.sub(r"\A(#.*\n)*", "", template.read_text())
    indented = "".join(f"  {line}\n" for line in body.splitlines())
    text, times = re.subn(
        r"(?m)^  azure: &azure\n(   .*\n)+", lambda _: indented, PREFECT_FILE.read_text()
    )
    assert times == 1
    content: dict[str, Any] = yaml.safe_load(text)
    return content


@pytest.mark.parametrize("template", POOLS, ids=lambda path: path.stem)
def test_a_template_takes_the_place_of_the_process_pool(template: Path) -> None:
    wanted = yaml.safe_load(template.read_text())["azure"]
    before = yaml.safe_load(PREFECT_FILE.read_text())
    after = put_in_place(template)
    PrefectYamlModel.model_validate(after)
    assert len(after["deployments"]) == len(before["deployments"])
    for old, new in zip(before["deployments"], after["deployments"], strict=True):
        assert new["work_pool"] == (wanted if old["name"] == "azure" else old["work_pool"])


@pytest.mark.parametrize("template", POOLS, ids=lambda path: path.stem)
def test_a_template_has_the_heartbeat_of_the_process_pool_and_no_secret(template: Path) -> None:
    definitions = yaml.safe_load(PREFECT_FILE.read_text())["definitions"]
    wanted = yaml.safe_load(template.read_text())["azure"]
    name = "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    environment = wanted["job_variables"]["env"]
    assert environment[name] == definitions["azure"]["job_variables"]["env"][name]
    assert wanted["name"] == definitions["azure"]["name"]
    assert "{{" not in str(wanted), "`prefect deploy` would store what this stands for"
    assert not [name for name in environment if re.search("SECRET|PASSWORD|KEY|TOKEN", name)]


def test_the_image_gets_what_the_packages_need() -> None:
    lines = (TEMPLATES / "Dockerfile").read_text().splitlines()
    copied = {part for line in lines if line.startswith("COPY") for part in line.split()[1:-1]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert copied >= {*wheel["packages"], "pyproject.toml", "constraints.txt", "README.md"}
    assert all((ROOT / part).exists() for part in copied)
    sent = (TEMPLATES / "Dockerfile.dockerignore").read_text().split()
    assert {part.removeprefix("!") for part in sent if part.startswith("!")} == copied


def test_runs_find_the_code_where_the_image_has_it() -> None:
    dockerfile = (TEMPLATES / "Dockerfile").read_text()
    (folder,) = re.findall(r"^WORKDIR (.*)$", dockerfile, re.MULTILINE)
    assert f"export FINETUNE_CODE={folder}" in (ROOT / "docs" / "workers.md").read_text()
    (image,) = re.findall(r"--tag (\S+)", dockerfile)
    for template in POOLS:
        wanted = yaml.safe_load(template.read_text())["azure"]["job_variables"]["image"]
        assert wanted.rpartition("/")[2] == f"{image}:latest"
