"""Environments of jobs: virtual environments from conda files, built once, and their failures."""

import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import psutil
import pytest
import yaml

from emulator.environments import EnvironmentFailed, Interpreter, own_torch
from emulator.environments.build import Build
from emulator.environments.conda import read
from emulator.environments.requirement import versions
from emulator.environments.resolve import Resolver
from emulator.environments.uv_process import Uv
from tests.emulator.compute_support import Workplace, command_job, workplace

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

BUILD_LOG = "azureml-logs/20_image_build_log.txt"
SYSTEM_LOG = "system_logs/emulator.txt"


def conda(*packages: str, python: str = platform.python_version()) -> str:
    pip = {"pip": list(packages)}
    return yaml.safe_dump({"dependencies": [f"python={python}", "pip", pip]})


@pytest.fixture(autouse=True)
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No resolution of an earlier run is remembered; packages stay in uv's usual cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "uv")
    monkeypatch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(usual))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


async def python_for(place: Workplace, text: str) -> Interpreter:
    return await place.environments.for_conda(text, place.config.state / "build.log")


def slow_package(folder: Path) -> tuple[str, Path]:
    """A package whose build tells that it runs and waits, until the file is there; and the file."""
    source = folder / "slow"
    source.mkdir(exist_ok=True)
    go = folder / "go"
    (source / "setup.py").write_text(
        "import pathlib, time, setuptools\n"
        f"pathlib.Path({str(folder / 'running')!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.05)\n"
        "setuptools.setup(name='slow', version='1', py_modules=['slow'])\n"
    )
    (source / "slow.py").write_text("")
    return f"slow @ {source.as_uri()}", go


async def until_there(file: Path) -> None:
    async with asyncio.timeout(30):
        while not file.exists():
            await asyncio.sleep(0.02)


