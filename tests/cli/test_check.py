"""`tidings check` reports every mistake of a newsroom in one run, with file, line and correction."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fixtures.newsroom_folder import NewsroomFolder, item

MAIN = """\
site:
  title: {en: News, fr: Nouvelles}
  url: news.example.org
  languages: [en, ru]
  timezone: Asia/Almatty
  address: 10 Example Street
  colour: blue
topics: {water: Water}
maill: {host: 127.0.0.1}
mail:
  host: 127.0.0.1
  port: no
  dkim: {domain: example.org}
  password: hunter2
lists:
  digest:
    name: Digest
    from: news
    fallback: [kk]
    from: News <news@example.org>
channels:
  desk: {type: webhok, url: https://example.org/}
  team: {type: slack, url: {env: NOT_SET_ANYWHERE}}
notify: {channel: nobody}
"""
WEEKLY = """\
cadence: {weekly: fryday 09:00, max_late: soon}
select: {topics: [watter], max_items: 0, odrer: newest}
deliver:
  - {list: digst, frequency: weekly}
  - {list: digest}
"""
MORE = """\
cadence: {daily: "09:00", weekly: fri 09:00}
deliver:
  - {list: digest, frequency: daily, template: digset, subject: "{{ leed.title }}"}
"""
ITEM = """\
---
title: One
embago: 2026-01-01
---
Text.
"""
DATED = """\
---
title: Two
published: yesterday
---
Text.
"""
WARNED = """\
---
title: Three
topics: [watr]
not_in: [digestt]
images: [{src: https://example.org/a.png}]
---
Text.
"""
BROKEN = "{% macro head() %}{% endmacro %}\n{% macro item(item) %}{{ item.titel }}{% endmacro %}\n{{ unknown_name }}\n"

EXPECTED = [
    ("tidings.yaml", 2, "'fr' is not among site.languages"),
    ("tidings.yaml", 3, "is not a web address"),
    ("tidings.yaml", 5, "is not a time zone"),
    ("tidings.yaml", 7, "is not a colour"),
    ("tidings.yaml", 9, "unknown key 'maill'. Did you mean 'mail'?"),
    ("tidings.yaml", 12, "is not a whole number"),
    ("tidings.yaml", 13, "'selector' is missing"),
    ("tidings.yaml", 14, "secrets belong in the environment"),
    ("tidings.yaml", 18, "is not an address"),
    ("tidings.yaml", 19, "'kk' is not among site.languages"),
    ("tidings.yaml", 20, "'from' is here twice"),
    ("tidings.yaml", 22, "'webhok' is not a type. Did you mean 'webhook'?"),
    ("tidings.yaml", 23, "NOT_SET_ANYWHERE"),
    ("tidings.yaml", 24, "there is no channel 'nobody'"),
    ("schedules/weekly.yaml", 1, "fryday"),
    ("schedules/weekly.yaml", 1, "soon"),
    ("schedules/weekly.yaml", 2, "there is no topic 'watter'. Did you mean 'water'?"),
    ("schedules/weekly.yaml", 2, "max_items"),
    ("schedules/weekly.yaml", 2, "unknown key 'odrer'. Did you mean 'order'?"),
    ("schedules/weekly.yaml", 4, "there is no list 'digst'. Did you mean 'digest'?"),
    ("schedules/more.yaml", 1, "daily and weekly cannot be combined"),
    ("schedules/more.yaml", 3, "there is no template 'digset'. Did you mean 'digest'?"),
    ("schedules/more.yaml", 3, "leed"),
    ("content/one.en.md", 3, "embago"),
    ("content/two.en.md", 3, "yesterday"),
    ("content/three.en.md", 3, "topic 'watr' is not declared. Did you mean 'water'?"),
    ("content/three.en.md", 4, "there is no list or channel 'digestt'"),
    ("content/three.en.md", 5, "no alt text"),
    ("templates/mine/body.html.j2", 3, "unknown_name"),
]


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_many_mistakes_are_all_named_in_one_run(run_in: Run, tmp_path: Path) -> None:
    for name, text in {
        "tidings.yaml": MAIN,
        "schedules/weekly.yaml": WEEKLY,
        "schedules/more.yaml": MORE,
        "schedules/mine.yaml": 'cadence: {daily: "10:00"}\ndeliver: [{list: digest, frequency: all, template: mine}]\n',
        "content/one.en.md": ITEM,
        "content/two.en.md": DATED,
        "content/three.en.md": WARNED,
        "templates/mine/body.html.j2": BROKEN,
    }.items():
        write(tmp_path, name, text)
    ran = run_in(tmp_path, "check")
    assert ran.code == 1
    lines = [line.removeprefix("warning: ") for line in ran.out.splitlines()]
    missing = [
        (file, line, said)
        for file, line, said in EXPECTED
        if not any(one.startswith(f"{file}:{line}:") and said in one for one in lines)
    ]
    assert not missing, (missing, ran.out)
    assert len(EXPECTED) >= 20
    assert "hunter2" not in ran.out + ran.err
    output = run_in(tmp_path, "check", "--json").json
    assert not output["ok"]
    bare = [
        problem
        for problem in output["problems"]
        if not problem["line"] and not problem["file"].startswith("templates/")
    ]
    assert not bare, bare
    explained = ("title: ", "max_items: ")  # their messages contain the right value
    silent = [
        problem
        for problem in output["problems"]
        if not problem["mend"]
        and not problem["file"].startswith("templates/")
        and not problem["message"].startswith(explained)
    ]
    assert not silent, silent
    assert not (tmp_path / "tidings.db").exists() and not (tmp_path / "keys.json").exists()


def test_each_readers_frequency_must_be_served(folder: NewsroomFolder, run: Run) -> None:
    daily = 'cadence: {daily: "09:00"}\ndeliver: [{list: digest, frequency: %s}]\n'
    folder.write("schedules/daily.yaml", daily % "daily")
    run("subscribers", "add", "a@example.org", "--list", "digest", "--frequency", "daily", "--confirmed").ok()
    run("check").ok()
    folder.write("schedules/daily.yaml", daily % "weekly")
    ran = run("check")
    assert ran.code == 1 and "1 subscriber of the list 'digest' chose 'daily', but no schedule" in ran.out


def test_subscribers_of_a_list_that_is_gone_are_named(folder: NewsroomFolder, run: Run) -> None:
    """Two renames in one edit, or a slip in `was`, left them without mail and without a word."""
    folder.write(
        "schedules/weekly.yaml", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n"
    )
    run("subscribers", "add", "a@example.org", "--list", "digest", "--confirmed").ok()
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    folder.write("tidings.yaml", main.replace("  digest: {", "  bulletin: {was: news, ", 1))
    folder.write(
        "schedules/weekly.yaml", "cadence: {weekly: fri 09:00}\ndeliver: [{list: bulletin, frequency: weekly}]\n"
    )
    run("tick").ok()
    assert "the list 'digest' is no longer in tidings.yaml, and nothing is sent to its 1 subscriber" in run("check").out
    assert "List digest: no longer in tidings.yaml" in run("status").out
    folder.write("tidings.yaml", main.replace("  digest: {", "  bulletin: {was: digest, ", 1))
    run("tick").ok()
    assert "no longer in tidings.yaml" not in run("check").out + run("status").out


def test_a_sound_newsroom_is_well(folder: NewsroomFolder, run: Run) -> None:
    folder.write(
        "schedules/weekly.yaml", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: weekly}]\n"
    )
    folder.write("content/one.en.md", item("One", topics="[water]"))
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    own = main.replace("@example.org", "@news.dala.kz").replace("Example Street", "Abay Avenue")
    folder.write("tidings.yaml", own)
    assert run("check").ok().out == "All is well.\n"


def test_unusual_settings_are_warnings(folder: NewsroomFolder, run: Run) -> None:
    main = (folder.root / "tidings.yaml").read_text(encoding="utf-8")
    port = main.partition("port: ")[2].partition(",")[0]
    more = "username: news, password: {file: relay.txt}"
    main = main.replace(f"port: {port}", f"port: 587, {more}").replace(
        "[en, ru, kk]\n  timezone", "[en, ru, kk, uz]\n  timezone"
    )
    folder.write("tidings.yaml", main)
    folder.write("relay.txt", "a long password\n")
    (folder.root / "relay.txt").chmod(0o644)
    days = {
        "late": "monthly: 31 09:00",
        "fifth": "monthly: fifth fri 09:00",
        "both": 'cron: "0 9 13 * fri"',
        "past": "at: 2020-12-01T09:00",
        "over": 'daily: "09:00"\n  until: 2020-12-01',
        "moved": "weekly: fri 09:00\n  moved: {2099-03-07: 2099-03-08T15:00}",
        "skipped": "weekly: fri 09:00\n  moved: {2099-03-07: skip, 2099-03-13: skip}",
    }
    for name, rule in days.items():
        folder.write(f"schedules/{name}.yaml", f"cadence:\n  {rule}\ndeliver: [{{list: digest, frequency: all}}]\n")
    out = run("check").ok().out
    for words in (
        "lists.digest.from is a sample address, News <news@example.org> (4 others like it)",
        "goes out without TLS on port 587: others can read the password. Write `security: starttls`",
        "Tidings has no words for readers in 'uz': its pages and mails show them in English",
        "everyone on this machine can read the secret in relay.txt. Chmod 600 relay.txt",
        "schedules/late.yaml:2:12: monthly: not every month has a day 31, and such a month is skipped",
        "schedules/fifth.yaml:2:12: monthly: not every month has the fifth Friday, and such a month is skipped",
        "schedules/both.yaml:2:9: cron: both day fields are set, so it fires when either of them matches",
        "schedules/past.yaml:2:7: at: this time has passed, so the schedule sends nothing",
        "schedules/over.yaml:3:10: until: this time has passed, so the schedule sends nothing",
        "schedules/moved.yaml:3:23: moved: no slot is on 2099-03-07, or another one lies between it and 2099-03-08",
        "schedules/skipped.yaml:3:23: moved: no slot is on 2099-03-07.",
    ):
        assert words in out, (words, out)
    assert all(line.startswith("warning: ") for line in out.splitlines()[:-1])
    (folder.root / "relay.txt").chmod(0o600)
    assert "relay.txt" not in run("check").ok().out


@pytest.mark.parametrize(
    ("wish", "can"),
    [
        ("on_correction: edit", False),
        ("on_correction: reply", False),
        ("on_withdrawal: take_down", False),
        ("on_correction: leave", True),
    ],
)
def test_a_feature_that_a_channel_lacks_is_refused(folder: NewsroomFolder, run: Run, wish: str, can: bool) -> None:
    path = folder.root / "tidings.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("team: {type: slack,", f"team: {{type: slack, {wish},"), encoding="utf-8")
    done = run("check")
    assert done.code == (0 if can else 1)
    assert (f"channel 'team': slack cannot do `{wish}`" in " ".join((done.out + done.err).split())) == (not can)


def test_a_picture_without_alt_text_is_refused(folder: NewsroomFolder, run: Run) -> None:
    images = "[{src: 'https://example.org/a%20b.jpg'}]"
    folder.write("content/one.en.md", item("One", images=images))
    ran = run("check")
    assert ran.code == 1 and "content/one.en.md:4" in ran.out + ran.err
    assert "the picture a b.jpg has no alt text" in " ".join((ran.out + ran.err).split())
    folder.write("content/one.en.md", item("One", images=images.replace("}", ", alt: A well}")))
    run("check").ok()


def test_a_misspelt_kind_is_a_warning(folder: NewsroomFolder, run: Run) -> None:
    """`kind: evento` was published without a date and a calendar, like an event without `starts`."""
    for name, kind in (("a", "evento"), ("b", "press-relase"), ("c", "event"), ("d", "recipe"), ("e", "sobytie")):
        folder.write(f"content/{name}.en.md", f"---\ntitle: Fair\nkind: {kind}\n---\nCome.\n")
    output = {
        problem["file"]: f"{problem['message']} {problem['mend']}"
        for problem in run("check", "--json").ok().json["problems"]
        if problem["file"].startswith("content/")
    }
    assert set(output) == {f"content/{name}.en.md" for name in "abce"}
    assert "did you mean `kind: event`?" in output["content/a.en.md"]
    assert "did you mean `kind: press-release`?" in output["content/b.en.md"]
    assert "no `starts`" in output["content/c.en.md"]
    assert "did you mean `kind: event`?" in output["content/e.en.md"], "the word of a language of the site"


def test_a_kind_in_the_yaml_gives_no_warning(folder: NewsroomFolder, run: Run) -> None:
    folder.write("content/a.en.md", "---\ntitle: Fair\nkind: events\n---\nCome.\n")
    schedule = "cadence: {weekly: fri 09:00}\nselect: {kinds: [%s]}\ndeliver: [{list: digest, frequency: all}]\n"
    folder.write("schedules/fair.yaml", schedule % "events")
    assert "kind" not in run("check").ok().out
    folder.write("schedules/fair.yaml", schedule % "storys")
    assert "no story has the kind 'storys'. Did you mean 'story'?" in run("check").ok().out


def test_check_names_two_files_of_one_story_before_a_tick(folder: NewsroomFolder, run: Run) -> None:
    for name in ("a/wells.en", "b/wells.en", "b/wells.ru"):
        folder.write(f"content/{name}.md", item("Wells"))
    ran = run("check")
    output = " ".join((ran.out + ran.err).split())
    assert ran.code == 1
    assert (
        "content/b/wells.en.md:1:1: it has the same story (wells) and language (en) as content/a/wells.en.md" in output
    )
    assert output.count("it has the same story") == 1
