"""A legacy system that exists only in this process and counts by itself: the verified fake of tests and load tests."""
