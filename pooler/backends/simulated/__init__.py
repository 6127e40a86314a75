"""A made-up legacy system that counts by itself, in this process or in one of its own: the fake of tests and loads."""
