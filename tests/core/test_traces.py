"""The judgement whether a statement may leave something behind: better one reset too many than one too few."""

import pytest

from pooler.backends.statements import MYSQL, parse
from pooler.backends.traces import leaves_no_trace

HARMLESS = [
    "SELECT 1",
    "select * from orders where customer = :customer order by id desc limit 10",
    "SELECT count(*), round(avg(total), 2), upper(name) FROM orders GROUP BY name HAVING count(*) > 3",
    "VALUES (1, 2)",
    "WITH recent AS (SELECT * FROM orders WHERE placed_on > :since) SELECT * FROM recent",
    "SELECT a FROM t WHERE b IN (:x, :y) AND EXISTS (SELECT 1 FROM u) AND (c OR d)",
    "SELECT row_number() OVER (PARTITION BY a ORDER BY b) FROM t",
    "SELECT CAST(a AS numeric(10, 2)), coalesce(b, 'nextval(') FROM t -- set_config(",
    "SELECT replace(a, 'x', 'y') FROM t",
]


@pytest.mark.parametrize("sql", HARMLESS)
def test_a_plain_query_leaves_no_trace(sql: str) -> None:
    assert leaves_no_trace(parse(sql, MYSQL))


TELLING = [
    "INSERT INTO t VALUES (1)",
    "UPDATE t SET a = 1",
    "SET search_path = other",
    "SELECT set_config('a', 'b', false)",
    "SELECT nextval('numbers')",
    "SELECT pg_advisory_lock(1)",
    "SELECT get_lock('a', 1)",
    "SELECT my_function(a) FROM t",
    "SELECT other.lower(a) FROM t",
    "SELECT `lower`(a) FROM t",
    "SELECT * INTO copy FROM t",
    "SELECT a INTO @x FROM t",
    "SELECT @x := 1",
    "WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone",
    "SELECT 1 /*! , sleep(1) */",
    "SELECT 1 /*M! , sleep(1) */",
    "CALL do_it()",
    "PRAGMA cache_size = 1",
    "ATTACH DATABASE 'x' AS y",
    "LISTEN orders",
    "EXPLAIN ANALYZE DELETE FROM t",
    "SELECT last_insert_id(5)",
    "DISCARD ALL",
]


@pytest.mark.parametrize("sql", TELLING)
def test_whatever_else_may_leave_one(sql: str) -> None:
    assert not leaves_no_trace(parse(sql, MYSQL))
