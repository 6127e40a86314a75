"""Real servers for tests, started on free loopback ports with their data in temporary folders, and ended by pid."""
