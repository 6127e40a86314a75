"""The hands around the rules: tasks, timers, threads and processes. What to do is decided in `pooler.core`."""
