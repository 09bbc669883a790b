"""Jobs that really run: expressions, graphs, processes and the runner that joins them."""
