"""What environments are read from: references, conda files, pins, pip's settings."""

import importlib.util
import time
from pathlib import Path

import pytest

from emulator.environments import EnvironmentFailed, curated
from emulator.environments.conda import read
from emulator.environments.indexes import build_environment, uv_options
from emulator.environments.layer import installs
from emulator.environments.numpy_abi import needs_numpy_1
from emulator.environments.reference import find
from emulator.environments.requirement import parse, replaced
from emulator.environments.too_old import with_versions_that_run
from tests.emulator.compute_support import workplace

REGISTRY = "azureml://registries/azureml/environments"


def test_a_conda_file_is_read_as_requirements_of_pip() -> None:
    content = read(
        """
        name: published
        channels: [conda-forge]
        dependencies:
          - python=3.8.5
          - pip=21.2.4
          - numpy=1.21.2
          - pandas>=1.1,<1.2
          - pytorch::pytorch==1.8.1=py3_cpu
          - conda-forge::scikit-learn
          - scipy 1.7.*
          - matplotlib-base
          - cudatoolkit=11.1
          - libgcc
          - pip:
            - inference-schema[numpy-support]==1.3.0  # for score.py
            - azureml-mlflow
            - --extra-index-url https://packages.example/simple
            - git+https://example.invalid/a.git
        """
    )
    assert content.requirements == (
        "numpy==1.21.2.*",
        "pandas>=1.1,<1.2",
        "torch==1.8.1",
        "scikit-learn",
        "scipy==1.7.*",
        "matplotlib",
        "inference-schema[numpy-support]==1.3.0",
        "azureml-mlflow",
        "git+https://example.invalid/a.git",
    )
    assert content.options == ("--extra-index-url", "https://packages.example/simple")
    assert content.python == "3.8"
    assert "cudatoolkit, libgcc" in content.notes[-1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: [", "not YAML"),
        ("just text", "must be a mapping"),
        ("dependencies: [{pip: ['-r requirements.txt']}]", "-r requirements.txt"),
    ],
)
def test_what_is_no_conda_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(EnvironmentFailed, match=reason):
        read(text)


@pytest.mark.parametrize(
    ("written", "relaxed"),
    [
        ("scikit-learn==0.24.2", "scikit-learn>=0.24.2"),
        ("numpy==1.21.*", "numpy>=1.21"),
        ("torch==1.13.1+cpu", "torch>=1.13.1"),
        ("pandas>=1.1,<1.2", "pandas>=1.1"),
        ("tqdm~=4.59", "tqdm>=4.59"),
        (
            "mlflow[extras] <= 2.0 ; sys_platform == 'linux'",
            "mlflow[extras] ; sys_platform == 'linux'",
        ),
    ],
)
def test_relaxed_pins_keep_their_lower_bound(written: str, relaxed: str) -> None:
    found = parse(written)
    assert found is not None
    assert str(found.relaxed()) == relaxed


def test_what_is_not_as_asked_is_said() -> None:
    wanted = ["a==1.0", "b>=1,<2", "c~=1.4.0", "d==2.*", "E_e"]
    assert replaced(wanted, ["a==1.0.0", "b==1.9", "c==1.4.9", "d==2.1", "e-e==9"]) == []
    sentences = replaced(wanted, ["a==1.1", "b==2.0", "c==1.5.0", "d==3.0", "e-e==9"])
    assert [sentence.split()[0] for sentence in sentences] == wanted[:4]


def test_old_compiled_packages_are_not_put_beside_numpy_2() -> None:
    assert needs_numpy_1(["numpy==2.1.0", "scikit-learn==1.1.3"]) == "scikit-learn 1.1.3"
    assert needs_numpy_1(["numpy==1.26.4", "scikit-learn==1.1.3"]) is None
    assert needs_numpy_1(["numpy==2.1.0", "scikit-learn==1.5.2"]) is None


def test_a_version_that_does_not_run_on_this_python_is_replaced() -> None:
    resolved = ["numpy==1.23.2", "wrapt==1.12.1"]
    lines, notes = with_versions_that_run(resolved, (3, 11))
    assert lines == ["numpy==1.23.2", "wrapt==1.16.0"]
    assert notes == ["wrapt 1.12.1 does not run on this Python: 1.16.0 is used."]
    assert with_versions_that_run(resolved, (3, 10)) == (resolved, [])
    assert with_versions_that_run(["wrapt==1.14.1"], (3, 11)) == (["wrapt==1.14.1"], [])


def test_the_proxy_of_a_local_azure_ml_does_not_reach_pip() -> None:
    client = {
        "AZUREML_EMULATOR_STATE": "/state",
        "HTTPS_PROXY": "http://127.0.0.1:9080",
        "REQUESTS_CA_BUNDLE": "/state/certificates/ca-bundle.pem",
        "HOME": "/home/me",
    }
    assert "HTTPS_PROXY" not in build_environment(client)
    own = client | {"REQUESTS_CA_BUNDLE": "/etc/ca.pem", "HTTPS_PROXY": "http://proxy:3128"}
    assert build_environment(own)["HTTPS_PROXY"] == "http://proxy:3128"


