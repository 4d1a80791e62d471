from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from classifyme.environment import CloudinaryAccount, Environment, cloudinary_account


@pytest.fixture
def env() -> Environment:
    return Environment(env_file=None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("ON", True), ("1", True), ("no", False), ("0", False), ("", True)],
)
def test_it_reads_a_boolean(
    env: Environment, monkeypatch: pytest.MonkeyPatch, text: str, expected: bool
) -> None:
    monkeypatch.setenv("DEBUG", text)
    assert env.boolean("DEBUG", default=True) is expected


@pytest.mark.parametrize("text", ["maybe", "2", "flase"])
def test_it_refuses_a_word_that_is_no_boolean(
    env: Environment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("DEBUG", text)
    with pytest.raises(ImproperlyConfigured, match=r"DEBUG must be true or false\. Received"):
        env.boolean("DEBUG", default=False)


@pytest.mark.parametrize("text", ["eighty", "0", "65536", "80.5", "-1"])
def test_it_refuses_a_number_outside_its_bounds(
    env: Environment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PORT", text)
    with pytest.raises(ImproperlyConfigured, match=r"PORT must be a number from 1 to 65535"):
        env.integer("PORT", 8000, minimum=1, maximum=65535)


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "soon"])
def test_it_refuses_a_decimal_outside_its_bounds(
    env: Environment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("POLL", text)
    with pytest.raises(ImproperlyConfigured, match="POLL must be"):
        env.decimal("POLL", 0.5, minimum=0, maximum=60)


def test_it_reads_a_list_and_drops_blanks(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAMES", " a , b ,, ")
    assert env.words("NAMES") == ["a", "b"]


def test_an_empty_variable_counts_as_not_set(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "")
    assert env.integer("PORT", 8000, minimum=1, maximum=65535) == 8000


def test_a_relative_path_is_taken_from_the_project(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MEDIA_ROOT", "var/pictures")
    assert env.path("MEDIA_ROOT", Path("var"), base=tmp_path) == tmp_path / "var/pictures"


def test_sqlite_in_var_is_the_default_database(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    config = env.database("DATABASE_URL", base=tmp_path)
    assert config["ENGINE"] == "django.db.backends.sqlite3"
    assert config["NAME"] == str(tmp_path / "var/db.sqlite3")


def test_a_database_url_names_postgresql(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me:p%40ss@db.example.org:5433/pictures")
    config = env.database("DATABASE_URL", base=tmp_path)
    assert config["ENGINE"] == "django.db.backends.postgresql"
    assert (config["USER"], config["PASSWORD"], config["HOST"], config["PORT"]) == (
        "me",
        "p@ss",
        "db.example.org",
        5433,
    )


@pytest.mark.parametrize("url", ["mysql://me:secret@h/n", "secret", "redis://h"])
def test_it_refuses_another_database_and_repeats_no_password(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must be") as caught:
        env.database("DATABASE_URL", base=tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["postgres://me:secret@h:abc/n", "postgres://me:secret/x@h/n", "postgres://me:x?secret@h/n"],
)
def test_it_refuses_a_malformed_database_url_and_repeats_nothing_of_it(
    env: Environment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ImproperlyConfigured, match="DATABASE_URL must be") as caught:
        env.database("DATABASE_URL", base=tmp_path)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_options_are_a_json_object(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.options("OPTIONS") == {}
    monkeypatch.setenv("OPTIONS", '{"bucket_name": "models", "secure": true}')
    assert env.options("OPTIONS") == {"bucket_name": "models", "secure": True}


@pytest.mark.parametrize("text", ['{"secret_key": "hush"', '["hush"]', "hush", "null"])
def test_options_that_are_none_are_refused_and_not_repeated(
    env: Environment, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("OPTIONS", text)
    with pytest.raises(ImproperlyConfigured, match="OPTIONS must be a JSON object") as caught:
        env.options("OPTIONS")
    assert "hush" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("line", ["hush", "hush = 1", " HUSH=1", "HUSH: hush", "export HUSH"])
def test_a_line_of_an_env_file_that_sets_nothing_is_named_and_not_repeated(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], line: str
) -> None:
    file = tmp_path / ".env"
    file.write_text(f"# A comment.\n\n{line}\n")
    with pytest.raises(ImproperlyConfigured) as caught:
        Environment(file)
    assert str(caught.value).startswith(f"{file}, line 3, must be NAME=value")
    assert "hush" not in f"{caught.value}{capfd.readouterr()}".replace(str(file), "").lower()


def test_blank_lines_and_comments_of_an_env_file_are_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / ".env"
    file.write_text("\n   \n# One\n  # Two\n")
    Environment(file)
    assert caplog.messages == []


def test_an_env_file_that_is_no_text_is_said(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"NAME=\xff\n")
    with pytest.raises(ImproperlyConfigured, match=r"cannot be read: it is not UTF-8 text\."):
        Environment(file)


def test_an_env_file_is_read_and_the_environment_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / ".env"
    file.write_text("CLASSIFYME_ONE=file\nCLASSIFYME_TWO=file\n")
    monkeypatch.setenv("CLASSIFYME_ONE", "environment")
    # Set and unset, so that what reading the file adds is taken away after the test.
    monkeypatch.setenv("CLASSIFYME_TWO", "")
    monkeypatch.delenv("CLASSIFYME_TWO")
    env = Environment(file)
    assert env.text("CLASSIFYME_ONE") == "environment"
    assert env.text("CLASSIFYME_TWO") == "file"
    monkeypatch.delenv("CLASSIFYME_TWO")


def _account(monkeypatch: pytest.MonkeyPatch, **variables: str) -> CloudinaryAccount:
    for name in ("CLOUD_NAME", "API_KEY", "API_SECRET", "CLOUDINARY_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return cloudinary_account(Environment(env_file=None))


def test_cloudinary_is_off_unless_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    account = _account(monkeypatch)
    assert not account.configured
    assert not account.problem


def test_the_three_names_and_the_url_mean_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    by_names = _account(monkeypatch, CLOUD_NAME="Demo", API_KEY="1", API_SECRET="s/+")
    by_url = _account(monkeypatch, CLOUDINARY_URL="cloudinary://1:s%2F%2B@Demo")
    assert by_names == by_url
    assert by_names.configured


def test_both_may_be_given_when_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    account = _account(
        monkeypatch,
        CLOUD_NAME="demo",
        API_KEY="1",
        API_SECRET="s",
        CLOUDINARY_URL="cloudinary://1:s@demo?private_cdn=true",
    )
    assert account.configured
    assert account.delivery_origin == "https://demo-res.cloudinary.com"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CLOUD_NAME": "demo"}, "API_KEY and API_SECRET missing"),
        ({"API_KEY": "1", "API_SECRET": "s"}, "CLOUD_NAME missing"),
        ({"CLOUDINARY_URL": "https://1:s@demo"}, "must look like"),
        ({"CLOUDINARY_URL": "cloudinary://demo"}, "must look like"),
        ({"CLOUDINARY_URL": "cloudinary://1:s@demo?colour=red"}, "unknown options"),
        (
            {
                "CLOUD_NAME": "demo",
                "API_KEY": "1",
                "API_SECRET": "s",
                "CLOUDINARY_URL": "cloudinary://1:s@other",
            },
            "says something else",
        ),
    ],
)
def test_half_an_account_or_a_contradiction_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    account = _account(monkeypatch, **variables)
    assert said in account.problem
    assert not account.configured


def test_the_secret_does_not_show_when_an_account_is_printed() -> None:
    assert "hush" not in repr(CloudinaryAccount("demo", "1", "hush"))


@pytest.mark.parametrize(
    ("options", "origin"),
    [
        ({}, "https://res.cloudinary.com"),
        ({"secure_distribution": "img.example.org"}, "https://img.example.org"),
        ({"secure": "false", "cname": "img.example.org"}, "http://img.example.org"),
    ],
)
def test_it_knows_where_pictures_are_delivered_from(options: dict[str, str], origin: str) -> None:
    assert CloudinaryAccount("demo", "1", "s", options).delivery_origin == origin
