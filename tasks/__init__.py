"""The stages of a fine-tuning run: thin Prefect tasks over plain functions."""
