"""A delivery in doubt is settled by a button. Settings are saved after a check, and can be restored."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from tests.fixtures.newsroom import HOUR, MONDAY
from tests.web.room.conftest import APPROVED, BEFORE, Browser, RoomSite
from tidings.channels.base import Attempt, Channel
from tidings.model.delivery import Outcome, Verdict
from tidings.store import schema as t

SCHEDULE = "schedules/daily.yaml"
POSTS = 'cadence: {daily: "10:00"}\ndeliver: [{channel: desk}]\n'


@pytest.fixture
def posted(room: RoomSite) -> RoomSite:
    """A post went to the channel desk."""
    room.newsroom.schedule("posts", POSTS)
    room.newsroom.tick(BEFORE + HOUR / 2)
    room.newsroom.item("late", title="Late news")
    room.newsroom.tick(MONDAY + HOUR)
    assert "posts/1 done" in room.newsroom.editions()
    return room


def test_a_post_in_doubt_is_settled_by_a_button(posted: RoomSite) -> None:
    with posted.newsroom.runtime.store.write() as connection:
        d = t.deliveries.c
        connection.execute(update(t.deliveries).where(d.channel == "desk").values(state="in_doubt", reason="no answer"))
    viewer, editor = posted.browser("viewer"), posted.browser("editor")
    page = viewer.get("channels").text
    assert "In doubt: did it arrive?" in page and "It arrived" not in page
    number = re.search(r'name="delivery" value="(\d+)"', editor.get("channels").text)
    assert number is not None
    after = editor.post("channels/resolve", delivery=number[1], do="accepted")
    assert "Settled." in after.text and "In doubt: did it arrive?" not in after.text
    again = editor.post("channels/resolve", delivery=number[1], do="resend")
    assert again.status_code == 409 and "settled already" in again.text
    assert editor.post("channels/resolve", delivery="x", do="cancel").status_code == 404
    assert [entry.action for entry in posted.log()] == ["delivery.resolved"]


def test_channels_and_results_show_what_went_out(posted: RoomSite) -> None:
    viewer = posted.browser("viewer")
    page = viewer.get("channels").text
    assert "editions/posts/1" in page and "accepted" in page
    posted.newsroom.runtime.editions.release(posted.newsroom.edition("daily/1"), posted.newsroom.now, "ann")
    posted.newsroom.tick(MONDAY + HOUR)
    page = viewer.get("results").text
    assert "editions/daily/1" in page and "<dd>2</dd>" in page
    assert "No edition in this time" in posted.browser("viewer", ("press",), "p@example.org").get("results").text


def test_results_name_what_was_not_sent_as_the_room_does(posted: RoomSite) -> None:
    with posted.newsroom.runtime.store.write() as connection:
        one = select(t.deliveries.c.id).where(t.deliveries.c.reason == "").limit(1).scalar_subquery()
        skipped = update(t.deliveries).where(t.deliveries.c.id == one)
        connection.execute(skipped.values(state="skipped", reason="unsubscribed"))
    page = posted.browser("viewer").get("results").text
    assert "<bdi>Readers of Daily 1</bdi>" in page and "They had left the list. (1)" in page
    assert "<bdi>Daily 1</bdi>" in page and "readers of" not in page


class Editable:
    """A channel whose network lets us change posts."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.asked: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def edit(self, receipt: str, body: bytes, attempt: Attempt) -> Outcome:
        self.asked.append((receipt, self._channel.text(body)))
        return Outcome(Verdict.ACCEPTED, receipt)

    def take_down(self, receipt: str, attempt: Attempt) -> Outcome:
        self.asked.append((receipt, ""))
        return Outcome(Verdict.ACCEPTED, receipt)


