"""Resources that are watched: `room` takes watchers in, `watcher` is what each of them holds, and a source for all who
watch the same thing tells of its changes, `listening` where the backend says so by itself, else `polling`.
"""
