"""The judgement whether a statement can leave something behind for the next user of its connection.

It is conservative: only a single plain query made of harmless built-in functions leaves nothing; all else may have
set a variable, taken a lock, made a temporary object or moved a sequence, and costs one reset. It reads the statement's
words only. It does not know what a view, a policy or an overloaded operator calls; whoever hides a `set_config` in a
view has to declare its readers as writes.
"""

from pooler.backends.statements import Kind, Statement, Token

HARMLESS_FUNCTIONS = frozenset(
    """
    abs acos age array_agg array_length array_position array_to_string ascii asin atan atan2 avg
    bit_and bit_length bit_or bool_and bool_or btrim
    cardinality cast ceil ceiling char_length character_length chr coalesce concat concat_ws convert cos cot count
    cume_dist curdate current_date current_time current_timestamp curtime
    date date_add date_diff date_format date_part date_sub date_trunc datediff day dayname dayofmonth dayofweek
    dayofyear decode degrees dense_rank div
    encode every exp extract
    field first_value floor format from_unixtime
    generate_series glob greatest group_concat grouping
    hex hour
    if ifnull iif initcap instr isnull
    json json_agg json_array json_array_length json_arrayagg json_build_array json_build_object json_contains
    json_each json_extract json_extract_path json_extract_path_text json_group_array json_group_object json_length
    json_object json_object_agg json_objectagg json_quote json_set json_tree json_type json_unquote json_valid
    json_value jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_each jsonb_extract_path jsonb_extract_path_text jsonb_object_agg jsonb_object_keys
    jsonb_path_exists jsonb_path_query jsonb_set jsonb_typeof julianday
    lag last_value lcase lead least left length like likelihood likely ln localtime localtimestamp locate log log10
    log2 lower lpad ltrim
    make_date make_interval make_timestamp max md5 mean median mid min minute mod month monthname
    now nth_value ntile nullif nvl
    octet_length ordinality overlay
    percent_rank percentile_cont percentile_disc pg_sleep pi position power pow printf
    quarter quote quote_ident quote_literal
    radians rank regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_substr
    repeat replace reverse right round row_number row_to_json rpad rtrim
    second sign sin sleep space split_part sqrt starts_with stddev stddev_pop stddev_samp str_to_date strftime
    string_agg string_to_array strpos substr substring substring_index sum
    tan time timestampadd timestampdiff timediff to_char to_date to_json to_jsonb to_number to_timestamp total
    translate trim trunc truncate typeof
    ucase unhex unicode unistr unixepoch unix_timestamp unnest upper utc_date utc_timestamp
    var_pop var_samp variance version
    week weekday weekofyear width_bucket
    year
    """.split()  # noqa: SIM905
)
"""Built-in functions of the backends at hand that change nothing outside their own result."""

_NO_FUNCTIONS = frozenset(
    """
    all and any array as between bigint binary bit by case char character cross dec decimal distinct double else except
    exists filter float for from group having in inner intersect interval is join lateral limit natural nchar not
    numeric nvarchar of offset on or order outer over partition precision real row rows select set some then time
    timestamp union unique using values varbinary varchar varying when where with within
    """.split()  # noqa: SIM905
)
"""Words that may stand before a parenthesis without calling anything."""

_TELLING = frozenset(
    "ALTER CALL CREATE DELETE DO DROP EXECUTE HANDLER INSERT INTO LOCK MERGE PROCEDURE REPLACE UPDATE".split()  # noqa: SIM905
)
"""Words of a query that does more than to read. `REPLACE(` and `INSERT(` as functions are judged as functions."""


def leaves_no_trace(statement: Statement) -> bool:
    """Whether the next user of the connection certainly notices nothing of this statement."""
    if statement.verb not in ("SELECT", "VALUES", "WITH"):
        return False
    if any(token.kind is Kind.COMMENT and token.text.startswith(("/*!", "/*M!")) for token in statement.tokens):
        return False  # MariaDB and MySQL run what stands in there
    tokens = statement.significant
    pairs = zip(tokens, [*tokens[1:], None], strict=True)
    return all(_is_harmless(token, following) for token, following in pairs) and not _calls_by_path(tokens)


def _is_harmless(token: Token, following: Token | None) -> bool:
    calls = following is not None and following.text == "("
    if token.kind is Kind.WORD:
        word = token.text.lower()
        if calls:
            return word in HARMLESS_FUNCTIONS or word in _NO_FUNCTIONS
        return token.text.upper() not in _TELLING
    if token.kind is Kind.IDENTIFIER:
        return not calls
    return token.text not in ("@", "@@")  # MariaDB and MySQL assign variables inside a query


def _calls_by_path(tokens: list[Token]) -> bool:
    """Whether a function is called by a qualified name, which need not be the built-in one."""
    return any(
        before.text == "." and called.kind is Kind.WORD and following.text == "("
        for before, called, following in zip(tokens, tokens[1:], tokens[2:], strict=False)
    )
