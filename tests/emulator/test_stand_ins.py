"""Synthetic data for public addresses: their columns, their label, and the user's own instead."""

import asyncio
import csv
import gzip
import io
import struct
from pathlib import Path

from emulator.stand_ins import PASSENGERS, below, stand_in
from emulator.web import held_path
from tests.emulator.compute_support import command_job, workplace

CREDIT = "azuremlexamples.blob.core.windows.net/datasets/credit_card/"
CREDIT_FILE = f"{CREDIT}default_of_credit_card_clients.csv"
HEART = "azuremlexampledata.blob.core.windows.net/data/heart-disease-uci/data"
TITANIC = "wasbs://demo@dprepdata.blob.core.windows.net/Titanic.csv"


def rows(address: str) -> list[list[str]]:
    text = stand_in(address)
    assert text is not None
    return list(csv.reader(io.StringIO(text.decode())))


def test_the_credit_table_has_two_lines_of_names_and_defaults_follow_delays() -> None:
    _, header, *clients = rows(CREDIT_FILE)
    assert header[:2] == ["ID", "LIMIT_BAL"]
    assert header[-1] == "default payment next month"
    assert {len(row) for row in clients} == {25}

    def share(late: bool) -> float:
        chosen = [int(row[-1]) for row in clients if (int(row[6]) > 0) == late]
        return sum(chosen) / len(chosen)

    assert share(late=True) > 2 * share(late=False) > 0


def test_a_table_is_the_same_each_time() -> None:
    assert rows(CREDIT_FILE) == rows(f"{CREDIT}default of credit card clients.csv")


def test_the_digits_have_the_files_and_sizes_that_readers_of_mnist_count_on() -> None:
    def read(name: str) -> bytes:
        content = stand_in(f"azureopendatastorage.blob.core.windows.net/mnist/{name}.gz")
        assert content is not None
        return gzip.decompress(content)

    images, labels = read("t10k-images-idx3-ubyte"), read("t10k-labels-idx1-ubyte")
    assert struct.unpack(">4I", images[:16]) == (0x803, 10_000, 28, 28)
    assert struct.unpack(">2I", labels[:8]) == (0x801, 10_000)
    assert (len(images), len(labels)) == (16 + 10_000 * 28 * 28, 8 + 10_000)
    ink = {digit: 0 for digit in range(10)}
    for number, digit in enumerate(labels[8:1008]):
        ink[digit] += sum(images[16 + number * 784 : 16 + (number + 1) * 784])
    shown = {digit: ink[digit] / labels[8:1008].count(digit) for digit in ink}
    assert shown[1] < shown[7] < shown[0] < shown[8]
    wasbs = below("azuremlexamples.blob.core.windows.net/datasets/mnist")
    assert {address.rpartition("/")[2].partition("-")[0] for address in wasbs} == {"train", "t10k"}


def test_the_job_that_reads_one_says_that_it_is_synthetic(tmp_path: Path) -> None:
    async def scenario() -> None:
        inputs = {"d": {"jobInputType": "uri_file", "uri": TITANIC}}
        place.submit("j", command_job("wc -l < ${{inputs.d}}", inputs=inputs))
        run = await place.until("j")
        assert run["status"] == "Completed", run["error"]
        note, lines = place.log("j").splitlines()
        assert note.startswith("Input d: SYNTHETIC DATA: https://dprepdata.blob.core.windows.net")
        assert lines.strip() == str(PASSENGERS + 1)
        assert "SYNTHETIC DATA" in place.log("j", "system_logs/emulator.txt")

    with workplace(tmp_path) as place:
        asyncio.run(scenario())


def test_a_folder_holds_its_tables_and_the_users_own_file_wins(tmp_path: Path) -> None:
    with workplace(tmp_path) as place:
        folder = held_path(place.config, f"https://{HEART}/")
        assert [file.name for file in folder.iterdir()] == ["heart.csv"]
        assert below(HEART) == [f"{HEART}/heart.csv"]
        own = place.config.state / "web" / CREDIT_FILE
        own.parent.mkdir(parents=True)
        own.write_text("mine")
        assert held_path(place.config, f"https://{CREDIT_FILE}").read_text() == "mine"
