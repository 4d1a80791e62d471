"""How the tables are emptied after a test that commits: ours alone, unless it touched the others.

Django empties every table and then has content types, permissions and the roles' groups made anew,
which takes forty times as long. Hardly a test changes one of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.test import TransactionTestCase

Rows = list[list[tuple[Any, ...]]]


class _Emptying:
    """Stands for `TransactionTestCase._fixture_teardown`."""

    def __init__(self) -> None:
        self._slowly = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]
        self._made: dict[str, Rows] = {}

    def __call__(self, case: TransactionTestCase) -> None:
        names = sorted(case._databases_names(include_mirrors=False))  # type: ignore[attr-defined]
        if all(self._made.get(name) == _made_by_migrating(name) for name in names):
            for name in names:
                _empty(name)
        else:
            self._slowly(case)
            self._made = {name: _made_by_migrating(name) for name in names}


def _kept() -> list[Any]:
    """Return the models whose rows migrating makes; none of them points to any other."""
    from django.contrib.auth.models import Group, Permission
    from django.contrib.contenttypes.models import ContentType

    from classifier.models import RoleGrant

    return [ContentType, Permission, Group, Group.permissions.through, RoleGrant]


def _made_by_migrating(name: str) -> Rows:
    return [
        list(model._default_manager.using(name).order_by("pk").values_list()) for model in _kept()
    ]


def _empty(name: str) -> None:
    """Delete all rows but those; whatever they point to, since that is checked in the end."""
    connection = connections[name]
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = [
        connection.ops.quote_name(table)
        for table in sorted({*names} - {model._meta.db_table for model in _kept()})
    ]
    asked = " UNION ALL ".join(
        f"SELECT {at} WHERE EXISTS (SELECT 1 FROM {table})"  # noqa: S608 (our own tables)
        for at, table in enumerate(tables)
    )
    with connection.cursor() as cursor:
        cursor.execute(asked)
        full = [tables[at] for (at,) in cursor.fetchall()]
    connection.ops.execute_sql_flush([f"DELETE FROM {table}" for table in full])  # noqa: S608


@pytest.fixture(autouse=True, scope="session")
def _quick_emptying() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        emptying = _Emptying()
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: emptying(case))
        yield
