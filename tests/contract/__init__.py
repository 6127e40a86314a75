"""One suite for every adapter, and what is special to each. `subjects/` holds who takes part."""
