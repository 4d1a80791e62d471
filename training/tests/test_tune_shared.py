"""Two processes that tune together, as on two machines; on PostgreSQL where the tests run there."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import optuna
import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from training import drawing
from training.tests.workers import database_url
from training.tuning import studies

PATIENCE_SECONDS = 240.0


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[str]:
    """The address of a database for studies: where the tests run on PostgreSQL, a schema there."""
    if connection.vendor == "sqlite":
        yield studies.in_file(tmp_path / "shared.sqlite3")
        return
    schema = f"tune_{uuid4().hex}"
    with psycopg.connect(database_url(), autocommit=True) as database:
        database.execute(f'CREATE SCHEMA "{schema}"')
        yield f"{database_url()}?options={quote(f'-csearch_path={schema}')}"
        database.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.mark.django_db(transaction=True)
def test_two_processes_share_one_study(storage: str, settings: Settings, tmp_path: Path) -> None:
    # With Keras, which else every process that runs tests would load to collect this one.
    from training.tests import tuners
    from training.tuning import search

    pets = drawing.draw(tmp_path / "pets", per_label=20, side=16, label_keys=("cat", "dog"))
    words = tuners.words(pets, "--storage", storage, "--study", "together", "--trials", "4")
    settings.RUNS_ROOT = tmp_path / "here"
    log, here = tmp_path / "log", io.StringIO()
    with tuners.started(words, tmp_path / "there", tmp_path, log) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()[-2_000:]
        process.stdin.write("go\n")
        process.stdin.flush()
        call_command("tune", *words, stdout=here, no_color=True)
        there = process.communicate(timeout=PATIENCE_SECONDS)[0]
    assert process.returncode == 0, (there, log.read_text()[-2_000:])

    kept = studies.storage(studies.address(storage))
    tried = search.every(optuna.load_study(storage=kept, study_name="together"))
    assert {each.state for each in tried} <= {"finished", "given up"}
    # Two that ask at the very same moment may try one more.
    assert len(tried) in (4, 5)
    # Nobody tried what the other one did; the recipe's own settings were tried once.
    assert len({tuple(sorted(each.values.items())) for each in tried}) == len(tried)
    assert sum(each.own for each in tried) == 1
    for pid, said, root in (
        (os.getpid(), here.getvalue(), tmp_path / "here"),
        (process.pid, there, tmp_path / "there"),
    ):
        own = {str(each.number) for each in tried if each.process.endswith(f"/{pid}")}
        assert own, "one of the two did nothing"
        assert set(re.findall(r"^trial +(\d+)", said, re.MULTILINE)) == own
        # Each wrote its page; the study itself is where both reach it.
        assert [path.name for path in (root / "tune" / "together").iterdir()] == ["report.html"]
