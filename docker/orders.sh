#!/bin/sh
# Runs once, when the database is empty: PostgreSQL's image executes it as the superuser.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$ORDERS_PASSWORD" \
  --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" --file /penstock/orders.sql
