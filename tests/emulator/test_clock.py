"""The clock: what expires when it is turned forward, and what is asked of it wrongly."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import requests

from emulator.clock import Clock
from emulator.control_client import Control, ControlError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def test_a_token_expires_when_the_clock_is_turned(control: Control) -> None:
    from azure.identity import DefaultAzureCredential

    url = f"https://management.azure.com{control.config.workspace_path}?api-version=2024-10-01"

    def status(token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(url, headers=headers, timeout=10).status_code

    def sign_in() -> str:
        return DefaultAzureCredential().get_token("https://management.azure.com/.default").token

    token = sign_in()
    control.advance(3000)
    assert status(token) == 200
    control.advance(700)
    assert status(token) == 401
    assert status(sign_in()) == 200
    control.clear_clock()
    assert status(token) == 200


def test_a_signature_expires_when_the_clock_is_turned(control: Control) -> None:
    from emulator.blob_signatures import service_sas

    config = control.config
    name = config.blob_container
    query = service_sas(config.account, config.account_key, name, None, "rl", hours=1)
    url = f"https://{config.blob_host}/{name}?restype=container&comp=list&{query}"
    assert requests.get(url, timeout=10).status_code == 200
    control.advance(3601)
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 403
    assert "not valid in the specified time frame" in answer.text


def test_time_stamps_are_the_clocks(ml_client: "MLClient", control: Control) -> None:
    from tests.emulator.test_faults import link

    control.advance(1800)
    made = ml_client.data.create_or_update(link("from-the-future"))
    ahead = made.creation_context.created_at - datetime.now(UTC)
    assert timedelta(minutes=29) < ahead < timedelta(minutes=31)
    assert abs(control.now() - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(seconds=10)


def test_the_clock_is_only_turned_forward(control: Control) -> None:
    for body, problem in (
        ({"advance": -5}, "advance: Input should be greater than 0"),
        ({"advance": "5"}, "advance: Input should be a valid number"),
        ({}, "advance: Field required"),
        ({"advance": 1e12}, "advance: Input should be less"),
        ([], "must be a JSON object"),
    ):
        with pytest.raises(ControlError, match=problem) as caught:
            control.request("POST", "/clock", body)
        assert caught.value.status == 400


def test_sleepers_wake_by_the_clock() -> None:
    async def sleep() -> float:
        clock = Clock()
        began = time.monotonic()
        sleeper = asyncio.create_task(clock.sleep(100))
        await asyncio.sleep(0)
        clock.advance(60)
        clock.clear()
        await asyncio.sleep(0.05)
        assert not sleeper.done()
        clock.advance(40)
        await sleeper
        await clock.sleep(0.1)
        return time.monotonic() - began

    assert 0.1 <= asyncio.run(sleep()) < 5