def builds_of(folder: Path) -> list[int]:
    """The processes that build the slow package."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return [pid for pid in found if pid != os.getpid()]


def test_a_job_has_what_it_declares_and_nothing_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        place.environment(
            "small", image="mcr/any", condaFile=conda("humanize==4.9.0", python="3.8")
        )
        text = (
            "python -c 'import humanize, sys; print(humanize.__version__, sys.prefix)'; "
            "command -v python pip; python -c 'import uvicorn'"
        )
        for name in ("first", "second"):
            place.submit(name, command_job(text, environmentId="azureml:small:1"))
            run = await place.until(name)
            assert run["status"] == "Failed"
            assert "No module named 'uvicorn'" in run["error"]["message"]
            version, prefix, python, pip = place.log(name).split()[:4]
            assert version == "4.9.0"
            assert [python, pip] == [f"{prefix}/bin/python", f"{prefix}/bin/pip"]
            assert prefix.startswith(str(tmp_path / "environments"))
        first, second = (place.log(name, SYSTEM_LOG) for name in ("first", "second"))
        assert "The Docker image mcr/any is not used." in first
        assert "the conda file asks for Python 3.8" in first
        assert f"Virtual environment {prefix}, built in " in first
        assert f"Virtual environment {prefix}, from an earlier build." in second
        assert "humanize==4.9.0" in place.log("first", BUILD_LOG)
        assert place.run("first")["logs"][0].endswith(BUILD_LOG)
        assert not any(log.endswith(BUILD_LOG) for log in place.run("second")["logs"])

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_what_is_built_is_found_again_at_once_also_after_a_restart(tmp_path: Path) -> None:
    text = conda("colorama")
    with workplace(tmp_path) as place:
        built = asyncio.run(python_for(place, text))
    with workplace(tmp_path) as place:
        begun = time.perf_counter()
        found = asyncio.run(python_for(place, text))
        assert time.perf_counter() - begun < 0.05
    assert found.python == built.python
    assert not found.own


def test_a_pin_without_a_wheel_becomes_the_nearest_later_version(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        packages = ("markupsafe==1.1.1", "colorama==0.4.4", "cloudpickle==1.1.1")
        made = asyncio.run(python_for(place, conda(*packages)))
    (note,) = [note for note in made.notes if "markupsafe" in note]
    assert note.startswith("markupsafe==1.1.1 cannot be had for this Python: 2.")
    assert "cloudpickle 1.1.1 does not run on this Python: 2.2.1 is used." in made.notes
    asked = "import cloudpickle; from importlib.metadata import version as v; "
    asked += "print(v('markupsafe'), v('colorama'))"
    said = subprocess.run([made.python, "-c", asked], capture_output=True, text=True, check=True)
    markupsafe, colorama = said.stdout.split()
    assert f" {markupsafe} is used" in note
    assert colorama == "0.4.4"


def test_strict_pins_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZUREML_EMULATOR_PINS", "strict")
    with workplace(tmp_path) as place, pytest.raises(EnvironmentFailed) as failure:
        asyncio.run(python_for(place, conda("pandas==1.1.5")))
    assert failure.value.code == "ImageBuildFailure"
    assert "No matching distribution found for pandas==1.1.5" in failure.value.message


def test_a_package_that_does_not_exist_fails_the_job_in_pips_words(tmp_path: Path) -> None:
    async def scenario() -> None:
        place.environment("bad", condaFile=conda("colorama", "no-such-package-anywhere==1.0"))
        place.submit("bad", command_job("true", environmentId="azureml:bad@latest"))
        run = await place.until("bad")
        pip = "No matching distribution found for no-such-package-anywhere==1.0"
        assert run["status"] == "Failed"
        assert run["startTimeUtc"] is None
        assert run["error"]["code"] == "UserError"
        assert run["error"]["message"].startswith("Image build failed. For more details, check")
        assert pip in run["error"]["message"]
        assert pip in place.log("bad", BUILD_LOG)
        assert not list((tmp_path / "environments").glob("*/*"))

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_two_jobs_at_once_build_one_environment(tmp_path: Path) -> None:
    package, go = slow_package(tmp_path)

    async def scenario() -> None:
        place.environment("slow", condaFile=conda(package))
        names = ("one", "two")
        for name in names:
            job = command_job("python -c 'import slow'", environmentId="azureml:slow:1")
            place.submit(name, job)
        await until_there(tmp_path / "running")
        for name in names:
            assert (await place.until(name, "Preparing"))["status"] == "Preparing"
        go.touch()
        for name in names:
            assert (await place.until(name))["status"] == "Completed", place.run(name)["error"]
        assert len(list((tmp_path / "environments").glob("*/*/pyvenv.cfg"))) == 1
        assert place.log("one", BUILD_LOG) == place.log("two", BUILD_LOG)

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_build_ends_with_the_last_job_that_waits_for_it(tmp_path: Path) -> None:
    package, _ = slow_package(tmp_path)

    async def scenario() -> None:
        place.environment("slow", condaFile=conda(package))
        paths = [
            place.submit(name, command_job("true", environmentId="azureml:slow:1"))
            for name in ("one", "two")
        ]
        await until_there(tmp_path / "running")
        await place.jobs.cancel(paths[0])
        assert place.run("one")["status"] == "Canceled"
        assert builds_of(tmp_path)
        await place.jobs.cancel(paths[1])
        assert place.run("two")["status"] == "Canceled"
        assert not builds_of(tmp_path)
        assert not list((tmp_path / "environments").glob("*/*"))

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


_BUILDER = """
import asyncio, sys
from pathlib import Path
from tests.emulator.compute_support import workplace
with workplace(Path(sys.argv[1])) as place:
    asyncio.run(place.environments.for_conda(sys.argv[2], Path(sys.argv[1], "build.log")))
