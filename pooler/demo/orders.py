"""The demo's order book: thousands of orders of a coffee wholesaler in a SQLite file, the same ones every time.

It only ever writes the file that it is given.
"""

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from random import Random

SEED = 20260630
CUSTOMERS = 400
ORDERS = 6000
LAST_DAY = date(2026, 6, 30)
DAYS = 540

_SCHEMA = """
CREATE TABLE customers (
  code TEXT PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL, since TEXT NOT NULL
);
CREATE TABLE products (sku TEXT PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, price NUMERIC NOT NULL);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer TEXT NOT NULL REFERENCES customers (code), placed_on TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('open', 'packed', 'shipped', 'paid', 'cancelled')), total NUMERIC NOT NULL
);
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders (id), line INTEGER NOT NULL, sku TEXT NOT NULL REFERENCES products (sku),
  quantity INTEGER NOT NULL, price NUMERIC NOT NULL, PRIMARY KEY (order_id, line)
);
CREATE INDEX orders_by_customer ON orders (customer, id);
"""

_FIRST = (
    "Blue",
    "North",
    "Harbour",
    "Old Town",
    "Corner",
    "Lark",
    "Copper",
    "Linden",
    "Mill",
    "Station",
    "Garden",
    "Ivy",
)
_SECOND = (
    "Bakery",
    "Café",
    "Coffee Bar",
    "Canteen",
    "Deli",
    "Espresso",
    "Grocer",
    "Hotel",
    "Kitchen",
    "Roastery",
    "Tearoom",
)
_CITIES = (
    ("Aarhus", "DK"), ("Antwerp", "BE"), ("Bergen", "NO"), ("Bologna", "IT"), ("Bremen", "DE"), ("Galway", "IE"),
    ("Gdańsk", "PL"), ("Graz", "AT"), ("Leeds", "GB"), ("Lyon", "FR"), ("Malmö", "SE"), ("Porto", "PT"),
    ("Utrecht", "NL"),
)  # fmt: skip
_ORIGINS = (
    "Brazil Cerrado",
    "Colombia Huila",
    "Ethiopia Sidamo",
    "Guatemala Antigua",
    "Kenya Nyeri",
    "Sumatra Mandheling",
)
_ROASTS = ("light", "medium", "dark", "decaf")
_SIZES = (("250 g bag", 1.0), ("1 kg bag", 3.6), ("15 kg sack", 48.0))


def write_orders(path: Path) -> None:
    """Creates the order book. Raises FileExistsError when there is something at the path already."""
    with path.open("xb"):
        pass
    random = Random(SEED)  # noqa: S311  # sample data, not secrets
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        customers = _customers(random)
        products = _products(random)
        database.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", customers)
        database.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", products)
        orders, lines = _orders(random, [row[0] for row in customers], [(row[0], row[3]) for row in products])
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", orders)
        database.executemany("INSERT INTO order_lines VALUES (?, ?, ?, ?, ?)", lines)


def _customers(random: Random) -> list[tuple[str, str, str, str, str]]:
    rows = []
    for number in range(1, CUSTOMERS + 1):
        city, country = random.choice(_CITIES)
        name = f"{random.choice(_FIRST)} {random.choice(_SECOND)}"
        since = LAST_DAY - timedelta(days=random.randint(DAYS, DAYS * 6))
        rows.append((f"{name[:2].upper().strip()}{country}{number:04}", name, city, country, since.isoformat()))
    return rows


def _products(random: Random) -> list[tuple[str, str, str, float]]:
    rows = []
    for origin in _ORIGINS:
        base = random.uniform(7.5, 12.5)
        for roast in _ROASTS:
            for unit, factor in _SIZES:
                sku = f"{origin[:3].upper()}-{roast[:2].upper()}-{unit.split()[0]}"
                rows.append((sku, f"{origin}, {roast}", unit, round(base * factor, 2)))
    return rows


def _orders(
    random: Random, customers: list[str], products: list[tuple[str, float]]
) -> tuple[list[tuple[int, str, str, str, float]], list[tuple[int, int, str, int, float]]]:
    """Orders and their lines. A few customers order much, most order little, as in any real book."""
    orders, lines = [], []
    weights = [1 / (rank + 3) for rank in range(len(customers))]
    days = sorted(random.randrange(DAYS) for _ in range(ORDERS))
    for number, (customer, day) in enumerate(
        zip(random.choices(customers, weights, k=ORDERS), days, strict=True), 10_001
    ):
        chosen = random.sample(products, random.choices((1, 2, 3, 4, 6), (6, 5, 4, 2, 1))[0])
        own = [(number, line, sku, random.randint(1, 24), price) for line, (sku, price) in enumerate(chosen, 1)]
        total = round(sum(quantity * price for _, _, _, quantity, price in own), 2)
        placed_on = LAST_DAY - timedelta(days=DAYS - 1 - day)
        orders.append((number, customer, placed_on.isoformat(), _status(random, DAYS - day), total))
        lines.extend(own)
    return orders, lines


def _status(random: Random, age_days: int) -> str:
    if random.random() < 0.03:
        return "cancelled"
    if age_days > 45:
        return "paid"
    return random.choice(("shipped", "paid")) if age_days > 7 else random.choice(("open", "packed", "shipped"))
