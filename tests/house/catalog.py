"""What a database is made of, as its own catalog says: for comparing two, or two schemas of one."""

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper

# Not the order of columns: one that was added later stands last, and nobody goes by it.
_PARTS = {
    "columns": """
      SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
             pg_get_expr(d.adbin, d.adrelid), a.attcollation <> t.typcollation
      FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
      SELECT conname, convalidated, pg_get_constraintdef(oid)
      FROM pg_constraint WHERE conrelid = %s::regclass""",
    "indexes": """
      SELECT i.indisvalid, pg_get_indexdef(i.indexrelid)
      FROM pg_index i WHERE i.indrelid = %s::regclass""",
    "triggers": """
      SELECT t.tgenabled, pg_get_triggerdef(t.oid), p.prosrc
      FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
      WHERE NOT t.tgisinternal AND t.tgrelid = %s::regclass""",
}


def of(connection: BaseDatabaseWrapper, tables: Iterable[str]) -> set[str]:
    """Every column, constraint, index and trigger of `tables` where it looks first, a line each."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        [[schema]] = cursor.fetchall()
        found = set()
        for table in tables:
            for part, query in _PARTS.items():
                cursor.execute(query, [table])
                found |= {
                    f"{table} {part}: {row}".replace(f"{schema}.", "") for row in cursor.fetchall()
                }
        return found
