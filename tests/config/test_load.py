"""Loading: the contract's examples, and each mistake at its line. All mistakes are reported in one run."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.config.newsrooms import ENV, MAIN, SLACK, WEEKLY, read, relay, said, spoilt, write
from tidings import plugins
from tidings.config.cross_checks import served_frequencies
from tidings.config.load import store_address
from tidings.config.schedule import ChannelDelivery, ListDelivery
from tidings.model.cadence import (
    At,
    Cron,
    Daily,
    DateRange,
    DayOfMonth,
    Every,
    Monthly,
    NthWeekday,
    NthWorkingDay,
    OnHoliday,
    OnNew,
    OnRequest,
    Rule,
    Season,
    Weekly,
    Window,
)


def test_every_key_of_the_contract_arrives_typed(tmp_path: Path) -> None:
    loaded = read(write(tmp_path))
    assert said(loaded) == []
    newsroom = loaded.newsroom
    assert newsroom is not None
    site, mail, digest = newsroom.site, relay(newsroom), newsroom.lists["digest"]
    assert mail.password is not None
    assert (site.title.get("kk"), site.title.get("de", "ru")) == ("Дала кеңсесі", "Степное бюро")
    assert (site.url, site.languages, site.timezone) == (
        "https://steppe.example.org/",
        ("en", "ru", "kk"),
        "Asia/Almaty",
    )
    assert (site.address.get("ru"), site.colour) == ("7 Orchard Lane, Almaty", "#0077b6")
    assert store_address(newsroom) == "sqlite:///tidings.db"
    assert (newsroom.web.host, newsroom.web.port, newsroom.web.trust) == ("127.0.0.1", 8080, ("127.0.0.1",))
    assert newsroom.topics["sdg-4"].get("ru") == "Образование"
    assert newsroom.feeds["press"].select.kinds == ("press-release",)
    assert (mail.host, mail.port, mail.security, mail.connections, mail.rate) == ("localhost", 1025, "none", 4, 50.0)
    assert (mail.username, mail.password.get_secret_value()) == ("relay-user", "hunter2-is-long")
    assert (mail.return_path, mail.feedback_id) == ("bounces@example.org", "steppe")
    assert (digest.from_, digest.sender_domain) == ("Steppe Office <news@example.org>", "example.org")
    assert (digest.public, digest.fallback, digest.default_frequency) == (True, ("en",), "weekly")
    assert (digest.reply_to, digest.unsubscribe_mailto) == ("comms@example.org", "leave@example.org")
    assert digest.resend_in_doubt == "once"
    assert (newsroom.channels["desk"].languages, newsroom.channels["team"].allow_private) == (("en",), True)
    assert (newsroom.notify.to, newsroom.notify.channel) == (("comms@example.org",), "team")

    schedule = newsroom.schedules["weekly"]
    cadence, select = schedule.cadence, schedule.select
    assert (cadence.rule, cadence.zone) == (Weekly((4,), (time(9, 0),)), "Asia/Almaty")
    assert (cadence.window, cadence.max_late) == (Window(480, 1200), timedelta(hours=6))
    assert cadence.skip_dates == (
        DateRange(date(2026, 12, 16), date(2026, 12, 16)),
        DateRange(date(2026, 12, 24), date(2027, 1, 8)),
    )
    assert (
        cadence.holidays is not None and cadence.holidays(date(2026, 3, 8)) and not cadence.holidays(date(2026, 3, 5))
    )
    assert schedule.approval is None and (schedule.backfill, schedule.was) == (0, "friday")
    assert (select.kinds, select.min_items, select.max_items) == (("story", "press-release"), 1, 12)
    assert (select.overflow, select.order, select.topics, select.languages) == ("titles", "newest", (), ())
    to_list, to_channel = schedule.deliver
    assert isinstance(to_list, ListDelivery) and isinstance(to_channel, ChannelDelivery)
    assert (to_list.list, to_list.frequency, to_list.template) == ("digest", "weekly", "digest")
    assert (to_list.subject, to_list.everyone, to_list.per) == ("{{ lead.title }}", False, "edition")
    assert (to_channel.channel, to_channel.per, to_channel.max_posts) == ("team", "edition", 5)
    assert served_frequencies(newsroom, "digest") == {"weekly"}


def test_optional_keys_may_be_left_out(tmp_path: Path) -> None:
    main = "site: {title: T, url: http://localhost:8080, address: A}\n"
    schedule = "cadence: {on: request}\ndeliver: [{channel: hook}]\n"
    hook = "channels: {hook: {type: webhook, url: 'http://127.0.0.1:1/'}}\n"
    newsroom = read(write(tmp_path, main + hook, {"by-hand": schedule})).newsroom
    assert newsroom is not None
    assert newsroom.site.url == "http://localhost:8080/"
    assert (newsroom.site.languages, newsroom.site.timezone) == (("en",), "UTC")
    assert (newsroom.mail, newsroom.lists, list(newsroom.sources)) == ((), {}, ["newsroom"])
    made = newsroom.schedules["by-hand"]
    assert (made.cadence.zone, made.cadence.max_late) == ("UTC", timedelta(hours=12))
    assert made.heading("en") == "By hand"
    assert (made.select.min_items, made.select.max_items, made.select.overflow) == (1, 12, "titles")


def test_a_newsroom_is_frozen(tmp_path: Path) -> None:
    newsroom = read(write(tmp_path)).newsroom
    assert newsroom is not None
    with pytest.raises(ValidationError):
        newsroom.site.url = "https://elsewhere.example/"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        ('daily: "09:00"', Daily((time(9, 0),))),
        ("daily: 09:00", Daily((time(9, 0),))),
        ("weekly: mon,thu 9:05", Weekly((0, 3), (time(9, 5),))),
        ("monthly: first mon 09:00", Monthly((NthWeekday(1, 0),), (time(9, 0),))),
        ("monthly: 15 09:00", Monthly((DayOfMonth(15),), (time(9, 0),))),
        ('daily: ["07:30", "18:00"]', Daily((time(7, 30), time(18, 0)))),
        ("daily: [07:30, 18:00]", Daily((time(7, 30), time(18, 0)))),
        ("weekly: [mon, thu] 09:00", Weekly((0, 3), (time(9, 0),))),
        ('weekly: "[mon, thu] 09:00"', Weekly((0, 3), (time(9, 0),))),
        ("weekly: mon-fri 09:00", Weekly((0, 1, 2, 3, 4), (time(9, 0),))),
        ("weekly:\n    - mon 09:00\n    - thu 09:00", Weekly((0, 3), (time(9, 0),))),
        (
            "weekly: fri 09:00\n  every_other: {from: 2026-12-04}",
            Weekly((4,), (time(9, 0),), every_other=date(2026, 12, 4)),
        ),
        ("monthly: [first fri, third fri] 09:00", Monthly((NthWeekday(1, 4), NthWeekday(3, 4)), (time(9, 0),))),
        ("monthly: [1, 15] 09:00", Monthly((DayOfMonth(1), DayOfMonth(15)), (time(9, 0),))),
        ("monthly: last 09:00", Monthly((DayOfMonth(-1),), (time(9, 0),))),
        ("monthly: first working day 09:00", Monthly((NthWorkingDay(1),), (time(9, 0),))),
        ("monthly: last working day 09:00", Monthly((NthWorkingDay(-1),), (time(9, 0),))),
        ("every: 15m", Every(timedelta(minutes=15))),
        ("at: 2026-12-01T09:00", At(datetime(2026, 12, 1, 9, 0))),
        ("on: new", OnNew()),
        ("on: new\n  settle: 25m", OnNew(timedelta(minutes=25))),
        ("on: request", OnRequest()),
    ],
)
def test_each_rule_of_cadence(tmp_path: Path, written: str, rule: Rule) -> None:
    loaded = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "weekly: fri 09:00", written)}))
    assert said(loaded) == []
    assert loaded.newsroom is not None
    assert loaded.newsroom.schedules["weekly"].cadence.rule == rule


def test_cron_is_read_as_the_contract_says(tmp_path: Path) -> None:
    loaded = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "weekly: fri 09:00", 'cron: "0 9 * * fri"')}))
    assert loaded.newsroom is not None
    assert isinstance(loaded.newsroom.schedules["weekly"].cadence.rule, Cron)


def test_approval(tmp_path: Path) -> None:
    written = "approval: {by: [boss@example.org], ahead: 3h, silence: send}"
    newsroom = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "approval: none", written)})).newsroom
    assert newsroom is not None
    approval = newsroom.schedules["weekly"].approval
    assert approval is not None
    assert (approval.by, approval.ahead, approval.silence) == (("boss@example.org",), timedelta(hours=3), "send")


def test_one_text_for_all_languages_or_one_for_each(tmp_path: Path) -> None:
    newsroom = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "Weekly digest", "{en: W, kk: А}")})).newsroom
    assert newsroom is not None
    schedule = newsroom.schedules["weekly"]
    assert [schedule.heading(language, "en") for language in ("en", "kk", "ru")] == ["W", "А", "W"]


_TIDINGS = [
    ("channels:\n", "chanels:\n", "36:1: unknown key 'chanels'. Did you mean 'channels'?"),
    ("port: 8080", "prot: 8080", "9:24: unknown key 'prot'. Did you mean 'port'?"),
    ("port: 8080", "port: 80a0", "9:30: port: '80a0' is not a whole number. Write it in digits, like 12"),
    ("port: 8080", "port: 99999", "9:30: port: must be at most 65535"),
    ("port: 8080", "port: [1]", "9:24: port: expected one value here, not a list or a map. "
     "Write it after the colon, in the same line"),
    ("public: true", "public: yes", "32:13: public: 'yes' is neither true nor false. Write `true` or `false`"),
    ("[en, ru, kk]", "[en, ru, kz]", "4:23: languages: 'kz' is a country. The language is written 'kk'"),
    ("[en, ru, kk]", "[en, ru, kk, en]", "4:27: languages: 'en' is here twice. Keep one"),
    ("{en: Digest, ", "{en: Digest, de: D, ",
     "28:24: 'de' is not among site.languages (en, ru, kk). Add it there, or take this text out"),
    ("{en: Digest, ", "{en: [x], ", "28:12: en: expected one value here, not a list or a map. "
     "Write it after the colon, in the same line"),
    ("timezone: Asia/Almaty", "timezone: Almaty",
     "5:13: timezone: 'Almaty' is not a time zone. Did you mean Asia/Almaty?"),
    ('colour: "#0077b6"', "colour: #0077b6",
     "7:3: colour: a # begins a comment, so the value is empty. Write six digits in quotes, like \"#0077b6\""),
    ('"#0077b6"', "blue", "7:11: colour: 'blue' is not a colour. Write six digits in quotes, like \"#0077b6\""),
    ("https://steppe.example.org/", "steppe.example.org",
     "3:8: url: 'steppe.example.org' is not a web address. Write it like https://news.example.org/"),
    ("address: 7", "adress: 7", "6:3: unknown key 'adress'. Did you mean 'address'?"),
    ("  address: 7 Orchard Lane, Almaty\n", "", "1:1: 'address' is missing. Add `address: ...` here"),
    ("sqlite:///tidings.db", "mysql://x/y", "8:8: store: this kind of database is not supported. "
     "Write sqlite:///tidings.db or postgresql://host/database"),
    ("trust: [127.0.0.1]", "trust: [proxy]",
     "9:44: trust: 'proxy' is not an IP address. Write it like 127.0.0.1 or 10.0.0.0/8"),
    ("security: none", "security: ssl", "19:13: security: must be 'none', 'starttls' or 'tls'"),
    ("connections: 4", "connections: 65", "22:16: connections: must be at most 64"),
    ("rate: 50/s", "rate: 50", "23:9: rate: '50' is not a rate. Write it like 50/s, 3000/m or 10000/h"),
    ("feedback_id: steppe", "feedback_id: ab",
     "25:16: feedback_id: 'ab' is not a Feedback-ID. Write 5 to 15 letters, digits, - or _"),
    ("from: Steppe Office <news@example.org>", "from: news",
     "29:11: from: 'news' is not an address. Write it like news@example.org or News desk <news@example.org>"),
    ("from: Steppe Office <", "from: Steppe, Office <",
     "29:11: from: a name with a comma needs quotes. Write '\"Steppe, Office\" <news@example.org>'"),
    ("from: Steppe Office <news@example.org>", 'from: "a\\r\\nBcc: b@example.net <news@example.org>"',
     "29:11: from: this has a line break or an invisible character. Keep it on one line"),
    ("leave@example.org", "L <leave@example.org>",
     "31:25: unsubscribe_mailto: this takes an address without a name. Write leave@example.org"),
    ("fallback: [en]", "fallback: [ru, de]", "33:20: 'de' is not among site.languages. Known here: en, kk, ru"),
    ("resend_in_doubt: once", "resend_in_doubt: always", "35:22: resend_in_doubt: must be 'once' or 'never'"),
    ("  digest:\n", "  Digest:\n", "27:3: 'Digest' is not a name. Write digest: "
     "use lower-case letters, digits and single hyphens"),
    ("type: webhook", "type: webhok", "37:16: channels.desk: 'webhok' is not a type. Did you mean 'webhook'?"),
    ("type: webhook, ", "",
     f"37:3: channels.desk lacks `type`. Known here: {', '.join(sorted(plugins.CHANNELS))}"),
    ("allow_private: true", "allow_privat: true", "38:47: unknown key 'allow_privat'. Did you mean 'allow_private'?"),
    ("type: folder", "type: foldr", "11:20: sources.newsroom: 'foldr' is not a type. Did you mean 'folder'?"),
    ("channel: team}", "channel: teem}", "39:44: there is no channel 'teem'. Did you mean 'team'?"),
    ("topics: [sdg-4]}}", "topics: [sdg4]}}", "15:67: there is no topic 'sdg4'. Did you mean 'sdg-4'?"),
    ("  press: {", "  all: {", "15:3: the feed `all` always exists. Give this one another name"),
    ("select: {kinds", "select: {kind", "15:34: unknown key 'kind'. Did you mean 'kinds'?"),
    ("notify:", "chanels:\nnotify:", "39:1: unknown key 'chanels'. Did you mean 'channels'?"),
    ("    resend_in_doubt: once\n", "    was: digest\n",
     "35:10: `was: digest`, but 'digest' still exists. Take one of the two out"),
    ("  sdg-4: {en: Education, ru: Образование, kk: Білім}", "  sdg-4:",
     "13:3: sdg-4: write one text, or a map of languages: {en: News, ru: Новости}"),
    ("trust: [127.0.0.1]", "metrics: here",
     "9:45: metrics: 'here' is not an address to listen on. "
     "Write an IP address and a port, like 127.0.0.1:9464 or [::1]:9464"),
    ("trust: [127.0.0.1]", "metrics: 127.0.0.1:94640",
     "9:45: metrics: '94640' is not a port. Write an IP address and a port, like 127.0.0.1:9464 or [::1]:9464"),
    ("trust: [127.0.0.1]", 'metrics: "::1:9464"',
     "9:45: metrics: '::1:9464' is not an address to listen on. "
     "Write an IP address and a port, like 127.0.0.1:9464 or [::1]:9464"),
    ("trust: [127.0.0.1]", "metrics: 0.0.0.0:8080",
     "9:45: metrics: port 8080 serves the public pages. Give metrics another port, like 127.0.0.1:9464"),
    ("sqlite:///tidings.db", "postgresql://pool:6432/x?direct=u@db1", "8:8: store: `direct` names only the hosts of "
     "PostgreSQL. Write ?direct=db1:5432,db2:5432"),
    ("sqlite:///tidings.db", "postgresql://pool:6432/x?direct=db1:many", "8:8: store: this is not the address of a "
     "database. Write sqlite:///tidings.db or postgresql://host/database"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "expected"), _TIDINGS)
def test_a_mistake_in_tidings_yaml(tmp_path: Path, good: str, bad: str, expected: str) -> None:
    loaded = read(write(tmp_path, spoilt(MAIN, good, bad)))
    assert loaded.newsroom is None
    assert f"tidings.yaml:{expected}" in said(loaded)


def test_metrics_have_an_address_of_their_own(tmp_path: Path) -> None:
    for written, expected in (("127.0.0.1:9464", ("127.0.0.1", 9464)), ('"[::1]:9464"', ("::1", 9464))):
        loaded = read(write(tmp_path, spoilt(MAIN, "trust: [127.0.0.1]", f"metrics: {written}")))
        assert loaded.newsroom is not None and loaded.newsroom.web.metrics_address == expected
    loaded = read(write(tmp_path, MAIN))
    assert loaded.newsroom is not None and loaded.newsroom.web.metrics_address is None


_SCHEDULE = [
    ("weekly: fri", "wekly: fri", "3:3: unknown key 'wekly'. Did you mean 'weekly'?"),
    ("weekly: fri", "weekly: 5", "3:11: weekly: weekdays are written by name, not '5' "
     "(programs number days differently): mon to sun"),
    ("weekly: fri 09:00", "daily: 09:00\n  weekly: fri 09:00", "4:3: daily and weekly cannot be combined. "
     "Write exactly one of daily, weekly, monthly, cron, every, at, on"),
    ("weekly: fri 09:00", "settle: 5m\n  daily: 09:00",
     "3:3: `settle` works only with `on: new`. Take it out"),
    ("  weekly: fri 09:00\n", "", "2:1: cadence: there is no rule. "
     "Write exactly one of daily, weekly, monthly, cron, every, at, on"),
    ("2026-12-24..2027-01-08", "2028-12-24..2027-01-08",
     "6:28: skip_dates: '2028-12-24..2027-01-08' ends before it begins"),
    ("holidays: KZ", "holidays: KAZ",
     "7:13: holidays: 'KAZ' is not a country whose holidays are known. Write its two letters, like KZ"),
    ("max_late: 6h", "max_late: 6", "8:13: max_late: '6' is not a length of time. Write it like 10m, 6h, 1h30m or 2d"),
    ("approval: none", "approval: {ahead: 3h}", "9:1: 'by' is missing. Add `by: ...` here"),
    ("approval: none", "approval: some", "9:11: approval: expected a map here. "
     "Write `none`, or `{by: [ADDRESS]}`"),
    ("topics: []", "topics: [sdg-4, sdg4]", "12:19: there is no topic 'sdg4'. Did you mean 'sdg-4'?"),
    ("languages: []", "languages: de", "13:14: 'de' is not among site.languages. Known here: en, kk, ru"),
    ("min_items: 1\n", "min_item: 1\n", "15:3: unknown key 'min_item'. Did you mean 'min_items'?"),
    ("max_items: 12", "max_items: 0", "16:14: max_items: must be at least 1"),
    ("order: newest", "order: latest", "18:10: order: must be 'newest', 'oldest', 'kind' or 'starts'"),
    ("list: digest", "list: digst", "20:11: there is no list 'digst'. Did you mean 'digest'?"),
    ("list: digest", "lst: digest", "20:5: unknown key 'lst'. Did you mean 'list'?"),
    ("  - list: digest\n", "  - to: digest\n",
     "20:5: this entry has neither `list` nor `channel`. Say where it goes: `list: NAME` or `channel: NAME`"),
    ("    frequency: weekly\n", "", "20:5: list 'digest' needs `frequency` in a schedule that repeats. "
     "Write `frequency: weekly`, or another name, or `frequency: all` for everyone"),
    ("channel: team", "channel: team\n    list: digest", "25:5: this entry has both `list` and `channel`. "
     "Begin another entry: `- channel: ...`"),
    ("channel: team", "channel: team\n    frequency: all", "26:5: unknown key 'frequency'. "
     "Known here: channel, max_posts, per"),
    ("channel: team", "channel: team\n  - channel: team", "26:14: channel 'team' is in `deliver` twice. Keep one"),
    ("was: friday", "was: weekly", "28:6: `was: weekly`, but schedules/weekly.yaml still exists. "
     "Take one of the two out"),
    ("was: friday", "name: x", "28:1: unknown key 'name'. The schedule is named after its file"),
    (WEEKLY[WEEKLY.index("deliver:"):], "deliver: {list: digest}",
     "19:1: deliver: expected a list here. Write `- list: NAME` or `- channel: NAME` in a line of its own"),
    (WEEKLY[WEEKLY.index("deliver:"):], "deliver: []",
     "19:1: deliver: the list is empty. Write at least one: `- ...` on a line of its own"),
    (WEEKLY, "", "1: the file is empty. See the reference for the required keys"),
    (WEEKLY, "- a\n", "1:1: expected `key: value` lines. See the reference"),
]  # fmt: skip


@pytest.mark.parametrize(("good", "bad", "expected"), _SCHEDULE)
def test_a_mistake_in_a_schedule(tmp_path: Path, good: str, bad: str, expected: str) -> None:
    loaded = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, good, bad)}))
    assert loaded.newsroom is None
    assert f"schedules/weekly.yaml:{expected}" in said(loaded)


@pytest.mark.parametrize(
    "rule", ["daily: 09:00", "weekly: fri 09:00", "monthly: 1 09:00", 'cron: "0 9 * * fri"', "every: 1h", "on: new"]
)
def test_a_repeating_schedule_needs_a_frequency(tmp_path: Path, rule: str) -> None:
    schedule = f"cadence: {{{rule}}}\ndeliver:\n  - list: digest\n"
    main = MAIN.replace("    default_frequency: weekly\n", "")
    assert any("needs `frequency`" in line for line in said(read(write(tmp_path, main, {"s": schedule}))))
    for served in ("frequency: all", "everyone: true"):
        assert said(read(write(tmp_path, main, {"s": f"{schedule}    {served}\n"}))) == []


@pytest.mark.parametrize("rule", ["at: 2026-12-01T09:00", "on: request"])
def test_a_one_time_schedule_needs_no_frequency(tmp_path: Path, rule: str) -> None:
    schedule = f"cadence: {{{rule}}}\ndeliver:\n  - list: digest\n"
    newsroom = read(write(tmp_path, schedules={"s": schedule})).newsroom
    assert newsroom is not None
    assert served_frequencies(newsroom, "digest") == {"all"}


def test_a_default_frequency_without_a_schedule_is_a_warning(tmp_path: Path) -> None:
    loaded = read(write(tmp_path, spoilt(MAIN, "default_frequency: weekly", "default_frequency: daily")))
    assert loaded.newsroom is not None
    [problem] = loaded.problems
    assert (problem.level, problem.line, problem.column) == ("warning", 34, 24)
    assert problem.mend == "write `default_frequency: weekly`, or add a schedule that delivers it"


def test_a_malformed_default_frequency_is_one_mistake(tmp_path: Path) -> None:
    """Found by Hypothesis: the check of frequencies failed when the default was a map."""
    main = spoilt(MAIN, "default_frequency: weekly", "default_frequency: {en: weekly}")
    expected = "tidings.yaml:34:5: default_frequency: expected one value here, not a list or a map"
    expected += ". Write it after the colon, in the same line"
    assert said(read(write(tmp_path, main))) == [expected]


def test_everyone_serves_every_frequency(tmp_path: Path) -> None:
    main = spoilt(MAIN, "default_frequency: weekly", "default_frequency: daily")
    loaded = read(write(tmp_path, main, {"weekly": spoilt(WEEKLY, "everyone: false", "everyone: true")}))
    assert said(loaded) == [] and loaded.newsroom is not None
    assert served_frequencies(loaded.newsroom, "digest") == {"all"}


def test_which_files_are_schedules(tmp_path: Path) -> None:
    """Editors, macOS and backups leave files in the folder. A file that looks like a schedule is never ignored."""
    names = dict.fromkeys((".#weekly.yaml", "._weekly.yaml", "weekly.yaml~", "weekly.yaml.bak", "notes.txt"), "x")
    assert said(read(write(tmp_path, schedules={"weekly": WEEKLY, **names}))) == []
    for name, meant in (("My digest.yaml", "my-digest"), ("WEEKLY.YAML", "weekly")):
        write(tmp_path, schedules={name: WEEKLY})
        stem = name.rpartition(".")[0]
        mend = f"Write {meant}: use lower-case letters, digits and single hyphens"
        assert f"schedules/{name}:1:1: name: {stem!r} is not a name. {mend}" in said(read(tmp_path))
        (tmp_path / "schedules" / name).unlink()
    write(tmp_path, schedules={"weekly (conflicted copy).yaml": WEEKLY, "Копия weekly.yaml": WEEKLY})
    assert ["a program made it as a copy" in line for line in said(read(tmp_path))] == [True, True]
    for name in ("weekly (conflicted copy).yaml", "Копия weekly.yaml"):
        (tmp_path / "schedules" / name).unlink()
    write(tmp_path, schedules={"monthly.json": WEEKLY})
    (tmp_path / "schedules" / "2027").mkdir()
    (tmp_path / "schedules" / "2027" / "monthly.yaml").write_text(WEEKLY)
    warnings = [problem for problem in read(tmp_path).problems if "not read from here" in problem.message]
    assert [problem.file for problem in warnings] == ["schedules/2027", "schedules/monthly.json"]
    for name in ("monthly.json", "2027/monthly.yaml"):
        (tmp_path / "schedules" / name).unlink()
    write(tmp_path, schedules={"monthly.yaml.txt": "x"})
    assert [line.partition(":")[0] for line in said(read(tmp_path))] == ["schedules/monthly.yaml.txt"]
    (tmp_path / "schedules" / "monthly.yaml.txt").unlink()
    twice = said(read(write(tmp_path, schedules={"weekly.yml": WEEKLY.replace("was: friday\n", "")})))
    assert twice == ["schedules/weekly.yml: schedules/weekly exists twice. Keep one of the files"]


def test_twenty_mistakes_are_all_named_in_one_run(tmp_path: Path) -> None:
    main, schedule = MAIN, WEEKLY
    mistakes = [*_TIDINGS[1:3], *_TIDINGS[4:5], *_TIDINGS[9:11], *_TIDINGS[12:14], *_TIDINGS[17:22], *_TIDINGS[24:27]]
    for good, bad, _ in mistakes:
        if good in main:
            main = spoilt(main, good, bad)
    for good, bad, _ in (*_SCHEDULE[1:2], *_SCHEDULE[7:8], *_SCHEDULE[10:16]):
        schedule = spoilt(schedule, good, bad)
    lines = said(read(write(tmp_path, main, {"weekly": schedule, "Other": WEEKLY.replace("was: friday", "x: y")})))
    places = {(line.split(":")[0], line.split(":")[1]) for line in lines}
    expected = {("tidings.yaml", str(number)) for number in (3, 5, 7, 9, 19, 22, 23, 25, 28, 29, 31, 33)}
    expected |= {("schedules/weekly.yaml", str(number)) for number in (3, 8, 12, 13, 15, 16, 18, 20)}
    expected |= {("schedules/Other.yaml", str(number)) for number in (1, 28)}
    assert len(expected) == 22
    assert places == expected, "\n".join(lines)
    assert all("." in line.rstrip(".") for line in lines)


def test_broken_yaml_in_one_file_does_not_hide_the_others(tmp_path: Path) -> None:
    lines = said(
        read(write(tmp_path, spoilt(MAIN, "[en, ru, kk]", "[en, ru, kk"), {"weekly": "a: 'b\n", "x": "c: d\n"}))
    )
    assert [line.split(" ")[0] for line in lines[:2]] == ["tidings.yaml:4:14:", "schedules/weekly.yaml:1:4:"]
    assert any(line.startswith("schedules/x.yaml:1:1: unknown key 'c'") for line in lines)


def test_lenient_loading_keeps_the_valid_files(tmp_path: Path) -> None:
    main = spoilt(spoilt(MAIN, "port: 8080", "prot: 1"), "type: webhook", "type: webhok")
    loaded = read(write(tmp_path, main, {"weekly": WEEKLY, "bad": "cadence: {x: y}\n"}), lenient=True)
    assert len(loaded.problems) > 2 and loaded.newsroom is not None
    assert (list(loaded.newsroom.channels), list(loaded.newsroom.lists)) == (["team"], ["digest"])
    assert "weekly" in loaded.newsroom.schedules


def test_a_folder_without_a_newsroom_is_named(tmp_path: Path) -> None:
    [problem] = read(tmp_path).problems
    assert "tidings init" in problem.mend


def test_a_missing_or_outside_logo_is_refused(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "out.png").write_bytes(b"x")
    for name in ("media/logo.png", "../out.png", "x" * 300):
        main = spoilt(MAIN, 'colour: "#0077b6"', f"logo: {name}")
        [line] = said(read(write(tmp_path / "room", main)))
        assert line == f"tidings.yaml:7:9: logo: there is no file {name}. Put it there, or leave it out"
    (tmp_path / "room" / "media").mkdir()
    (tmp_path / "room" / "media" / "logo.png").write_bytes(b"picture")
    newsroom = read(write(tmp_path / "room", spoilt(MAIN, 'colour: "#0077b6"', "logo: media/logo.png"))).newsroom
    assert newsroom is not None
    assert newsroom.logo_url.startswith("https://steppe.example.org/media/") and newsroom.logo_url.endswith("/logo.png")


def test_windows_line_endings_and_a_byte_order_mark(tmp_path: Path) -> None:
    assert said(read(write(tmp_path, ("\ufeff" + MAIN.replace("\n", "\r\n")).encode()))) == []


def test_tidings_store_overrides_the_file(tmp_path: Path) -> None:
    write(tmp_path)
    newsroom = read(tmp_path, {**ENV, "TIDINGS_STORE": "postgresql://t:s3cret-word@db/t"}).newsroom
    assert newsroom is not None
    assert store_address(newsroom) == "postgresql://t:s3cret-word@db/t"
    assert "s3cret-word" in newsroom.secrets and SLACK in newsroom.secrets
    empty = read(tmp_path, {**ENV, "TIDINGS_STORE": ""}).newsroom
    assert empty is not None and store_address(empty) == "sqlite:///tidings.db"
    [line] = said(read(tmp_path, {**ENV, "TIDINGS_STORE": "oracle://t:s3cret-word@db/t"}))
    assert line.startswith("tidings.yaml: TIDINGS_STORE in the environment: ") and "s3cret" not in line


def test_holidays_weekends_and_seasons_arrive_typed(tmp_path: Path) -> None:
    more = "weekly: fri 09:00\n  on_holiday: before\n  weekend: [fri, sat]\n  from: 09-01\n  until: 2027-06-30"
    loaded = read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "weekly: fri 09:00", more)}))
    assert said(loaded) == []
    assert loaded.newsroom is not None
    cadence = loaded.newsroom.schedules["weekly"].cadence
    assert (cadence.on_holiday, cadence.weekend) == (OnHoliday.BEFORE, (4, 5))
    assert cadence.season == Season(begins=(9, 1), last=date(2027, 6, 30))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("weekly: fri 09:00\n  on_holiday: later", "on_holiday: must be 'skip', 'before' or 'after'"),
        ("on: new\n  on_holiday: before", "`on_holiday: before` needs a rule with a time"),
        ("daily: 09:00\n  every_other: {from: 2026-12-04}", "`every_other` works only with `weekly`"),
        ("weekly: fri 09:00\n  every_other: {form: 2026-12-04}", "Did you mean 'from'"),
        ("weekly: fri 09:00\n  weekend: [mon-sun]", "a week needs a working day"),
        ("weekly: fri 09:00\n  from: 1 March", "'1 March' is not a date"),
        (
            'daily: ["07:30", "18:00"]\n  moved: {2026-12-04: 2026-12-04T12:00}',
            "2026-12-04 has several editions. Name the one that is meant by its time: 2026-12-04T07:30",
        ),
        ("weekly: [mon 09:00, fri 17:00]", "these days have different times"),
        ("weekly: [mon, thu]", "lacks a weekday or a time"),
        ("weekly: fri\u200b 09:00", "there is an invisible character here (U+200B, zero width space)"),
        ("weekly\u00a0: fri 09:00", "there is an invisible character here (U+00A0, no-break space)"),
        ("weekly: fri 09:00\n  every_other: 2026-12-04", "write `every_other: {from: 2026-12-04}`".capitalize()),
        ("weekly\uff1afri 09:00", "after 'weekly' is a fullwidth colon (U+FF1A). Write `weekly: fri 09:00`"),
        ("weekly: “fri 09:00”", 'for YAML “ is not a quote but part of the text. Write `"fri 09:00"`'),
        ("weekly: frі 09:00", "the letter 'і' in 'frі' is not Latin (U+0456, cyrillic small letter"),
        ("wееkly: fri 09:00", "the letter 'е' in 'wееkly' is not Latin (U+0435, cyrillic small letter ie)"),
        ("weekly:fri 09:00", "a space is missing after 'weekly:'. Write `weekly: fri 09:00`"),
    ],
)
def test_an_impossible_cadence_is_explained_at_its_line(tmp_path: Path, written: str, words: str) -> None:
    plain = "title: x\ncadence:\n  weekly: fri 09:00\ndeliver:\n  - list: digest\n    frequency: weekly\n"
    loaded = read(write(tmp_path, schedules={"weekly": spoilt(plain, "weekly: fri 09:00", written)}))
    problems = [text for text in said(loaded) if "weekly.yaml" in text]
    assert len(problems) == 1 and words in problems[0], problems
    assert problems[0].startswith(("schedules/weekly.yaml:3:", "schedules/weekly.yaml:4:", "schedules/weekly.yaml:2:"))


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("cadence: {weekly:fri 09:00}\ndeliver: [{list: digest, frequency: all}]\n", "Write `weekly: fri 09:00`"),
        ("cadence: {weekly: fri 09:00}\ndeliver: [{list:digest, frequency: all}]\n", "Write `list: digest`"),
    ],
)
def test_a_space_missing_in_braces_is_named_once(tmp_path: Path, written: str, words: str) -> None:
    (problem,) = said(read(write(tmp_path, schedules={"weekly": written})))
    assert "a space is missing after" in problem and words in problem


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("Tunis", "Africa/Tunis"),
        ("asia/almati", "Asia/Almaty"),
        ("Алматы", "Asia/Almaty"),
        ("Bogotá", "America/Bogota"),
        ("Tunisia", "Africa/Tunis"),
        ("New York", "America/New_York"),
        ("Geneva", "Europe/Zurich"),
        ("تونس", "Africa/Tunis"),
    ],
)
def test_the_zone_of_the_named_place_is_suggested(tmp_path: Path, written: str, zone: str) -> None:
    problems = said(read(write(tmp_path, spoilt(MAIN, "timezone: Asia/Almaty", f"timezone: {written}"))))
    assert len(problems) == 1 and f"Did you mean {zone}?" in problems[0], problems


@pytest.mark.parametrize("written", ["UTC+6", "+05:00", "Zzyzx"])
def test_no_zone_is_guessed_from_an_offset(tmp_path: Path, written: str) -> None:
    problems = said(read(write(tmp_path, spoilt(MAIN, "timezone: Asia/Almaty", f'timezone: "{written}"'))))
    assert len(problems) == 1 and "Write continent and city, like Asia/Almaty" in problems[0], problems


def test_a_wrong_score_names_the_key_that_was_written(tmp_path: Path) -> None:
    (problem,) = said(read(write(tmp_path, f"{MAIN}gates: {{spam: high}}\n")))
    assert "spam: 'high' is not a score" in problem and "score:" not in problem


def test_a_dash_without_a_space_is_named(tmp_path: Path) -> None:
    for more in ("", "    frequency: weekly\n"):
        text = f"title: x\ncadence:\n  weekly: fri 09:00\ndeliver:\n  -list: digest\n{more}"
        problems = said(read(write(tmp_path, schedules={"weekly": text})))
        assert [text for text in problems if "-list" in text] == [
            "schedules/weekly.yaml:5:3: a space is missing in '-list:'. Write `- list:`"
        ], problems


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("{label: Water, hashtag: clean water}", "'clean water' is not a hashtag"),
        ("{label: Water, hashtag: {en: clean-water}}", "'clean-water' is not a hashtag"),
        ("{hashtag: CleanWater}", "a topic needs a label"),
        ("{label: Water, hashtags: CleanWater}", "unknown key 'hashtags'"),
        ("{label: {fr: Eau}, hashtag: CleanWater}", "'fr' is not among site.languages"),
    ],
)
def test_an_invalid_topic_is_explained(tmp_path: Path, topic: str, words: str) -> None:
    main = spoilt(MAIN, "sdg-4: {en: Education, ru: Образование, kk: Білім}", f"sdg-4: {topic}")
    problems = said(read(write(tmp_path, main)))
    assert len(problems) == 1 and words in problems[0], problems


def test_needed_may_not_exceed_the_number_of_approvers(tmp_path: Path) -> None:
    approval = "approval: {by: [boss@example.org, boss@example.org], needed: 2}"
    problems = said(read(write(tmp_path, schedules={"weekly": spoilt(WEEKLY, "approval: none", approval)})))
    assert problems == [
        "schedules/weekly.yaml:9:1: approval: `needed: 2` is more than the 1 in `by`. Name more people"
    ], problems
