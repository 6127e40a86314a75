"""The rules of a pool: no input or output, no clock, no tasks, no logs. A call takes the time and returns actions."""
