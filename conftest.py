"""Fixtures that every room's tests may ask for, and what a skip means where it may not happen."""

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator

import pytest
from pytest_django import Settings

pytest_plugins = ["classifyme.tests.browser", "classifyme.tests.emptying"]
CI = os.environ.get("CI") == "true"
# The longest first: begun last, one process would work on them while the others are done.
LONGEST = (
    "training/tests/test_train_from_admin.py",
    "classifier/tests/test_accessibility.py",
    "training/tests/test_tutorial.py",
    "training/tests/test_backbones.py",
    "training/tests/test_train_command.py",
    "classifier/tests/test_browser.py",
    "training/tests/test_trainer.py",
    "training/tests/test_trainer_phases.py",
    "classifier/tests/test_serving.py",
    "training/tests/test_search.py",
    "training/tests/test_search_parts.py",
    "classifier/tests/test_browser_review.py",
    "training/tests/test_export.py",
    "training/tests/test_train_broken_off.py",
    "training/tests/test_train_refusals.py",
    "notebooks/3-transfer-learning.ipynb",
    "training/tests/test_architectures.py",
    "classifier/tests/test_history_browser.py",
    "classifier/tests/test_pretrained.py",
    "classifyme/tests/test_serve.py",
    "training/tests/test_tune_search.py",
    "training/tests/test_explanation.py",
    "classifier/tests/test_tasks.py",
    "classifier/tests/test_switching.py",
    "training/tests/test_folds.py",
    "training/tests/test_backends.py",
    "training/tests/test_distribution.py",
    "training/tests/test_tune_shared.py",
)

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell lets what it starts in the background ignore Ctrl-C, which some tests press.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    from django.conf import settings

    return f"database: {settings.DATABASES['default']['ENGINE'].rpartition('.')[2]}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest; each file's tests keep their order."""
    rank = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))


def pytest_collection_finish() -> None:
    """What stands before the first test stays: no collection of garbage looks at it again.

    With TensorFlow each would take a third of a second.
    """
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _no_skip_in_ci((yield))


def _no_skip_in_ci[R: (pytest.TestReport, pytest.CollectReport)](report: R) -> R:
    """What CI skips nobody tests: there a skip is a failure that says why it was skipped."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"Skipped in CI, where every test runs: {report.longrepr}"
    return report


@pytest.fixture(autouse=True)
def _own_folders(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give every test empty folders of its own, and take them away after it."""
    root = tmp_path_factory.mktemp("var")
    settings.MEDIA_ROOT = root / "media"
    settings.BUNDLES_ROOT = root / "bundles"
    settings.BUNDLE_CACHE = root / "bundle-cache"
    settings.DATASETS_ROOT = root / "datasets"
    settings.RUNS_ROOT = root / "runs"
    settings.MEDIA_ROOT.mkdir()
    settings.BUNDLES_ROOT.mkdir()
    yield
    shutil.rmtree(root, ignore_errors=True)
