"""The programs as processes of their own, with real servers, real signals and real faults."""
