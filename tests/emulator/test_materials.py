"""What steps read and write: tables, public addresses, direct outputs, folders that are kept."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from emulator.http import AzureError
from emulator.web import held_path
from tests.emulator.compute_support import Workplace, command_job, workplace

TABLE = """
type: mltable
paths:
  - file: ./a.csv
  - pattern: ./more/*.csv
  - file: {address}
transformations:
  - read_delimited: {{delimiter: ','}}
"""
IRIS = "azuremlexamples.blob.core.windows.net"


def scenario(state: Path, what: Callable[[Workplace], Awaitable[None]]) -> None:
    async def main() -> None:
        await what(place)
        await place.jobs.stop()

    with workplace(state) as place:
        asyncio.run(main())


async def ended(place: Workplace, command: str, **properties: Any) -> dict[str, Any]:
    place.submit("j", command_job(command, **properties))
    return await place.until("j")


def data(uri: str, kind: str = "uri_file", mode: str | None = None) -> dict[str, Any]:
    return {"d": {"jobInputType": kind, "uri": uri, "mode": mode}}


def table(place: Workplace) -> str:
    """A table of three files; a fourth lies beside them."""
    other = place.data("other/c.csv", "c")
    uri = place.data("table/MLTable", TABLE.format(address=other)).rpartition("/")[0]
    for name in ("a.csv", "more/b.csv", "beside.csv"):
        place.data(f"table/{name}", name)
    return uri


@pytest.mark.parametrize("mode", ["EvalMount", "EvalDownload"])
def test_an_evaluated_table_is_a_folder_of_its_files(tmp_path: Path, mode: str) -> None:
    async def what(place: Workplace) -> None:
        run = await ended(
            place,
            "cd ${{inputs.d}}; find . -type f | sort",
            inputs=data(table(place), "mltable", mode),
        )
        assert run["status"] == "Completed", run["error"]
        assert place.log("j").split() == ["./a.csv", "./c.csv", "./more/b.csv"]

    scenario(tmp_path, what)


@pytest.mark.parametrize("mode", ["ReadOnlyMount", "Download"])
def test_a_table_that_is_not_evaluated_comes_with_its_mltable_file(
    tmp_path: Path, mode: str
) -> None:
    async def what(place: Workplace) -> None:
        run = await ended(place, "ls ${{inputs.d}}", inputs=data(table(place), "mltable", mode))
        assert run["status"] == "Completed", run["error"]
        assert place.log("j").split() == ["MLTable", "a.csv", "beside.csv", "more"]

    scenario(tmp_path, what)


@pytest.mark.parametrize("paths", ["[{file: ../in.txt}]", "[{pattern: ./*.json}]", "nothing", "[]"])
def test_a_table_that_cannot_be_read_fails_the_job(tmp_path: Path, paths: str) -> None:
    async def what(place: Workplace) -> None:
        place.data("in.txt", "secret")
        uri = place.data("bad/MLTable", f"paths: {paths}\n").rpartition("/")[0]
        run = await ended(place, "ls ${{inputs.d}}", inputs=data(uri, "mltable", "EvalMount"))
        assert run["status"] == "Failed"
        assert "The MLTable file cannot be read" in run["error"]["message"]

    scenario(tmp_path, what)


@pytest.mark.parametrize(
    "uri",
    [
        f"https://{IRIS}/datasets/iris.csv",
        f"http://{IRIS}/datasets/iris.csv",
        "wasbs://datasets@azuremlexamples.blob.core.windows.net/iris.csv",
        "abfss://datasets@azuremlexamples.dfs.core.windows.net/iris.csv",
    ],
)
def test_a_job_reads_a_public_data_set_that_the_emulator_holds(tmp_path: Path, uri: str) -> None:
    async def what(place: Workplace) -> None:
        run = await ended(place, "cat ${{inputs.d}}", inputs=data(uri))
        assert run["status"] == "Completed", run["error"]
        header, first, *rows = place.log("j").splitlines()
        assert header == "sepal_length,sepal_width,petal_length,petal_width,species"
        assert first == "5.1,3.5,1.4,0.2,setosa"
        assert len(rows) == 149

    scenario(tmp_path, what)


def test_a_public_file_with_spaces_in_its_name_is_one_word(tmp_path: Path) -> None:
    async def what(place: Workplace) -> None:
        file = place.config.state / "web/example.org/my own table.csv"
        file.parent.mkdir(parents=True)
        file.write_text("here")
        uri = "https://example.org/my%20own%20table.csv"
        run = await ended(place, "cat ${{inputs.d}}", inputs=data(uri))
        assert run["status"] == "Completed", run["error"]
        assert place.log("j") == "here"

    scenario(tmp_path, what)


def test_an_address_that_is_not_held_is_refused_with_where_to_put_it(tmp_path: Path) -> None:
    async def what(place: Workplace) -> None:
        uri = "https://example.org/data/my%20table.csv?version=1"
        place.submit("before", command_job("true", inputs=data(uri)))
        run = await place.until("before")
        file = place.config.state / "web/example.org/data/my table.csv"
        assert run["status"] == "Failed"
        assert f"Put it at {file}" in run["error"]["message"]
        file.parent.mkdir(parents=True)
        file.write_text("here")
        run = await ended(place, "cat '${{inputs.d}}'", inputs=data(uri))
        assert run["status"] == "Completed", run["error"]
        assert place.log("j") == "here"

    scenario(tmp_path, what)


@pytest.mark.parametrize("uri", ["https://a.org/../../emulator.json", "http://[::1", "https:///x"])
def test_addresses_do_not_lead_out_of_the_folder(tmp_path: Path, uri: str) -> None:
    with workplace(tmp_path) as place, pytest.raises(AzureError) as caught:
        held_path(place.config, uri)
    assert caught.value.status == 400
    assert "is not understood" in caught.value.message


def test_the_diabetes_table_is_the_one_that_scikit_learn_loads(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    datasets = pytest.importorskip("sklearn.datasets")
    with workplace(tmp_path) as place:
        file = held_path(place.config, f"https://{IRIS}/datasets/diabetes.csv")
    expected = datasets.load_diabetes(as_frame=True).frame
    pandas.testing.assert_frame_equal(pandas.read_csv(file), expected)


def test_a_direct_output_is_given_as_its_address(tmp_path: Path) -> None:
    async def what(place: Workplace) -> None:
        outputs = {"out": {"jobOutputType": "uri_folder", "mode": "Direct"}}
        run = await ended(place, "echo ${{outputs.out}}", outputs=outputs)
        assert run["status"] == "Completed", run["error"]
        assert place.log("j").strip() == run["outputs"]["out"]["uri"]

    scenario(tmp_path, what)


@pytest.mark.parametrize("code", [0, 3])
def test_the_folders_outputs_and_logs_are_kept_however_the_job_ends(
    tmp_path: Path, code: int
) -> None:
    async def what(place: Workplace) -> None:
        await ended(place, f"mkdir outputs logs; echo o > outputs/o; echo l > logs/l; exit {code}")
        assert (place.log("j", "outputs/o"), place.log("j", "logs/l")) == ("o\n", "l\n")

    scenario(tmp_path, what)
