"""Measurements that `make` runs, and what tests need to run flows in great numbers."""