def test_a_post_is_corrected_and_taken_down_where_it_can_be(posted: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The room showed posts that only a command, or a withdrawn story, could change."""
    runtime = posted.newsroom.runtime
    editor, viewer = posted.browser("editor"), posted.browser("viewer")
    assert "Change it there by hand" in editor.get("channels").text
    channel = Editable(runtime.channels["desk"])
    runtime.channels["desk"] = channel  # type: ignore[assignment]
    with runtime.store.write() as connection:
        connection.execute(update(t.deliveries).where(t.deliveries.c.channel == "desk").values(receipt="r1"))
    link = re.search(r"channels/posts/(\d+)", editor.get("channels").text)
    assert link is not None and "channels/posts/" not in viewer.get("channels").text
    page = editor.get(link[0]).text
    assert "Late news" in page and "What it should say" in page
    assert editor.post("channels/change", delivery=link[1], do="edit", text="").status_code == 409
    with monkeypatch.context() as patched:
        patched.setattr(channel, "capabilities", replace(channel.capabilities, max_length=10), raising=False)
        refused = editor.post("channels/change", delivery=link[1], do="edit", text="Better <news>")
    assert refused.status_code == 409 and "desk takes 1 to 10." in refused.text
    assert "Better &lt;news&gt;</textarea>" in refused.text, "what was written is still in the form"
    assert (
        "as soon as the network answers"
        in editor.post("channels/change", delivery=link[1], do="edit", text="Better <news>").text
    )
    runtime.deliver()
    assert channel.asked[0][0] == "r1" and "Better <news>" in channel.asked[0][1]
    assert "corrected: accepted" in viewer.get("channels").text
    editor.post("channels/change", delivery=link[1], do="take_down")
    runtime.deliver()
    assert channel.asked[1:] == [("r1", "")]
    after = editor.get("channels").text
    assert "taken down: accepted" in after and "channels/posts/" not in after
    assert editor.post("channels/change", delivery=link[1], do="take_down").status_code == 409
    assert editor.post("channels/change", delivery="999", do="edit", text="x").status_code == 404
    assert [entry.action for entry in posted.log()] == ["delivery.taken_down", "delivery.edited"]


def _opened(page: str) -> str:
    match = re.search(r'name="opened" value="(\w+)"', page)
    assert match is not None
    return match[1]


def _send(browser: Browser, text: str, *, do: str, opened: str = "") -> tuple[int, str]:
    opened = opened or _opened(browser.get("settings/edit", file=SCHEDULE).text)
    answer = browser.post("settings/edit", file=SCHEDULE, text=text, opened=opened, do=do)
    return answer.status_code, html.unescape(answer.text)


def _file(room: RoomSite) -> str:
    return (room.newsroom.folder.root / SCHEDULE).read_text(encoding="utf-8")


@pytest.fixture
def admin(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """An admin, in a newsroom whose secrets are in the environment."""
    for name, value in room.newsroom.folder.env.items():
        monkeypatch.setenv(name, value)
    return room.browser("admin")


def test_a_changed_cadence_shows_its_plan_before_it_is_saved(room: RoomSite, admin: Browser) -> None:
    text = APPROVED.replace("09:00", "11:30") + "# ours\n"
    status, page = _send(admin, text, do="check")
    assert status == 200 and "What it does to the plan" in page and "11:30" in page
    assert "<ins># ours</ins>" in page
    assert _file(room) == APPROVED
    status, page = _send(admin, text, do="save")
    assert status == 200 and "Saved." in page and _file(room) == text
    version = re.search(r"settings/version\?file=\S*?version=([^\"]+)\"", page)
    assert version is not None
    shown = admin.get("settings/version", file=SCHEDULE, version=version[1].replace("%20", " ")).text
    fields = {"file": SCHEDULE, "version": version[1], "opened": _opened(shown)}
    assert "The earlier version is back" in admin.post("settings/restore", **fields).text
    assert _file(room) == APPROVED
    assert [entry.action for entry in room.log()] == ["settings.restored", "settings.saved"]


def test_a_schedule_is_changed_by_a_form_with_its_plan(room: RoomSite, admin: Browser) -> None:
    text = "# ours\ncadence:\n  daily: 09:00  # early\n\ndeliver:\n  - list: digest\n    frequency: daily\n# end\n"
    room.newsroom.schedule("daily", text)
    assert "settings/schedule?file=schedules/daily.yaml" in admin.get("settings").text
    page = admin.get("settings/schedule", file=SCHEDULE).text
    assert '<option value="weekly">Every week</option>' in page
    assert 'name="when" value="09:00"' in page and 'value="list:digest" checked' in page
    fields = {"file": SCHEDULE, "opened": _opened(page), "deliver": ["list:digest", "channel:desk"]}
    fields |= {"rule": "weekly", "when": "[mon, thu] 08:00", "frequency.digest": "daily", "by": "boss@example.org"}
    shown = admin.post("settings/schedule", do="check", **fields).text
    assert "<ins>  weekly: [mon, thu] 08:00</ins>" in shown and "What it does to the plan" in shown
    assert "5 March 2026, 08:00" in shown
    wrong = admin.post("settings/schedule", do="save", **fields | {"when": "someday"})
    assert wrong.status_code == 422 and 'value="someday"' in wrong.text
    assert 'aria-invalid="true" aria-describedby="when-hint when-error"' in wrong.text
    assert re.search(r'id="when-error"><span[^>]*>weekly: &#39;someday&#39; lacks', wrong.text), "beside its field"
    assert "Saved." in admin.post("settings/schedule", do="save", **fields).text
    written = (room.newsroom.folder.root / SCHEDULE).read_text()
    assert written == (
        "# ours\ncadence:\n  weekly: [mon, thu] 08:00\n\napproval: {by: [boss@example.org]}\n\ndeliver:\n"
        "  - list: digest\n    frequency: daily\n  - {channel: desk}\n# end\n"
    )
    assert "Saved." in admin.post("settings/schedule", do="save", **fields).text, "a second press of Save"
    assert admin.post("settings/schedule", do="save", **fields | {"when": "fri 08:00"}).status_code == 409
    room.newsroom.folder.write(SCHEDULE, "deliver: [{list: digest}]\n")
    assert admin.get("settings/schedule", file=SCHEDULE).headers["location"].endswith("said=no_form")
    assert admin.get("settings/schedule", file="tidings.yaml").status_code == 404


def test_a_form_asks_for_day_and_time_of_one_edition(room: RoomSite, admin: Browser) -> None:
    """A team had to write the moment as in YAML, and got an error for 17.09.2026 15:00."""
    room.newsroom.schedule("daily", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: all}]\n")
    fields = {"file": SCHEDULE, "deliver": ["list:digest"], "frequency.digest": "all", "when": "fri 09:00"}
    fields |= {
        "rule": "at",
        "once": "2026-03-12T15:00",
        "opened": _opened(admin.get("settings/schedule", file=SCHEDULE).text),
    }
    assert "12 March 2026, 15:00" in admin.post("settings/schedule", do="check", **fields).text
    assert "Saved." in admin.post("settings/schedule", do="save", **fields).text
    assert "at: 2026-03-12T15:00" in _file(room)
    page = admin.get("settings/schedule", file=SCHEDULE).text
    assert 'name="once" value="2026-03-12T15:00"' in page and 'name="when" value=""' in page
    wrong = admin.post("settings/schedule", do="check", **fields | {"once": ""}).text
    new = {**fields, "file": "schedules/item-1.yaml", "opened": "", "title": "Паводок"}
    assert re.search(r"<h4><bdi>Паводок", admin.post("settings/schedule", do="check", **new).text), "no file name"
    assert re.search(r'id="when-error"><span[^>]*>at: &#39;fri 09:00&#39; is not a date', wrong), "beside its field"


def test_a_form_sets_every_other_week_and_a_first_day(room: RoomSite, admin: Browser) -> None:
    """The form had no field for either, so a team had to write YAML."""
    room.newsroom.schedule("daily", "cadence: {weekly: fri 09:00}\ndeliver: [{list: digest, frequency: all}]\n")
    fields = {"file": SCHEDULE, "deliver": ["list:digest"], "rule": "weekly", "when": "thu 10:00", "holidays": "KZ"}
    fields |= {"frequency.digest": "all"}
    fields |= {
        "every_other": "2026-03-12",
        "from": "2026-03-09",
        "opened": _opened(admin.get("settings/schedule", file=SCHEDULE).text),
    }
    shown = admin.post("settings/schedule", do="check", **fields).text
    assert "12 March 2026, 10:00" in shown and "26 March 2026, 10:00" in shown and "19 March" not in shown
    assert "Saved." in admin.post("settings/schedule", do="save", **fields).text
    assert "every_other: {from: 2026-03-12}, from: 2026-03-09, holidays: KZ" in _file(room)
    room.newsroom.reload()
    assert "Next: Thu, 12 March 2026, 10:00" in admin.get("settings").text
    page = admin.get("settings/schedule", file=SCHEDULE).text
    assert 'name="every_other" value="2026-03-12" type="date"' in page
    fields |= {"every_other": "", "from": "03-01", "until": "10-31", "opened": _opened(page)}
    assert "Saved." in admin.post("settings/schedule", do="save", **fields).text
    assert "{weekly: thu 10:00, from: 03-01, holidays: KZ, until: 10-31}" in _file(room)
    assert 'name="until" value="10-31" type="text"' in admin.get("settings/schedule", file=SCHEDULE).text


def test_settings_with_an_error_are_not_saved(room: RoomSite, admin: Browser) -> None:
    status, page = _send(admin, APPROVED.replace("daily:", "daly:"), do="save")
    assert status == 422 and "It was not saved" in page and "daly" in page
    assert _file(room) == APPROVED


def test_a_mistake_in_another_file_refuses_no_save(room: RoomSite, admin: Browser) -> None:
    """A colleague's broken schedule locked everybody out of all settings."""
    room.newsroom.folder.write("schedules/other.yaml", "cadence: {daly: 09:00}\n")
    status, page = _send(admin, APPROVED.replace("3h", "4h"), do="check")
    assert status == 200 and "other.yaml" in page
    wrong = _send(admin, APPROVED.replace("daily:", "daly:"), do="save")
    assert wrong[0] == 422 and _file(room) == APPROVED
    status, page = _send(admin, APPROVED.replace("3h", "4h"), do="save")
    assert status == 200 and "once that is mended" in page and "4h" in _file(room)
    main = room.newsroom.folder.root / "tidings.yaml"
    without = re.sub(r"(?m)^  digest:", "  gazette:", main.read_text())
    opened = _opened(admin.get("settings/edit", file="tidings.yaml").text)
    answer = admin.post("settings/edit", file="tidings.yaml", text=without, opened=opened, do="save")
    assert answer.status_code == 422 and "digest" in main.read_text(), "it would break the schedules"


def test_settings_that_changed_meanwhile_are_not_overwritten(room: RoomSite, admin: Browser) -> None:
    opened = _opened(admin.get("settings/edit", file=SCHEDULE).text)
    room.newsroom.folder.write(SCHEDULE, APPROVED + "# by hand\n")
    status, page = _send(admin, APPROVED + "# by me\n", do="save", opened=opened)
    assert status == 409 and "<del># by hand</del>" in page
    assert _file(room) == APPROVED + "# by hand\n"


def test_only_settings_open_as_settings(room: RoomSite) -> None:
    admin = room.browser("admin")
    for name in ("keys.json", "content/one.en.md", "schedules/../keys.json", "secrets.env"):
        assert admin.get("settings/edit", file=name).status_code == 404, name


def test_today_does_not_count_a_large_list_one_by_one(room: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 50,000 new subscribers, the page Today took 12 seconds."""
    editor = room.browser("editor")
    assert "to 2 recipients" in editor.get("").text
    monkeypatch.setattr("tidings.web.room.today.MOST_COUNTED", 1)
    monkeypatch.setattr("tidings.runtime.preview.plan.plan_deliveries", lambda *given: pytest.fail("counted"))
    assert "to at most 2 recipients" in editor.get("").text


def test_a_year_of_results_has_pages(posted: RoomSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand editions made a page of 290 KB."""
    with posted.newsroom.runtime.store.write() as connection:
        connection.execute(update(t.editions).where(t.editions.c.schedule == "daily").values(state="sending"))
    posted.newsroom.tick(MONDAY + 2 * HOUR)
    viewer = posted.browser("viewer")
    whole = viewer.get("results", days="365").text
    monkeypatch.setattr("tidings.web.room.channel_screens._PAGE", 1)
    first, second = (viewer.get("results", days="365", page=page).text for page in ("", "1"))
    rows = [page.count('<th scope="row">') for page in (whole, first, second)]
    assert rows == [2, 1, 1], rows
    assert "page=1" in first and ">Older</a>" in first and ">Newer</a>" in second and ">Older</a>" not in second
