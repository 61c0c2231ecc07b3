"""Secrets come from the environment or from a file. No problem and no repr shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.config.newsrooms import ENV, MAIN, SLACK, WEEKLY, read, relay, said, spoilt, write
from tidings.channels.chat.slack import Settings as Slack
from tidings.config.file_reader import read_environment

SECRET = "Tr0ub4dor-and-3-more"


def test_a_newsroom_shows_no_secret(tmp_path: Path) -> None:
    newsroom = read(write(tmp_path)).newsroom
    assert newsroom is not None
    shown = repr(newsroom.mail) + repr(newsroom.channels) + repr(newsroom.store) + str(newsroom.mail)
    for secret in (ENV["SMTP_PASSWORD"], ENV["DESK_URL"], ENV["DESK_SECRET"], SLACK):
        assert secret not in shown and secret in newsroom.secrets
    team = newsroom.channels["team"]
    assert isinstance(team, Slack) and team.url.get_secret_value() == SLACK


@pytest.mark.parametrize("key", ["password: {env: SMTP_PASSWORD}", "secret: {env: DESK_SECRET}"])
def test_a_secret_in_plain_yaml_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    name = key.partition(":")[0]
    [line] = said(read(write(tmp_path, spoilt(MAIN, key, f"{name}: {ENV['DESK_SECRET']}"))))
    assert f"{name}: secrets belong in the environment or in a file, never in YAML" in line
    assert line.endswith(f"Write {name}: {{env: NAME}} or {{file: PATH}}")
    assert ENV["DESK_SECRET"] not in line


def test_the_password_of_the_store_is_not_shown(tmp_path: Path) -> None:
    [line] = said(read(write(tmp_path, spoilt(MAIN, "sqlite:///tidings.db", f"postgresql://u:{SECRET}@db/t"))))
    assert line.startswith("tidings.yaml:8:8: store: secrets belong") and SECRET not in line


_PLACES = [
    "port: 8080",
    "host: 127.0.0.1",
    "trust: [127.0.0.1]",
    "timezone: Asia/Almaty",
    'colour: "#0077b6"',
    "url: https://steppe.example.org/",
    "store: sqlite:///tidings.db",
    "connections: 4",
    "rate: 50/s",
    "security: none",
    "feedback_id: steppe",
    "return_path: bounces@example.org",
    "from: Steppe Office <news@example.org>",
    "unsubscribe_mailto: leave@example.org",
    "public: true",
    "fallback: [en]",
    "default_frequency: weekly",
    "resend_in_doubt: once",
    "type: webhook",
    "channel: team",
    "languages: [en, ru, kk]",
    "path: content",
]


@pytest.mark.parametrize("written", _PLACES)
@pytest.mark.parametrize("source", ["env", "file"])
def test_a_secret_in_the_wrong_place_is_never_shown(tmp_path: Path, written: str, source: str) -> None:
    """The operator swapped two variables: `host: {env: SMTP_PASSWORD}`."""
    key = written.partition(":")[0]
    reference = "{env: SWAPPED}" if source == "env" else "{file: swapped.txt}"
    (tmp_path / "swapped.txt").write_text(SECRET)
    loaded = read(write(tmp_path, spoilt(MAIN, written, f"{key}: {reference}")), {**ENV, "SWAPPED": SECRET})
    for line in said(loaded):
        assert SECRET.casefold() not in line.casefold()
        assert all(word not in line.casefold() for word in ("tr0ub4dor", "more."))


@pytest.mark.parametrize(
    "written", ["weekly: fri 09:00", 'window: "08:00-20:00"', "holidays: KZ", "max_late: 6h", "timezone: Asia/Almaty",
                "list: digest", "channel: team", "frequency: weekly", "order: newest", "min_items: 1\n", "was: friday"]
)  # fmt: skip
def test_a_secret_in_a_schedule_is_never_shown(tmp_path: Path, written: str) -> None:
    key, ending = written.partition(":")[0], "\n" if written.endswith("\n") else ""
    schedule = spoilt(WEEKLY, written, f"{key}: {{env: SWAPPED}}{ending}")
    lines = said(read(write(tmp_path, schedules={"weekly": schedule}), {**ENV, "SWAPPED": SECRET}))
    assert lines and all(SECRET.casefold() not in line.casefold() for line in lines)


def test_the_variable_or_file_of_a_missing_secret_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "slack.txt").unlink()
    lines = said(read(tmp_path, {"SMTP_USER": "u", "SMTP_PASSWORD": "", "DESK_URL": "https://d.example/"}))
    mend = "Write only the secret into that file; check its permissions"
    assert lines == [
        "tidings.yaml:21:19: SMTP_PASSWORD is empty. Set it before you start: export SMTP_PASSWORD=..., "
        "or write SMTP_PASSWORD=... into secrets.env",
        "tidings.yaml:37:61: the environment has no variable DESK_SECRET. "
        "Set it before you start: export DESK_SECRET=..., or write DESK_SECRET=... into secrets.env",
        f"tidings.yaml:38:35: 'slack.txt' cannot be read: No such file or directory. {mend}",
    ]


@pytest.mark.parametrize("path", ['"a\\0b"', "schedules", "x/" * 3000 + "y", "latin.txt", "blank.txt"])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    (tmp_path / "blank.txt").write_bytes(b"\r\n")
    lines = said(read(write(tmp_path, spoilt(MAIN, "{env: SMTP_PASSWORD}", f"{{file: {path}}}"))))
    assert len(lines) == 1 and lines[0].startswith("tidings.yaml:21:20: ")


def test_the_last_line_break_of_a_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "pw").write_bytes("\ufeff word one \r\n".encode())
    newsroom = read(write(tmp_path, spoilt(MAIN, "{env: SMTP_PASSWORD}", "{file: pw}"))).newsroom
    password = relay(newsroom).password
    assert password is not None and password.get_secret_value() == " word one "


def test_a_topic_may_be_called_env_or_file(tmp_path: Path) -> None:
    main = spoilt(MAIN, "  sdg-4: {en: Education, ru: Образование, kk: Білім}", "  env: Environment")
    newsroom = read(write(tmp_path, main.replace(", topics: [sdg-4]", ""))).newsroom
    assert newsroom is not None and newsroom.topics["env"].get("en") == "Environment"


def test_short_values_are_not_removed_from_messages(tmp_path: Path) -> None:
    """Otherwise `port: {env: PORT}` would remove every 25 from the log."""
    main = spoilt(MAIN, "port: 1025", "port: {env: PORT}")
    newsroom = read(write(tmp_path, main), {**ENV, "PORT": "25"}).newsroom
    assert newsroom is not None
    assert relay(newsroom).port == 25 and "25" not in newsroom.secrets


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_no_value_anywhere_makes_loading_raise(tmp_path: Path, data: st.DataObject) -> None:
    """Replace one value in the lines of a valid newsroom."""
    odd = st.sampled_from(
        ["", "''", "[]", "{}", "[[]]", "{a: b}", "[{a: }]", "- ", "no", "-1", "1e9", "999999999999", "²", "٣", '"\\0"',
         '"\\ud800"', '"\\r\\n"', "{env: X}", "{file: .}", "{env: }", "{env: SMTP_PASSWORD}", "a@b@c", "http://[", "é",
         "09:00", "fri 25:00", "2026-02-30", "2026-01-01..", "P1D", "{en: , ru: }", "{en: [], ru: {}}", "kz", "../x",
         "sqlite:///", "sqlite://", "postgresql://[/x", "postgresql://h:port/x", "#", "'#'", "x" * 70, "&a b", "*a"]
    )  # fmt: skip
    main, schedule = MAIN.splitlines(), WEEKLY.splitlines()
    for lines in (main, schedule):
        if data.draw(st.booleans()):
            continue
        number = data.draw(st.integers(0, len(lines) - 1))
        lines[number] = lines[number].partition(":")[0] + ": " + data.draw(odd)
    lenient = data.draw(st.booleans())
    loaded = read(write(tmp_path, "\n".join(main), {"weekly": "\n".join(schedule)}), lenient=lenient)
    for line in said(loaded):
        line.encode()
        assert ENV["SMTP_PASSWORD"] not in line and ENV["DESK_SECRET"] not in line
    assert lenient or (loaded.newsroom is None) == any(problem.level == "error" for problem in loaded.problems)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("A=first\nA=last\n", "A is set on line 1 too; this line counts"),
        ('A="last\n', "the value of A begins with a quote that is not closed"),
        ("A=\u201clast\u201d\n", "the value of A begins with a quote that is not closed"),
        ("A=last\nB = x\n", "this line is not NAME=value"),
    ],
)
def test_a_mistake_in_the_secrets_file_is_reported(tmp_path: Path, lines: str, told: str) -> None:
    """The first of two lines was used, and an unclosed quote became part of the password."""
    path = tmp_path / "secrets.env"
    path.write_text(lines, encoding="utf-8")
    path.chmod(0o600)
    variables, problems = read_environment(tmp_path, {})
    assert [problem.message for problem in problems] == [told]
    assert "last" in variables["A"] and not any("last" in str(problem) for problem in problems)
