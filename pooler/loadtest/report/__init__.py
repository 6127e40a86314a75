"""A run as one HTML file: figures, charts, tables. Needs no network, no script and no other file."""
