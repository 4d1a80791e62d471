"""Studies of real, tiny trainings: what is tried, given up, retried, and what fails."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from training.progress import Epoch, Progress, Reporter
from training.tests import tuners
from training.trainer import TrainingError
from training.tuning import studies, trials
from training.tuning.search import Budget, best, every, own
from training.tuning.spaces import Choice, Range, Space, Values
from training.tuning.studies import StudyError
from training.tuning.trials import Listener, Subject, accuracy

RATE = {"learning_rate": Range(0.01, 0.1, log=True)}


def _epoch(number: int, share: float) -> Epoch:
    return Epoch(number, 0.5, share, 0.5, share, 0.1, 1.0)


def _add(found: optuna.Study, share: float, rate: float = 0.05) -> None:
    """Add a trial that has been, of three epochs with this accuracy."""
    distribution = optuna.distributions.FloatDistribution(0.01, 0.1, log=True)
    found.add_trial(
        optuna.create_trial(
            value=share,
            params={"learning_rate": rate},
            distributions={"learning_rate": distribution},
            intermediate_values=dict.fromkeys((1, 2, 3), share),
        )
    )


# -- what comes of trials --------------------------------------------------------------------------


def test_the_recipes_own_settings_are_tried_first_and_the_best_epoch_counts(tmp_path: Path) -> None:
    found = tuners.study(tmp_path / "s.sqlite3", first={"learning_rate": 0.05})
    search, told = tuners.searching(found, tuners.subject(RATE, epochs="2"), tmp_path)
    search.run(Budget(trials=1, minutes=None))

    [only] = told
    assert (only.number, only.state, only.own) == (0, "finished", True)
    assert only.values == {"learning_rate": 0.05}
    assert list(only.epochs) == [1, 2]
    assert only.accuracy == max(only.epochs.values())
    assert only.process.endswith(f"/{os.getpid()}")
    assert best(every(found)) == own(every(found)) == only
    # Nothing of a trial's weights stays behind.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.sqlite3"]

    # As many as were asked for, whoever ran them.
    search.run(Budget(trials=1, minutes=None))
    search.run(Budget(trials=None, minutes=1e-9))
    assert len(every(found)) == 1


def test_a_trial_without_hope_ends_early(tmp_path: Path) -> None:
    found = tuners.study(tmp_path / "s.sqlite3", pruner="median")
    for _ in range(4):
        _add(found, 2.0)  # better than any trial can be
    search, told = tuners.searching(found, tuners.subject(RATE), tmp_path)
    search.run(Budget(trials=5, minutes=None))
    assert (told[0].state, list(told[0].epochs)) == ("given up", [1])
    assert told[0].accuracy == told[0].epochs[1]


def test_a_listener_reports_epochs_and_passes_all_on(tmp_path: Path) -> None:
    found = tuners.study(tmp_path / "s.sqlite3")
    heard: list[Progress | Epoch] = []

    def objective(trial: optuna.Trial) -> float:
        listener = Listener(trial, heard.append)
        listener(Progress(1, 2, 1, 3, 0.5, 0.5, 0.1, 1.0))
        listener(_epoch(1, 0.25))
        listener(_epoch(2, 0.75))
        return 0.75

    found.optimize(objective, n_trials=1)
    assert every(found)[0].epochs == {1: 0.25, 2: 0.75}
    assert len(heard) == 3


def test_settings_that_diverge_are_given_up_with_the_reason(tmp_path: Path) -> None:
    about = tuners.subject({"learning_rate": Choice((1e38,))}, optimizer="sgd")
    search, told = tuners.searching(tuners.study(tmp_path / "s.sqlite3"), about, tmp_path)
    search.run(Budget(trials=1, minutes=None))
    assert told[0].state == "given up"
    assert "loss became" in told[0].reason


def test_a_network_that_cannot_be_built_fails_and_three_in_a_row_end_it(tmp_path: Path) -> None:
    about = tuners.subject({"filters": Choice((0,))})
    search, told = tuners.searching(tuners.study(tmp_path / "s.sqlite3"), about, tmp_path)
    with pytest.raises(StudyError, match=r"3 trials in a row failed.*cannot be built"):
        search.run(Budget(trials=9, minutes=None))
    assert [each.state for each in told] == ["failed"] * 3
    assert "cannot be built" in told[0].reason


def test_too_little_memory_fails_a_trial_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **options: object) -> None:
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("training.trainer.Trainer.run", full)
    with pytest.raises(TrainingError, match="does not fit into memory: Unable to allocate"):
        accuracy(tuners.subject(RATE), {"learning_rate": 0.05}, tmp_path, lambda event: None)


def test_what_is_no_setting_is_an_option_of_the_architecture() -> None:
    about: Subject = tuners.subject({"filters": Choice((4, 8))})
    recipe, settings = about.changed({"filters": 4, "learning_rate": 0.5})
    assert recipe.architecture_options == {"filters": 4}
    assert settings.learning_rate == 0.5
    assert about.settings.learning_rate == 0.05


def test_a_chosen_number_is_taken_as_it_was_written(tmp_path: Path) -> None:
    found = tuners.study(tmp_path / "s.sqlite3")
    space: Space = {"learning_rate": Choice((0.01234567,)), "momentum": Range(0.1, 0.9)}
    drawn: list[Values] = []

    def objective(trial: optuna.Trial) -> float:
        drawn.append(trials.drawn(trial, space))
        return 0.5

    found.optimize(objective, n_trials=1)
    [values] = drawn
    assert values["learning_rate"] == 0.01234567
    assert len(str(values["momentum"])) <= len("0.1234")
    assert every(found)[0].values == values


def test_values_that_do_not_go_together_fail_a_trial_with_the_reason(tmp_path: Path) -> None:
    about = tuners.subject({"optimizer": Choice(("muon",)), "momentum": Choice((0.0,))})
    values: Values = {"optimizer": "muon", "momentum": 0.0}
    with pytest.raises(TrainingError, match="momentum above 0 for muon"):
        accuracy(about, values, tmp_path, lambda event: None)


# -- going on --------------------------------------------------------------------------------------


def test_a_trial_whose_process_was_killed_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(studies, "GRACE_SECONDS", 1)
    path = tmp_path / "s.sqlite3"

    class Killed(BaseException):
        """Ends this process's part as SIGKILL does: nobody says goodbye."""

    def die(trial: optuna.Trial) -> float:
        trial.suggest_float("learning_rate", 0.01, 0.1, log=True)
        time.sleep(0.2)  # a heart beat
        raise Killed

    with pytest.raises(Killed):
        tuners.study(path).optimize(die, n_trials=1)
    assert [each.state for each in every(tuners.study(path))] == ["running"]
    found = tuners.study(path)
    search, told = tuners.searching(found, tuners.subject(RATE, epochs="1"), tmp_path)
    time.sleep(2.1)  # whole seconds are what SQLite's clock counts
    search.run(Budget(trials=1, minutes=None))
    killed, again = every(found)
    assert (killed.state, again.state) == ("failed", "finished")
    assert told == [again]
    assert again.values == killed.values