"""


def test_a_build_that_was_killed_is_made_anew(tmp_path: Path) -> None:
    package, go = slow_package(tmp_path)
    text = conda(package)
    builder = subprocess.Popen([sys.executable, "-c", _BUILDER, str(tmp_path), text])
    asyncio.run(until_there(tmp_path / "running"))
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    assert builds_of(tmp_path)

    async def scenario() -> None:
        await place.jobs.start()
        assert not builds_of(tmp_path)
        go.touch()
        made = await python_for(place, text)
        subprocess.run([made.python, "-c", "import slow"], check=True)

    with workplace(tmp_path) as place:
        asyncio.run(scenario())
    (ready,) = (tmp_path / "environments").glob("*/ready.json")
    kept = {path.name for path in ready.parent.iterdir()}
    assert kept == {"ready.json", json.loads(ready.read_text())["folder"]}


def test_what_a_command_installs_is_gone_with_its_job(tmp_path: Path) -> None:
    async def scenario() -> None:
        place.config.certificates.mkdir()
        shutil.copy(certifi.where(), place.config.ca_bundle)
        place.environment("small", condaFile=conda("humanize==4.9.0"))
        for environment, kept in (("small", "humanize"), ("any", "psutil")):
            reference = f"azureml:{environment}:1"
            text = f"pip install -q colorama==0.4.4 && python -c 'import {kept}, colorama as c; "
            text += "print(c.__version__, c.__file__)'"
            place.submit(f"in-{environment}", command_job(text, environmentId=reference))
            run = await place.until(f"in-{environment}")
            assert run["status"] == "Completed", run["error"]
            assert f"0.4.4 {tmp_path}/runs/" in place.log(f"in-{environment}")
        look = command_job("python -c 'import colorama'", environmentId="azureml:small:1")
        place.submit("later", look)
        assert "No module named 'colorama'" in (await place.until("later"))["error"]["message"]

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_torch_is_lent_and_never_downloaded(tmp_path: Path) -> None:
    own = own_torch.version()
    if own is None:
        pytest.skip("torch is not installed")
    with workplace(tmp_path) as place:
        made = asyncio.run(python_for(place, conda("torch==1.13.1")))
    assert any(f"torch {own} is here" in note for note in made.notes)
    site = next(made.scripts.parent.glob("lib/python*/site-packages"))
    assert (site / "torch").is_symlink()
    assert not list(site.glob("nvidia*"))
    assert not (site / "transformers").exists()
    text = "import torch; print(torch.__version__, int(torch.ones(2).sum()))"
    said = subprocess.run([made.python, "-c", text], capture_output=True, text=True, check=True)
    assert said.stdout.split()[0].startswith(own)


def test_a_small_package_without_a_wheel_is_built(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        made = asyncio.run(python_for(place, conda("docopt", "colorama==0.4.4")))
    text = "import docopt, colorama; print(docopt.__version__, colorama.__version__)"
    said = subprocess.run([made.python, "-c", text], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["0.6.2", "0.4.4"]


def test_the_sdk_gives_a_job_an_environment_of_its_own(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.entities import Environment

    packages = {"dependencies": ["python=3.10", "pip", {"pip": ["humanize==4.9.0"]}]}
    environment = Environment(image="mcr.microsoft.com/any", conda_file=packages)
    text = "python -c 'import humanize; print(humanize.__version__)'; python -c 'import httpx'"
    job = command(command=text, environment=environment, compute="local")
    made = ml_client.jobs.create_or_update(job)
    with pytest.raises(Exception, match="No module named 'httpx'"):
        ml_client.jobs.stream(made.name)
    ml_client.jobs.download(made.name, download_path=tmp_path, all=True)
    assert "humanize==4.9.0" in (tmp_path / "artifacts" / BUILD_LOG).read_text()
    assert (tmp_path / "artifacts/user_logs/std_log.txt").read_text().startswith("4.9.0\n")


def test_mlflow_of_no_version_is_one_that_published_code_was_written_for(tmp_path: Path) -> None:
    notes: list[str] = []

    async def resolve(*wanted: str) -> dict[str, str]:
        uv = Uv(tmp_path / "a" / "b" / "".join(wanted), lambda text: None, lambda pid: None)
        uv.folder.parent.mkdir(parents=True, exist_ok=True)
        await uv.create([])
        return versions(await Resolver(uv, [], None, False, notes.extend).resolve([*wanted]))

    assert asyncio.run(resolve("mlflow-skinny"))["mlflow-skinny"] == "3.13.0"
    assert notes == []
    assert asyncio.run(resolve("mlflow"))["mlflow"] == "3.13.0"
    assert "later ones refuse" in notes[0]
    assert asyncio.run(resolve("mlflow-skinny>=3.14"))["mlflow-skinny"] != "3.13.0"


def test_torch_comes_from_pips_indexes_where_pytorchs_is_out_of_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    folder = tmp_path / "a" / "b" / "env"
    folder.parent.mkdir(parents=True)

    async def look() -> Build:
        build = Build(read(conda("torch")), "key", folder, print, lambda pid: None)
        uv = Uv(folder, print, lambda pid: None)
        await uv.create([])
        uv.options = []  # no folder of packages that pip may be set up for
        assert not await build.finds_small_torch(uv)
        return build

    assert "with what it needs for graphics cards" in asyncio.run(look()).notes[0]
