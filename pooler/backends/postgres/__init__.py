"""PostgreSQL and its wire-compatible kin, through psycopg 3 on the event loop."""
