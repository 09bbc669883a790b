"""Pictures for the UI: small, labelled, and made without a display."""

import base64
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tasks.lengths import Lengths, data_lengths, lengths_markdown, read_lengths
from tasks.pictures import length_histogram, loss_picture, png, png_data_uri
from tasks.values import MetricPoint, Metrics, SplitFile
from tests.tasks.planning_support import planned

MOST_BYTES = 60_000


def curve(*values: float) -> tuple[MetricPoint, ...]:
    return tuple(MetricPoint(step=step, value=value) for step, value in enumerate(values))


def test_the_loss_picture_names_its_curves_and_their_ends() -> None:
    curves = {"loss": curve(*(5 - n / 500 for n in range(2000))), "eval_loss": curve(4.75, 3.5)}
    figure = loss_picture(Metrics(run_id="r", curves=curves), "Job ft-1")
    assert figure is not None
    (axes,) = figure.axes
    assert axes.get_title() == "Job ft-1"
    assert [text.get_text() for text in axes.texts] == ["5", "1", "4.75", "3.5"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training loss", "evaluation loss"]
    assert len(png(figure)) < MOST_BYTES


def test_without_a_point_there_is_no_picture() -> None:
    assert loss_picture(Metrics(run_id="r", last={"epoch": 1.0}), "job") is None
    assert loss_picture(Metrics(run_id="r", curves={"loss": ()}), "job") is None
    assert length_histogram([Lengths("train", 0, [], [])]) is None


def test_a_picture_travels_in_its_address() -> None:
    figure = loss_picture(Metrics(run_id="r", curves={"loss": curve(2.0)}), "one point")
    assert figure is not None
    kind, _, content = png_data_uri(figure).partition(",")
    assert kind == "data:image/png;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert picture.size == (770, 440)


def split_file(folder: Path, name: str, lengths: list[int]) -> SplitFile:
    path = folder / f"{name}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for length in lengths:
            messages = [{"role": "user", "content": "ä" * length}] * 2
            file.write(json.dumps({"messages": messages}) + "\n")
    size = path.stat().st_size
    return SplitFile(
        split=name, path=str(path), rows=len(lengths), rows_read=len(lengths), sha256="", bytes=size
    )


def test_lengths_are_characters_of_whole_conversations(tmp_path: Path) -> None:
    seen = read_lengths(split_file(tmp_path, "train", [5, 10, 50]))
    assert seen.characters == [10, 20, 100]
    assert seen.messages == [2, 2, 2]
    assert (seen.quantile(0.5), seen.quantile(1)) == (20, 100)
    assert seen.label == "train (3)"
    first = read_lengths(split_file(tmp_path, "train", [5, 10, 50]), most=2)
    assert first.characters == [10, 20]
    assert first.label == "train (first 2)"


def test_the_histogram_marks_where_the_training_cuts(tmp_path: Path) -> None:
    lengths = [read_lengths(split_file(tmp_path, "train", list(range(1, 400))))]
    figure = length_histogram(lengths, max_tokens=64)
    assert figure is not None
    left, _ = figure.axes
    assert left.texts[0].get_text() == "max_seq_length 64\nat about 4 characters a token"
    assert [line.get_xdata()[0] for line in left.lines] == [256]
    assert sum(left.patches[0].get_data().values) == pytest.approx(1)
    assert len(png(figure)) < MOST_BYTES
    unmarked = length_histogram(lengths)
    assert unmarked is not None
    assert not unmarked.axes[0].texts


def test_the_text_says_what_was_not_counted(tmp_path: Path) -> None:
    text = lengths_markdown([read_lengths(split_file(tmp_path, "train", [5, 10, 50]))])
    assert text is not None
    assert "| train | 3 of 3 | 20 | 100 | 100 | 2.0 |" in text
    assert "Tokens are not counted" in text


def test_lengths_that_cannot_be_read_do_not_stop_a_run() -> None:
    assert data_lengths(planned()) is None  # of files that are not there


def test_no_display_and_no_folder_of_matplotlib_are_needed(tmp_path: Path) -> None:
    script = (
        "import sys; from tasks.pictures import *; from tasks.values import *\n"
        "points = (MetricPoint(step=0, value=1.0),)\n"
        "figure = loss_picture(Metrics(run_id='r', curves={'loss': points}), 't')\n"
        "print(png_data_uri(figure)[:10])\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"MPLCONFIGDIR": "/proc/nowhere", "TMPDIR": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "data:image\n", done.stderr
