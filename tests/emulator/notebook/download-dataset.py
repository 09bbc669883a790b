"""Download the first percent of every split of a dataset as JSON Lines, as the notebook does."""

import argparse
from pathlib import Path

from datasets import get_dataset_split_names, load_dataset

parser = argparse.ArgumentParser()
parser.add_argument("--dataset", required=True)
parser.add_argument("--download_dir", type=Path, required=True)
parser.add_argument("--dataset_split_pc", type=int, required=True)
options = parser.parse_args()

options.download_dir.mkdir(parents=True, exist_ok=True)
for split in get_dataset_split_names(options.dataset):
    rows = load_dataset(options.dataset, split=f"{split}[0%:{options.dataset_split_pc}%]")
    rows.to_json(options.download_dir / f"{split}.jsonl")
