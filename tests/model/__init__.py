"""The pure core against the outside world, over random histories."""
