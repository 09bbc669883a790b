"""Data and models: upload, versions, immutability, lists."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient


def test_data_asset_is_uploaded_and_found_again(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    file = tmp_path / "rows.jsonl"
    file.write_text('{"a": 1}\n')
    data = Data(name="rows", version="1", path=str(file), type="uri_file", description="rows")
    created = ml_client.data.create_or_update(data)
    assert created.path.startswith("azureml://subscriptions/")
    assert ml_client.data.get("rows", version="1").description == "rows"
    assert ml_client.data.get("rows", label="latest").version == "1"
    assert [d.version for d in ml_client.data.list("rows")] == ["1"]
    folder = Data(name="row-folder", version="1", path=str(tmp_path), type="uri_folder")
    assert ml_client.data.create_or_update(folder).path.endswith(f"/{tmp_path.name}/")


def test_content_under_an_existing_version_cannot_change(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Data

    for number in (1, 2):
        (tmp_path / f"{number}.txt").write_text(str(number))
    first = Data(name="fixed", version="1", path=str(tmp_path / "1.txt"), type="uri_file")
    ml_client.data.create_or_update(first)
    ml_client.data.create_or_update(first)
    second = Data(name="fixed", version="1", path=str(tmp_path / "2.txt"), type="uri_file")
    with pytest.raises(HttpResponseError) as error:
        ml_client.data.create_or_update(second)
    assert error.value.status_code == 409


def test_versions_count_up_and_latest_is_the_newest(ml_client: "MLClient", tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "model.bin").write_bytes(b"weights")
    for _ in range(3):
        ml_client.models.create_or_update(
            Model(name="counted", path=str(tmp_path / "model.bin"), type="custom_model")
        )
    assert ml_client.models.get("counted", label="latest").version == "3"
    assert sorted(m.version for m in ml_client.models.list("counted")) == ["1", "2", "3"]


def test_archived_assets_leave_the_lists_and_come_back(
    ml_client: "MLClient", tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Data

    (tmp_path / "old.txt").write_text("old")
    for version in ("1", "2"):
        ml_client.data.create_or_update(
            Data(name="old", version=version, path=str(tmp_path / "old.txt"), type="uri_file")
        )
    ml_client.data.archive("old", version="1")
    assert [d.version for d in ml_client.data.list("old")] == ["2"]
    ml_client.data.restore("old", version="1")
    assert len(list(ml_client.data.list("old"))) == 2
    ml_client.data.archive("old")
    assert "old" not in {d.name for d in ml_client.data.list()}
    ml_client.data.restore("old")
    assert "old" in {d.name for d in ml_client.data.list()}


def test_a_missing_asset_is_a_404_that_names_it(ml_client: "MLClient") -> None:
    with pytest.raises(ResourceNotFoundError, match="models/nowhere/versions/7"):
        ml_client.models.get("nowhere", version="7")


def test_model_from_an_unknown_job_is_refused(ml_client: "MLClient") -> None:
    from azure.ai.ml.entities import Model

    with pytest.raises(HttpResponseError, match="no-such-job"):
        ml_client.models.create_or_update(
            Model(
                name="orphan",
                version="1",
                path="azureml://jobs/no-such-job/outputs/trained_model",
                type="mlflow_model",
            )
        )
