"""Everything that proves Penstock; `README.md` says which folder holds what."""
