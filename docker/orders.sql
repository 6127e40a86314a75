-- An order book: 400 customers, 20,000 orders, and the ordinary role that the pooler logs in as.
-- Expects the psql variable `password`.
CREATE ROLE app LOGIN PASSWORD :'password' CONNECTION LIMIT 8;

CREATE TABLE customers (
  code text PRIMARY KEY,
  name text NOT NULL,
  country text NOT NULL
);

CREATE TABLE orders (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  customer text NOT NULL REFERENCES customers (code),
  placed_on date NOT NULL,
  status text NOT NULL CHECK (status IN ('open', 'packed', 'shipped', 'paid', 'cancelled')),
  total numeric(10, 2) NOT NULL
);

INSERT INTO customers (code, name, country)
SELECT
  'C' || to_char(n, 'FM0000'),
  (ARRAY['Blue', 'Harbour', 'Linden', 'Mill', 'Station'])[1 + n % 5] || ' '
    || (ARRAY['Bakery', 'Café', 'Deli', 'Kitchen', 'Roastery', 'Tearoom', 'Grocer'])[1 + n % 7],
  (ARRAY['AT', 'BE', 'DE', 'DK', 'FR', 'GB', 'IE', 'IT', 'NL', 'PL', 'PT'])[1 + n % 11]
FROM generate_series(1, 400) AS n;

INSERT INTO orders (customer, placed_on, status, total)
SELECT
  'C' || to_char(1 + (n * n + n / 7) % 400, 'FM0000'),
  DATE '2025-01-01' + n / 37,
  (ARRAY['paid', 'paid', 'shipped', 'packed', 'open', 'cancelled'])[1 + n % 6],
  round(((n * 7919) % 90000) / 100.0 + 5, 2)
FROM generate_series(1, 20000) AS n;

CREATE INDEX orders_by_customer ON orders (customer, id DESC);

GRANT SELECT, INSERT, UPDATE ON customers, orders TO app;
