"""The `penstock` command: starts the programs, checks a configuration, asks a running pooler. Pools nothing itself."""