def test_pips_settings_are_told_to_uv() -> None:
    settings = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://a.example/s https://b.example/s",
        "find-links": "/wheels",
    }
    options = uv_options(settings)
    assert options[2:] == [
        *("--index-url", "https://mirror.example/simple"),
        *("--extra-index-url", "https://a.example/s"),
        *("--extra-index-url", "https://b.example/s"),
        *("--find-links", "/wheels"),
    ]


def test_environments_are_found_by_every_way_to_name_them(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        place.environment("mine", image="img", condaFile="dependencies: [python]")
        root = f"{place.config.workspace_path}/environments/mine"
        for reference in (
            "azureml:mine:1",
            "azureml:mine@latest",
            f"{root}/versions/1",
            f"azureml:{root}/versions/1",
            f"{root}/labels/latest",
        ):
            source = find(place.as_emulator, reference)
            assert source.name == "mine:1", reference
            assert source.conda == "dependencies: [python]"
        for reference in ("azureml:mine:2", "azureml:other@latest", f"{root}/versions/9"):
            with pytest.raises(EnvironmentFailed, match="Could not find asset with ID"):
                find(place.as_emulator, reference)


def test_a_docker_context_is_not_built(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        path = f"{place.config.workspace_path}/environments/docker/versions/1"
        build = {"contextUri": "https://account/context", "dockerfilePath": "Dockerfile"}
        place.store.put(path, {"name": "1", "properties": {"build": build, "condaFile": ""}})
        source = find(place.as_emulator, "azureml:docker:1")
        assert source.conda is None
        assert "https://account/context is not used" in source.notes[0]


@pytest.mark.parametrize(
    ("reference", "package"),
    [
        (
            "azureml://registries/azureml/environments/sklearn-1.5/labels/latest",
            "scikit-learn==1.5.*",
        ),
        (
            "azureml://registries/azureml/environments/sklearn-1.1/versions/12",
            "scikit-learn==1.1.*",
        ),
        ("azureml:AzureML-sklearn-1.0-ubuntu20.04-py38-cpu@latest", "scikit-learn==1.0.*"),
        ("azureml:AzureML-sklearn-0.24-ubuntu18.04-py37-cpu:22", "scikit-learn==0.24.*"),
        ("AzureML-lightgbm-3.2-ubuntu18.04-py37-cpu@latest", "lightgbm>=3.2"),
        ("azureml:AzureML-xgboost-0.9-ubuntu18.04-py37-cpu:9", "xgboost>=0.9"),
        ("azureml:AzureML-tensorflow-2.16-cuda12@latest", "tensorflow-cpu==2.16.*"),
        (f"{REGISTRY}/responsibleai-tabular/versions/28", "responsibleai~=0.34.1"),
    ],
)
def test_curated_environments_promise_packages(
    tmp_path: Path, reference: str, package: str
) -> None:
    with workplace(tmp_path) as place:
        source = find(place.as_emulator, reference)
    assert source.conda is not None
    requirements = read(source.conda).requirements
    assert package in requirements
    assert "azureml-mlflow" in requirements


@pytest.mark.parametrize(
    "name", ["acpt-pytorch-2.8-cuda12.6", "AzureML-ACPT-pytorch-1.12-py39-cuda11.6-gpu"]
)
def test_torch_is_not_downloaded_where_it_is(name: str) -> None:
    found = curated.find(name)
    assert found is not None
    assert found.own == (importlib.util.find_spec("torch") is not None)


def test_an_unknown_curated_environment_is_not_found(tmp_path: Path) -> None:
    reference = f"{REGISTRY}/no-such-thing/versions/1"
    with (
        workplace(tmp_path) as place,
        pytest.raises(EnvironmentFailed, match="Could not find asset with ID") as failure,
    ):
        find(place.as_emulator, reference)
    assert failure.value.code == "UserError"


@pytest.mark.parametrize(
    ("command", "may"),
    [
        ("pip install x", True),
        ("python -m pip --quiet install x && python a.py", True),
        ("cd a; pip3.11 install x", True),
        ("bash set_up.sh", True),
        ("./a.sh", True),
        ("pip list; install x", False),
        ("pipeline install", False),
        (".sh", False),
        ("x" * 300_000, False),
        ("pip " * 60_000, False),
        ("uv " * 60_000 + "install x", True),
    ],
)
def test_commands_that_may_install_packages(command: str, may: bool) -> None:
    began = time.process_time()
    assert installs(command) is may
    assert time.process_time() - began < 1
