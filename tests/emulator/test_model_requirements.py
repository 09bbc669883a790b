"""When an MLflow model needs an environment of its own."""

from importlib import metadata
from pathlib import Path

import pytest

from emulator.model_requirements import conda_of, unmet

HERE = metadata.version("httpx")


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (f"httpx=={HERE}\n# a remark\n\nhttpx>=0.1 # another", []),
        ("httpx==0.0.1", ["httpx==0.0.1"]),
        ("no-such-package-anywhere", ["no-such-package-anywhere"]),
        ('pywin32==1; sys_platform == "win32"', []),
        ("-r other.txt", ["-r other.txt"]),
    ],
)
def test_requirements(tmp_path: Path, lines: str, missing: list[str]) -> None:
    (tmp_path / "requirements.txt").write_text(lines)
    assert unmet(tmp_path) == missing


def test_a_conda_file_alone_counts_too(tmp_path: Path) -> None:
    assert unmet(tmp_path) == []
    assert conda_of(tmp_path) is None
    (tmp_path / "conda.yaml").write_text(
        f"dependencies: [python=3.8, pip, {{pip: ['httpx=={HERE}', 'httpx==0.0.1']}}]\n"
    )
    assert unmet(tmp_path) == ["httpx==0.0.1"]
