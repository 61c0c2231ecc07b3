"""Common traps of YAML, and values that are refused with the reason. Messages never contain secrets."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from tests.config.newsrooms import relay
from tidings.config.load import LoadResult, store_address
from tidings.model.cadence import Weekly
from tidings.runtime.newsroom import load_newsroom

MAIN = """\
site: {title: News, url: https://news.example.org/, languages: [en, ru, kk], timezone: Asia/Almaty, address: Here}
mail: {host: 127.0.0.1, port: 1025, security: none}
lists: {digest: {name: Digest, from: News <news@example.org>}}
"""
WEEKLY = "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n"


def load(folder: Path, main: str = MAIN, env: dict[str, str] | None = None, **schedules: str) -> LoadResult:
    (folder / "schedules").mkdir(exist_ok=True)
    (folder / "tidings.yaml").write_text(main, encoding="utf-8")
    for name, text in schedules.items():
        (folder / "schedules" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return load_newsroom(folder, env or {})


def said(loaded: LoadResult) -> str:
    return "\n".join(map(str, loaded.problems))


def test_scalars_are_read_as_they_look(tmp_path: Path) -> None:
    main = (
        MAIN.replace("title: News", "title: {en: 12:30, ru: no, kk: 010}") + "topics: {sdg-4: 1.10, date: 2023-09-27}\n"
    )
    newsroom = load(tmp_path, main, weekly=WEEKLY).newsroom
    assert newsroom is not None
    assert [newsroom.site.title.get(one, "en") for one in ("en", "ru", "kk")] == ["12:30", "no", "010"]
    assert [newsroom.topics[one].get("en", "en") for one in ("sdg-4", "date")] == ["1.10", "2023-09-27"]


@pytest.mark.parametrize("word", ["yes", "on", "True", "1", "y"])
def test_only_true_and_false_are_truth_values(tmp_path: Path, word: str) -> None:
    loaded = load(tmp_path, MAIN.replace("name: Digest", f"name: Digest, public: {word}"))
    assert loaded.newsroom is None and "neither true nor false" in said(loaded)


def test_an_alias_bomb_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    begin = time.process_time()
    loaded = load(tmp_path, MAIN + "\n".join(lines) + "\n")
    assert time.process_time() - begin < 10
    assert loaded.newsroom is None and "is an anchor" in said(loaded) and "is an alias" in said(loaded)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x 1\nb: *x\n", "is an alias"),
        ("<<: {a: 1}\n", "merges are not used"),
        ("a: !!python/object/apply:os.system [true]\n", "is a tag"),
        ("%YAML 1.1\n---\na: 1\n", "directives"),
        ("a: 1\n---\nb: 2\n", "a second document"),
        ("a: 1\nb: 2\na: 3\n", "'a' is here twice, first in line"),
        ("a:\n\t- 1\n", "spaces"),
        ("a: [1, 2\n", "the bracket that is opened here is never closed"),
        ("? [a, b]\n: 1\n", "a key must be one word"),
        ("- a\n- b\n", "expected `key: value` lines"),
        ("", "the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("a: " + "[" * 200 + "]" * 200 + "\n", "nested deeper than"),
    ],
)
def test_forbidden_yaml_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    loaded = load(tmp_path, text)
    assert loaded.newsroom is None
    assert expected in said(loaded)
    assert "tidings.yaml" in said(loaded)


def test_wrong_encoding_and_too_large_files_are_reported(tmp_path: Path) -> None:
    load(tmp_path)
    (tmp_path / "tidings.yaml").write_bytes(MAIN.encode() + b"topics: {a: \xff}\n")
    assert "tidings.yaml:4:13: this is not UTF-8 text" in said(load_newsroom(tmp_path, {}))
    (tmp_path / "tidings.yaml").write_bytes(b"# " + b"x" * 2_000_000)
    assert "bytes" in said(load_newsroom(tmp_path, {}))


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    load(tmp_path, weekly=WEEKLY)
    (tmp_path / "tidings.yaml").write_bytes(b"\xef\xbb\xbf" + MAIN.replace("\n", "\r\n").encode())
    loaded = load_newsroom(tmp_path, {})
    assert loaded.newsroom is not None and loaded.newsroom.lists["digest"].from_ == "News <news@example.org>"


def test_records_are_kept_for_at_least_a_month(tmp_path: Path) -> None:
    for wrong, expected in (("3d", "30 days at least"), ("yes", "not a length of time"), ("", None)):
        loaded = load(tmp_path, MAIN.replace("mail:", f"keep: {{ledger: {wrong}}}\nmail:", 1), weekly=WEEKLY)
        assert (loaded.newsroom is None) == (expected is not None)
        assert expected is None or expected in said(loaded)
    newsroom = load(tmp_path, MAIN.replace("mail:", "keep: {ledger: 400d}\nmail:", 1), weekly=WEEKLY).newsroom
    assert newsroom is not None and newsroom.keep.ledger == timedelta(days=400)


def test_one_sender_may_be_written_as_a_list(tmp_path: Path) -> None:
    main = MAIN.replace("mail: {host: 127.0.0.1, port: 1025, security: none}", "mail: [{host: mx, port: 26}]")
    newsroom = load(tmp_path, main, weekly=WEEKLY).newsroom
    assert relay(newsroom).port == 26


def test_an_unknown_language_and_a_country_for_one_are_explained(tmp_path: Path) -> None:
    text = said(load(tmp_path, MAIN.replace("[en, ru, kk]", "[en, kz]")))
    assert "kk" in text and "kz" in text
    text = said(load(tmp_path, MAIN.replace("title: News", "title: {en: News, de: Neues}")))
    assert "'de' is not among site.languages" in text
    text = said(load(tmp_path, weekly=WEEKLY + "select: {languages: [de]}\n"))
    assert "schedules/weekly.yaml:3" in text and "'de' is not among site.languages" in text


def test_a_repeating_schedule_without_a_frequency_is_refused(tmp_path: Path) -> None:
    text = said(load(tmp_path, weekly="cadence: {weekly: fri 09:00}\ndeliver: [{list: digest}]\n"))
    assert "needs `frequency`" in text
    once = "cadence: {at: 2026-12-01T09:00}\ndeliver: [{list: digest}]\n"
    assert load(tmp_path, weekly=once).newsroom is not None


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_secrets_from_environment_or_file_are_never_printed(tmp_path: Path) -> None:
    (tmp_path / "hook").write_text("https://hooks.slack.com/services/hunter2\n", encoding="utf-8")
    main = MAIN.replace("security: none}", "security: none, password: {env: SECRET}}") + (
        "channels: {team: {type: slack, url: {file: hook}}}\n"
    )
    newsroom = load(tmp_path, main, {"SECRET": "swordfish"}, weekly=WEEKLY).newsroom
    assert newsroom is not None
    password = relay(newsroom).password
    assert password is not None and password.get_secret_value() == "swordfish"
    shown = repr(newsroom) + newsroom.model_dump_json(exclude={"secrets", "logo"})
    assert "swordfish" not in shown and "hunter2" not in shown
    assert "swordfish" in newsroom.secrets


def test_a_secret_of_the_wrong_kind_is_not_repeated(tmp_path: Path) -> None:
    main = MAIN.replace("port: 1025", "port: {env: SECRET}")
    loaded = load(tmp_path, main, {"SECRET": "swordfish"}, weekly=WEEKLY)
    assert loaded.newsroom is None and "swordfish" not in said(loaded)
    assert "tidings.yaml:2" in said(loaded)


def test_a_secret_in_yaml_is_refused_without_repeating_it(tmp_path: Path) -> None:
    loaded = load(tmp_path, MAIN.replace("security: none}", "security: none, password: swordfish}"))
    assert loaded.newsroom is None and "swordfish" not in said(loaded)
    assert "secrets belong in the environment or in a file" in said(loaded)


def test_a_missing_variable_or_file_is_named(tmp_path: Path) -> None:
    main = MAIN.replace("security: none}", "security: none, username: {env: NOT_THERE}, password: {file: gone}}")
    text = said(load(tmp_path, main))
    assert "tidings.yaml:2" in text and "NOT_THERE" in text and "gone" in text and "cannot be read" in text


def test_the_environment_overrides_the_store(tmp_path: Path) -> None:
    newsroom = load(
        tmp_path, MAIN + "store: sqlite:///a.db\n", {"TIDINGS_STORE": "sqlite:///b.db"}, weekly=WEEKLY
    ).newsroom
    assert newsroom is not None and store_address(newsroom) == "sqlite:///b.db"
    loaded = load(tmp_path, MAIN, {"TIDINGS_STORE": "mysql://root:hunter2@host/x"}, weekly=WEEKLY)
    assert loaded.newsroom is None and "hunter2" not in said(loaded) and "TIDINGS_STORE" in said(loaded)


# -- one mistake at a time --------------------------------------------------------------------------------------------


def test_cadence_as_the_contract_writes_it(tmp_path: Path) -> None:
    text = """\
title: {en: Weekly digest, ru: Дайджест}
cadence:
  weekly: fri 09:00
  timezone: Asia/Almaty
  window: "08:00-20:00"
  skip_dates: [2026-12-16, 2026-12-24..2027-01-08]
  holidays: KZ
  max_late: 6h
approval: {by: [boss@example.org], ahead: 3h, silence: hold}
select: {kinds: [story, press-release], topics: [], languages: [], stories: [], min_items: 1, max_items: 12,
  overflow: titles, order: newest}
deliver:
  - {list: digest, frequency: weekly, template: digest, subject: "{{ lead.title }}", everyone: false}
was: friday
"""
    loaded = load(tmp_path, weekly=text)
    assert loaded.newsroom is not None, said(loaded)
    schedule = loaded.newsroom.schedules["weekly"]
    assert isinstance(schedule.cadence.rule, Weekly)
    assert schedule.cadence.max_late == timedelta(hours=6)
    assert schedule.approval is not None and schedule.approval.ahead == timedelta(hours=3)
    assert load(
        tmp_path, weekly=text.replace("approval: {by: [boss@example.org], ahead: 3h, silence: hold}", "approval: none")
    ).newsroom


@pytest.mark.parametrize(
    "rule",
    [
        "daily: 25:00", "weekly: fri", "monthly: 32 09:00", "cron: 0 9 * * 5", "cron: 99 * * * *", "every: 7m",
        "on: old", "at: tomorrow", "on: new, daily: 09:00", "settle: 5m, daily: 09:00", "",
        "window: 8-20, daily: 09:00",
        "skip_dates: [soon], daily: 09:00", "holidays: Kazakhstan, daily: 09:00", "timezone: Mars, daily: 09:00",
    ],
)  # fmt: skip
def test_a_wrong_cadence_is_named_by_line(tmp_path: Path, rule: str) -> None:
    loaded = load(tmp_path, weekly=f"cadence: {{{rule}}}\ndeliver: [{{list: digest, frequency: all}}]\n")
    assert loaded.newsroom is None
    assert any(problem.file == "schedules/weekly.yaml" and problem.line == 1 for problem in loaded.problems), said(
        loaded
    )


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (
            "weekly: fri 09:00",
            "weekly: mon; thu 09:00",
            "'mon; thu' is not a weekday. Write `weekly: [mon, thu] 09:00`",
        ),
        ("weekly: fri 09:00", "weekly: Fridays 09:00", "Write `weekly: fri 09:00`"),
        ("weekly: fri 09:00", "weekly: {fri: 09:00}", "weekly: expected a text here. Write `weekly: fri 09:00`"),
        ("09:00}", "09:00, skip_dates: [24.12.2026]}", "'24.12.2026' is not a date. Write 2026-12-24"),
        ("09:00}", "09:00, skip_dates: [04/12/2026]}", "Write 2026-12-04 or 2026-04-12"),
        ("09:00}", "09:00, skip_dates: [2026-12-24 to 2027-01-08]}", "Write two dots: 2026-12-24..2027-01-08"),
        ("weekly: fri 09:00", "at: 24.12.2026 09:00", "Write 2026-12-24T09:00"),
        ("09:00}", '09:00, from: "March 1, 2027"}', "from: 'March 1, 2027' is not a date. Write 2027-03-01"),
        ("09:00}", "09:00, every: 2}", "with `every_other: {from: 2026-12-04}`"),
        ("09:00}", "09:00, every_other: {from: 12-04}}", "weekly.yaml:1:50: from: '12-04' is not a date"),
        ("09:00}", "09:00, from: 2027-03-01, until: 2027-02-01}", "weekly.yaml:1:55: until: 2027-02-01 is before"),
        ("09:00}", "09:00, holidays: UK}", "Write GB"),
        ("09:00}", "09:00, holidays: no}", "Norway is NO"),
        ("09:00}", "09:00, timezone: MSK}", "Did you mean Europe/Moscow"),
        ("09:00}", "09:00, weekend: none}", "Write `weekend: []`"),
        ("09:00}", "09:00, min_items: 2}", "'min_items' belongs below `select:`"),
        ("cadence: {weekly: fri 09:00}", "cadence:\nweekly: fri 09:00", "'weekly' belongs below `cadence:`"),
        ("deliver: [{list: digest, frequency: weekly}]", "deliver: digest", "Write `- list: NAME`"),
        ("[{list", "[{everyone: false, list", ""),
        ("deliver", "approval: boss@steppe.kz\ndeliver", "Write `none`, or `{by: [ADDRESS]}`"),
        ("deliver", "select: {kinds: 'story, event'}\ndeliver", "Write [story, event]:"),
        ("deliver", "select: {kinds: [story، event]}\ndeliver", "'،' is not the plain character"),
        ("deliver", "approval: {by: 'a@b.kz, c@d.kz'}\ndeliver", "A list is [a@b.kz, c@d.kz]"),
    ],
)
def test_a_mistake_of_a_schedule_has_a_correction(tmp_path: Path, good: str, bad: str, words: str) -> None:
    assert good in WEEKLY
    loaded = load(tmp_path, weekly=WEEKLY.replace(good, bad, 1))
    assert words in said(loaded) and (loaded.newsroom is None) == bool(words)


@pytest.mark.parametrize(
    ("good", "bad", "lines"),
    [
        ("languages: [en, ru, kk]", "languages: 'en, ru, kk'",
         "1:64: languages: 'en, ru, kk' is not a language tag. Write [en, ru, kk]"),
        ("languages: [en, ru, kk]", "languages: [English]",
         "1:65: languages: 'English' is not a language tag. Write en"),
        ("languages: [en, ru, kk]", "languages: [pt_BR]",
         "1:65: languages: 'pt_BR' is not a language tag. Write pt-BR"),
        ("News <news@example.org>", "News news@example.org",
         "3:38: from: an address after a name needs < and >. "
         "Write News <news@example.org>"),
        ("digest: {", "Digest: {",
         "3:9: 'Digest' is not a name. Write digest: use lower-case letters, digits and single hyphens"),
    ],
)  # fmt: skip
def test_one_mistake_of_the_settings_is_one_problem(tmp_path: Path, good: str, bad: str, lines: str) -> None:
    assert good in MAIN
    assert said(load(tmp_path, MAIN.replace(good, bad, 1), weekly=WEEKLY)) == f"tidings.yaml:{lines}"