def test_a_trial_whose_process_was_killed_at_once_is_tried_again_too(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    found = tuners.study(path, first={"learning_rate": 0.05})
    with pytest.warns(UserWarning, match="Heartbeat"):  # there is none: that is the point
        trial = found.ask()
    trial.set_user_attr("process", "here/7")
    left = tmp_path / "trial-0-7-x"
    left.mkdir()

    # Whoever looks first cannot know how long it has been silent.
    studies.give_up_lost(found)
    assert [each.state for each in every(found)] == ["running"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-2 minutes')")
    search, told = tuners.searching(found, tuners.subject(RATE, epochs="1"), tmp_path)
    search.run(Budget(trials=1, minutes=None))
    killed, again = every(found)
    assert (killed.state, again.state) == ("failed", "finished")
    assert again.own
    assert told == [again]
    assert not left.exists(), "its weights are of no use to anybody"


def test_a_heart_goes_on_beating_when_the_database_did_not_take_a_beat(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    kept = studies.storage(studies.address(studies.in_file(path)))
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE trial_heartbeats RENAME TO elsewhere")
    with pytest.raises(StorageInternalError):
        RDBStorage.record_heartbeat(kept, 1)
    kept.record_heartbeat(1)


def test_a_trial_that_went_to_another_process_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.sqlite3"

    def slept(subject: Subject, values: Values, folder: Path, report: Reporter) -> float:
        """What the training itself does is no matter here: the machine sleeps during the first."""
        if not folder.name.startswith("trial-1-"):
            tuners.study(path).tell(0, state=TrialState.FAIL)
        report(_epoch(1, 0.5))
        return 0.5

    monkeypatch.setattr("training.tuning.trials.accuracy", slept)
    search, told = tuners.searching(tuners.study(path), tuners.subject(RATE), tmp_path)
    search.run(Budget(trials=1, minutes=None))
    assert [(each.number, each.state) for each in told] == [(0, "failed"), (1, "finished")]
    assert "the trial went to another one" in told[0].reason


def test_what_a_seed_draws_follows_from_the_trials_number(tmp_path: Path) -> None:
    def drawn(path: Path, count: int) -> list[float]:
        found = tuners.study(path)
        for _ in range(count):
            found.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
            found = tuners.study(path)  # another process
        return [trial.params["x"] for trial in found.trials]

    first = drawn(tmp_path / "a.sqlite3", 3)
    assert first == drawn(tmp_path / "b.sqlite3", 3)
    assert len(set(first)) == 3


# -- the database ----------------------------------------------------------------------------------


def _studied(path: Path, asked: dict[str, Any]) -> optuna.Study:
    return studies.study(
        studies.storage(studies.address(studies.in_file(path))),
        "one",
        asked,
        first=None,
        sampler=studies.ByNumber(0, 4),
        pruner=studies.pruner("hyperband", epochs=3, warmup=1),
    )


def test_a_study_goes_on_with_what_it_was_begun_with(tmp_path: Path) -> None:
    asked = {
        "recipe": "a",
        "architecture": "one",
        "settings": {"epochs": 3, "shift": 2},
        "labels": ("x", "y"),
        "space": {"depth": "1 to 3"},
    }
    _studied(tmp_path / "s.sqlite3", asked)
    _studied(tmp_path / "s.sqlite3", asked)
    with pytest.raises(StudyError, match="The study one is of something else: recipe a, now b"):
        _studied(tmp_path / "s.sqlite3", asked | {"recipe": "b"})
    with pytest.raises(StudyError, match=r"something else: settings: epochs 3, now 4\. Go on"):
        _studied(tmp_path / "s.sqlite3", asked | {"settings": {"epochs": 4, "shift": 2}})
    other = asked | {"architecture": "two", "space": {"width": "8 to 32"}}
    with pytest.raises(StudyError, match=r"something else: architecture one, now two\. Go on"):
        _studied(tmp_path / "s.sqlite3", other)


def test_another_programs_study_is_left_alone(tmp_path: Path) -> None:
    kept = studies.storage(studies.address(studies.in_file(tmp_path / "s.sqlite3")))
    other = optuna.create_study(storage=kept, study_name="one", direction="maximize")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    with pytest.raises(StudyError, match="of another program"):
        _studied(tmp_path / "s.sqlite3", {"recipe": "a"})
    optuna.create_study(storage=kept, study_name="least", direction="minimize")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("nonsense", "Expected --storage sqlite:///PATH or postgresql"),
        ("mysql://u:hidden@h/x", "Received: one that begins with mysql"),
        ("sqlite://", "sqlite without a file"),
        ("sqlite:////nowhere/at/all.db", "cannot be used: unable to open database file"),
        (
            "postgres://u:hidden@127.0.0.1:1/x",
            r"postgresql://u:\*\*\*@127.0.0.1:1/x cannot be used",
        ),
        (
            "postgres://u@127.0.0.1:1/x?password=hidden&sslmode=disable",
            r"postgresql://u@127.0.0.1:1/x\?sslmode=disable cannot be used",
        ),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(
    text: str, sentence: str
) -> None:
    with pytest.raises(StudyError, match=sentence) as refusal:
        studies.storage(studies.address(text))
    assert "hidden" not in str(refusal.value)


def test_both_ways_to_write_postgresql_and_odd_passwords_are_taken() -> None:
    for scheme in ("postgres", "postgresql"):
        url = studies.address(f"{scheme}://me:a%7Bb%40@host:5432/name?options=-csearch_path%3Dx")
        assert url.drivername == "postgresql+psycopg"
        assert (url.password, url.query["options"]) == ("a{b@", "-csearch_path=x")
        assert studies.shown(url).startswith("postgresql://me:***@host:5432/name")


def test_a_waiting_trial_is_taken_by_one_alone(tmp_path: Path) -> None:
    found = tuners.study(tmp_path / "s.sqlite3", first={"learning_rate": 0.05})
    kept = studies.storage(studies.address(studies.in_file(tmp_path / "s.sqlite3")))
    [waiting] = found.get_trials()
    taken = [kept.set_trial_state_values(waiting._trial_id, TrialState.RUNNING) for _ in "ab"]
    assert taken == [True, False]
    [running] = tuners.study(tmp_path / "s.sqlite3").get_trials()
    assert running.state == TrialState.RUNNING
    assert running.datetime_start is not None


def test_a_file_that_is_no_study_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite3"
    path.write_text("no database " * 100)
    with pytest.raises(StudyError, match="cannot be used: file is not a database"):
        studies.storage(studies.address(studies.in_file(path)))


def test_pruners_are_known_by_name() -> None:
    kinds = [type(studies.pruner(name, epochs=9, warmup=1)).__name__ for name in studies.PRUNERS]
    assert kinds == ["MedianPruner", "HyperbandPruner", "NopPruner"]
