"""The statement that adds rows up is the one its module shows."""

from aegisd.store.rollups import statement
from aegisd.store.rollups.folding import between
from aegisd.store.schema.levels import ENDPOINTS, MINUTE

BEGIN = 1_780_308_000_000_000  # 2026-06-01 10:00 UTC
DAY_BEGIN = BEGIN - 36_000_000_000


def without_whitespace(text: str) -> str:
    return "".join(text.split())


def test_statement_in_the_docstring_is_the_one_the_code_makes() -> None:
    made = statement.add_up(
        kind=ENDPOINTS,
        source_table=ENDPOINTS.pieces_table,
        where=between(BEGIN, BEGIN + 300_000_000),
        level=MINUTE,
        summed="false",
        merge_where=between(DAY_BEGIN, DAY_BEGIN + 86_400_000_000, "t.bucket"),
    )
    _, _, rest = (statement.__doc__ or "").partition("the code):")
    shown, _, _ = rest.partition("GROUP BY goes")
    sql = "\n".join(line for line in shown.splitlines() if not line.strip().startswith("--"))
    assert without_whitespace(sql) == without_whitespace(made)
