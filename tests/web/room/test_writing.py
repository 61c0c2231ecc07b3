"""Writing in the room: previews of unsaved text, pictures without hidden data, translations, and who did what."""

from __future__ import annotations

import io
import re
from pathlib import Path

import httpx
import pillow_heif
import pytest
from PIL import Image

from tests.fixtures.newsroom import HOUR
from tests.web.room.conftest import BEFORE, Browser, RoomSite
from tests.web.room.test_stories import FILE, edit_story, form_fields, read_story_file
from tidings.runtime.team.paste import html_to_markdown
from tidings.web.room.visit import PreviewStash, csrf_token

WORD = """<html xmlns:o="urn:schemas-microsoft-com:office:office"><head><style>p{color:red}</style></head><body>
<!--StartFragment--><p class=MsoHeading2>The  plan<o:p></o:p></p>
<p class=MsoNormal><span style='font-size:12.0pt'>Work <b>begins&nbsp;</b>on <i>Monday</i>.<del>Not.</del></span></p>
<p class=MsoListParagraph style='mso-list:l0 level1 lfo1'><![if !supportLists]><span style='mso-list:Ignore'>·&nbsp;
</span><![endif]>Wells</p>
<p class=MsoListParagraph style='mso-list:l0 level2 lfo1'><span style='mso-list:Ignore'>1.&nbsp;</span>Pumps * two</p>
<table><tr><td><p>Town</p></td><td>Wells</td></tr><tr><td>Aral</td><td>3</td></tr></table>
<p class=MsoNormal><a href="javascript:alert(1)">no</a> <img src="file:///C:/Users/a/x.png"></p>
<p class=MsoNormal># 1</p><script>alert(1)</script><!--EndFragment--></body></html>"""
DOCS = """<meta charset='utf-8'><b style="font-weight:normal;" id="docs-internal-guid-7"><h1><span
style="font-weight:400">Head</span></h1><p><span style="font-weight:400">Plain </span><span
style="font-weight:700">bold</span> <a href="https://www.google.com/url?q=https://example.org/x&amp;sa=D">link</a></p>
<ul><li><p>one</p></li><ul><li><p>inner</p></li></ul><li><p>two</p></li></ul></b>"""


pillow_heif.register_heif_opener()


def _photo(size: tuple[int, int] = (3000, 1500), kind: str = "JPEG") -> bytes:
    """Make a photo with a place, a camera and a rotation in its EXIF data."""
    picture = Image.new("RGB", size, (30, 90, 120))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "SECRETCAMERA"
    exif.get_ifd(0x8825)[1] = "N"
    written = io.BytesIO()
    hidden = {"JPEG": {"exif": exif.tobytes(), "comment": b"SECRETCOMMENT"}, "HEIF": {"exif": exif.tobytes()}}
    picture.save(written, kind, **hidden.get(kind, {}))
    return written.getvalue()


def _resized(picture: bytes, part: bytes) -> bytes:
    """Write into a header that the picture has 60,000 x 60,000 pixels."""
    place = picture.index(part) + (8 if part == b"ispe" else 4)
    return picture[:place] + (60_000).to_bytes(4, "big") * 2 + picture[place + 8 :]


def _upload(browser: Browser, fields: dict[str, str], data: bytes, name: str = "Well & pump.jpg") -> httpx.Response:
    fields = {**fields, "csrf": csrf_token(browser.cookie)}
    return browser.client.post(
        "room/stories/edit", data=fields, files={"picture": (name, data, "image/jpeg")}, follow_redirects=True
    )


def test_unsaved_text_is_shown_as_page_mail_and_post(room: RoomSite) -> None:
    room.newsroom.schedule("posts", "cadence: {on: new}\ndeliver: [{channel: team}]\n")
    editor, before = room.browser("editor"), read_story_file(room)
    contact = "Jane Doe, Press officer, jane@example.org"
    status, page = edit_story(editor, title="Unsaved <title>", body="Fresh **words**.", contact=contact, do="preview")
    assert status == 200 and read_story_file(room) == before
    assert "Unsaved &lt;title&gt;" in page
    length = re.search(r"(\d+) of [\d,]+, as the network counts", page)
    text = re.search(r'<p class="post"[^>]*>(.*?)</p>', page, re.DOTALL)
    assert length is not None and text is not None and int(length[1]) > 20
    frames = re.findall(r'<iframe title="[^"]*" src="/room/(stories/previews/[^"]+)"', page)
    names = [frame.rpartition("/")[2] for frame in frames]
    assert names[:6] == ["page", "page", "mail-0-light", "mail-0-light", "mail-0-dark", "mail-0-dark"]
    shown = editor.get(frames[0])
    assert "<strong>words</strong>" in shown.text and "mailto:jane@example.org" in shown.text
    assert "sandbox" in shown.headers["content-security-policy"]
    light, dark = editor.get(frames[2]).text, editor.get(frames[4]).text
    assert "Unsaved" in light and "prefers-color-scheme: dark" not in light + dark
    assert "@media not all" in light and "@media all" in dark
    assert room.browser("admin").get(frames[0]).status_code == 404, "another member's preview"
    assert editor.get("stories/previews/none/page").status_code == 404


def test_old_previews_go_and_the_newest_stays() -> None:
    stash = PreviewStash()
    names = [stash.keep(1, {"page": b"x" * 9_000_000}) for _ in range(9)]
    assert stash.find(1, names[0], "page") is None and stash.find(1, names[-1], "page") is not None
    assert stash.find(2, names[-1], "page") is None


def test_a_picture_is_scaled_and_has_no_hidden_data(room: RoomSite) -> None:
    editor = room.browser("editor")
    fields = form_fields(editor.get("stories/edit", file=FILE).text) | {"do": "picture", "title": "Kept"}
    page = _upload(editor, fields | {"alt": 'A "well"', "credit": "Ann"}, _photo() + b"<script>SECRET</script>").text
    assert "The picture belongs to the story now" in page and 'value="Kept"' in page
    assert "Picture of this story: <bdi" in page and 'value="A &#34;well&#34;"' in page
    shown = editor.post(
        "stories/edit", **{k: v for k, v in form_fields(page).items() if k != "csrf"} | {"do": "preview"}
    )
    for frame in ("page", "mail-0-light"):
        match = re.search(rf'src="/room/(stories/previews/[^"]+/{frame})"', shown.text)
        assert match is not None and 'src="data:image/jpeg;base64,' in editor.get(match[1]).text, frame
    (path,) = (room.newsroom.folder.root / "content" / "media").glob("well-pump-*.jpg")
    data = path.read_bytes()
    assert b"SECRET" not in data and b"Exif" not in data
    with Image.open(path) as picture:
        assert picture.size == (1000, 2000), "turned as its EXIF said, then scaled"
    assert edit_story_from(editor, page)[0] == 200
    written = f'images: [{{src: "media/{path.name}", alt: "A \\"well\\"", credit: "Ann"}}]'
    assert written in read_story_file(room) and "title: Kept" in read_story_file(room)
    again = form_fields(editor.get("stories/edit", file=FILE).text) | {"do": "save", "alt": "Two [pumps]"}
    _upload(editor, again, _photo((40, 40), "PNG"), "../../x.php")
    assert re.search(r"\n\n!\[Two \\\[pumps\\\]\]\(media/x-\w{8}\.(png|jpg)\)\n$", read_story_file(room))
    room.newsroom.tick(BEFORE + HOUR / 2)
    assert room.newsroom.editions()


def test_a_phones_photo_becomes_a_jpeg_without_its_place(room: RoomSite) -> None:
    """Phones write HEIC, which browsers and mail programs do not show."""
    editor = room.browser("editor")
    fields = form_fields(editor.get("stories/edit", file=FILE).text) | {"do": "picture", "alt": "A well"}
    photo = _photo((640, 320), "HEIF")
    assert b"SECRETCAMERA" in photo
    assert "The picture belongs to the story now" in _upload(editor, fields, photo, "IMG_1.HEIC").text
    (path,) = (room.newsroom.folder.root / "content" / "media").glob("img-1-*.jpg")
    with Image.open(path) as picture:
        assert picture.format == "JPEG" and picture.size == (320, 640), "turned as its EXIF said"
        pixel = picture.getpixel((100, 100))
    assert isinstance(pixel, tuple) and all(abs(a - b) < 12 for a, b in zip(pixel, (30, 90, 120), strict=True))
    assert b"SECRET" not in path.read_bytes() and b"Exif" not in path.read_bytes()


def test_a_storys_pictures_are_described_and_taken_out_in_its_form(room: RoomSite) -> None:
    """A picture without words holds the edition, and its words could only be written as YAML."""
    editor, folder = room.browser("editor"), room.newsroom.folder
    (folder.root / "content" / "media").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder.root / "content" / "media" / f"{name}.jpg").write_bytes(_photo((40, 40)))
    images = "images:\n  - {src: media/a.jpg, caption: Noon}\n  - {src: media/b.jpg, alt: B}\n"
    folder.write(FILE, f"---\ntitle: One\n{images}---\nText with ![a pump](media/b.jpg).\n")
    page = editor.get("stories/edit", file=FILE).text
    assert "has no alt text" in page and re.search(r"Pictures in the text:</p>\s*<ul[^>]*>\s*<li><img ", page)
    fields = form_fields(page) | {"picture.0.alt": 'A "well"', "picture.1.drop": "1", "do": "check"}
    del fields["csrf"]
    shown = editor.post("stories/edit", **fields).text
    assert "media/b.jpg</bdi></legend>" not in shown and "has no alt text" not in shown
    unsaved = {key: value for key, value in form_fields(shown).items() if key != "csrf"}
    assert unsaved["picture.0.alt"] == 'A "well"' and "picture.1.src" not in unsaved
    assert "Saved." in editor.post("stories/edit", **unsaved | {"do": "save"}).text
    text = read_story_file(room)
    assert 'images: [{src: "media/a.jpg", caption: "Noon", alt: "A \\"well\\""}]' in text
    assert "![a pump](media/b.jpg)" in text
    fields = form_fields(editor.get("stories/edit", file=FILE).text) | {"picture.0.drop": "1", "do": "preview"}
    del fields["csrf"]
    page = editor.post("stories/edit", **fields).text
    assert form_fields(page)["pictures"] == "[]" and edit_story_from(editor, page)[0] == 200
    assert "images" not in read_story_file(room)


def test_a_long_alt_text_stays_whole(room: RoomSite) -> None:
    """Its end was cut whenever somebody saved the story."""
    editor, folder = room.browser("editor"), room.newsroom.folder
    (folder.root / "content" / "media").mkdir(exist_ok=True)
    (folder.root / "content" / "media" / "a.jpg").write_bytes(_photo((40, 40)))
    alt = "A well in the village. " * 60 + "The end."
    folder.write(FILE, f'---\ntitle: One\nimages: [{{src: media/a.jpg, alt: "{alt}"}}]\n---\nText.\n')
    assert edit_story_from(editor, editor.get("stories/edit", file=FILE).text)[0] == 200
    assert alt in read_story_file(room)


def edit_story_from(browser: Browser, page: str) -> tuple[int, str]:
    """Save the fields of a page's form."""
    fields = form_fields(page) | {"do": "save"}
    del fields["csrf"]
    answer = browser.post("stories/edit", **fields)
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    ("alt", "data", "message"),
    [
        ("", _photo((40, 40)), "Say in words what the picture shows"),
        ("A well", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a readable picture"),
        ("A well", _photo((40, 40))[:300], "not a readable picture"),
        ("A well", b"\0\0\0\x24ftypheic" + bytes(80), "not a readable picture (it is damaged or cut off)"),
        ("A well", _resized(_photo((64, 64), "HEIF"), b"ispe"), "not a readable picture (it is damaged or cut off)"),
        ("A well", _resized(_photo((64, 64), "PNG"), b"IHDR"), "not a readable picture"),
    ],
)
def test_a_bad_picture_is_refused_and_nothing_is_lost(room: RoomSite, alt: str, data: bytes, message: str) -> None:
    editor, before = room.browser("editor"), read_story_file(room)
    fields = form_fields(editor.get("stories/edit", file=FILE).text) | {"body": "My long text.", "alt": alt}
    answer = _upload(editor, fields, data)
    assert answer.status_code == 422 and message in answer.text and "My long text." in answer.text
    assert read_story_file(room) == before
    assert not [*(room.newsroom.folder.root / "content").rglob("well-pump*")]


def test_a_writer_adds_no_picture_to_a_published_story(room: RoomSite) -> None:
    writer = room.browser("writer")
    fields = form_fields(writer.get("stories/edit", file=FILE).text) | {"alt": "A well"}
    assert _upload(writer, fields, _photo((40, 40))).status_code == 403
    stranger = room.browser()
    assert _upload(stranger, fields, b"x" * 100_000).status_code == 413


def test_a_broken_multipart_form_is_refused(room: RoomSite) -> None:
    editor = room.browser("editor")
    for kind in ("multipart/form-data", "multipart/form-data; boundary=x", "multipart/form-data; boundary="):
        answer = editor.client.post("room/stories/edit", content=b"--y\r\n\r\n--y--", headers={"Content-Type": kind})
        assert answer.status_code == 400, kind


def test_word_comes_out_as_clean_markdown(room: RoomSite) -> None:
    answer = room.browser("writer").post("stories/paste", html=WORD)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text == (
        "## The plan\n\nWork **begins** on *Monday*.\n\n- Wells\n   1. Pumps \\* two\n\n"
        "| Town | Wells |\n| --- | --- |\n| Aral | 3 |\n\nno\n\n\\# 1\n"
    )


def test_google_docs_comes_out_as_clean_markdown() -> None:
    assert (
        html_to_markdown(DOCS)
        == "## Head\n\nPlain **bold** [link](https://example.org/x)\n\n- one\n   - inner\n- two\n"
    )
    assert html_to_markdown("just text & more") == "just text & more\n"
    assert html_to_markdown("") == html_to_markdown("<script>alert(1)</script>") == ""
    assert html_to_markdown("<div>" * 5_000 + "deep") in ("", "deep\n")


def test_translations_stand_beside_with_what_is_missing(room: RoomSite) -> None:
    room.newsroom.folder.write(FILE, "---\ntitle: One\nsummary: Short\ntopics: [water]\n---\nA\n\nB\n\nC\n\n![x](y)\n")
    editor = room.browser("editor")
    page = editor.get("stories/edit", file="content/one.ru.md").text
    assert '<div class="beside-text">A\n\nB' in page
    assert "Missing here: the summary, a part of the text, pictures, topics" in page
    assert "stories/new?story=one&amp;language=kk" in page
    room.newsroom.tick(BEFORE + HOUR / 2)
    assert "Missing, compared with English: the summary" in editor.get("stories/one").text


def test_a_correction_names_the_languages_that_lack_it(room: RoomSite) -> None:
    editor, note = room.browser("editor"), "The correction is not in this language yet:"
    assert note not in editor.get("stories/edit", file=FILE).text
    _, page = edit_story(editor, correction="It was ten.", do="save")
    assert f'{note} <a href="/room/stories/edit?file=content/one.ru.md#correction"' in page
    russian = editor.get("stories/edit", file="content/one.ru.md").text
    assert "the correction" in russian and note not in russian
    _, page = edit_story(editor, FILE, correction="It was ten.", withdrawn="Wrong.", do="save")
    assert "The story is not withdrawn in this language:" in page


def test_a_story_lists_who_approved_corrected_and_withdrew_it(room: RoomSite) -> None:
    writer, editor = room.browser("writer"), room.browser("editor")
    writer.post("stories/new", title="Dam", language="en")
    name = "content/dam.en.md"
    for changes in ({"body": "Text.", "state": "ready"}, {"correction": "66, not 60"}, {"withdrawn": "Wrong"}):
        assert edit_story(editor, name, **changes)[0] == 200
    room.newsroom.tick(BEFORE + HOUR / 2)
    page = room.browser("viewer").get("stories/dam").text
    for text in ("made the story ready", "corrected the story", "withdrew the story"):
        assert f"{text} (<span" in page
    assert "<bdi>writer@example.org</bdi>" in page and "<bdi>editor@example.org</bdi>" in page


def test_an_embargo_counts_down(room: RoomSite) -> None:
    now = room.newsroom.runtime.now()
    assert now == BEFORE
    room.newsroom.folder.write(FILE, "---\ntitle: One\nembargo: 2026-03-04T12:30\n---\nText\n")
    page = room.browser("editor").get("stories/edit", file=FILE).text
    assert re.search(r"Under embargo until Wed, 4 March 2026, 12:30: <time[^>]*>2 days 5 hours</time> left\.", page)


def test_a_story_under_its_folder_may_have_pictures(room: RoomSite, tmp_path: Path) -> None:
    room.newsroom.folder.write("content/deep/dam.en.md", "---\ntitle: Dam\ndraft: true\n---\nText\n")
    writer = room.browser("writer")
    fields = form_fields(writer.get("stories/edit", file="content/deep/dam.en.md").text) | {"do": "save", "alt": "Dam"}
    assert "Saved." in _upload(writer, fields, _photo((40, 40))).text


def test_a_picture_takes_the_place_of_one_that_is_taken_out(room: RoomSite) -> None:
    """The new picture went to the end of the text, and nothing named the other languages with the wrong one."""
    editor, folder = room.browser("editor"), room.newsroom.folder
    (folder.root / "content" / "media").mkdir(exist_ok=True)
    for name in ("a", "b"):
        (folder.root / "content" / "media" / f"{name}.jpg").write_bytes(_photo((40, 40)))
    for language in ("en", "ru"):
        images = "images: [{src: media/a.jpg, alt: A}, {src: media/b.jpg, alt: B}]\n"
        folder.write(f"content/one.{language}.md", f"---\ntitle: One\n{images}---\nText.\n")
    page = editor.get("stories/edit", file=FILE).text
    fields = form_fields(page) | {"do": "save", "alt": "A well", "picture.0.drop": "1", "correction": "Not this well."}
    notice = "Another picture is in this language:"
    assert notice not in page
    saved = _upload(editor, fields, _photo((40, 40))).text
    assert "title, summary and text are as they were" not in saved, "the mistake was in the picture"
    assert re.search(f'{notice} <a href="[^"]*one.ru.md#picture.0.alt"', saved)
    text = (folder.root / FILE).read_text()
    assert re.search(r'images: \[\{src: "media/well-pump-\w+.jpg", alt: "A well"\}, \{src: "media/b.jpg"', text), text
    assert text.endswith("---\nText.\n")


def test_the_form_shows_each_picture_small(room: RoomSite) -> None:
    editor = room.browser("editor")
    fields = form_fields(editor.get("stories/edit", file=FILE).text)
    page = _upload(editor, {**fields, "do": "picture", "alt": "A well"}, _photo()).text
    src = re.search(r'src="/room/(stories/thumbnail[^"]+)"', page)
    assert src is not None, "also before the story is saved"
    shown = editor.client.get("room/" + src[1].replace("&amp;", "&"))
    with Image.open(io.BytesIO(shown.content)) as picture:
        assert picture.format == "JPEG" and len(shown.content) <= 20_000
    for wrong in ("../tidings.yaml", "media/none.jpg", "https://example.org/a.jpg", 'x", y: "z'):
        assert editor.get("stories/thumbnail", file=FILE, picture=wrong).status_code == 404, wrong
    assert editor.get("stories/thumbnail", file="keys.json", picture="media/a.jpg").status_code == 404


def test_a_correction_alone_reminds_of_the_text(room: RoomSite) -> None:
    editor = room.browser("editor")
    _, page = edit_story(editor, correction="4.6, not 4.2.", state="ready")
    assert "title, summary and text are as they were" in page
    _, page = edit_story(editor, correction="4.6 billion, not 4.2.", state="ready", body="4.6 billion")
    assert "The next edition tells those who had the story" in page


def test_a_story_leads_to_its_page_on_this_server(room: RoomSite) -> None:
    page = room.browser("viewer").get("stories/one").text
    assert re.search(r'href="/en/[^"]+" rel="noreferrer">See its page', page)


def test_a_form_never_saves_a_text_without_its_end(room: RoomSite) -> None:
    """Long texts were cut: words of pictures between two previews, and a summary with every save."""
    editor, folder = room.browser("editor"), room.newsroom.folder
    alts = [f"Picture {number} shows a well. " * 70 + f"End {number}." for number in range(16)]
    images = ", ".join(f'{{src: "https://x.example/{number}.jpg", alt: "{alt}"}}' for number, alt in enumerate(alts))
    summary = "A long summary. " * 300 + "Its end."
    folder.write(FILE, f"---\ntitle: One\nsummary: {summary}\nimages: [{images}]\n---\nText.\n")
    page = editor.get("stories/edit", file=FILE).text
    for alt in ("First change", "Second change"):
        fields = form_fields(page) | {"picture.0.alt": alt, "do": "preview"}
        del fields["csrf"]
        page = editor.post("stories/edit", **fields).text
    assert edit_story_from(editor, page)[0] == 200
    text = read_story_file(room)
    assert f"summary: {summary}" in text and "Second change" in text
    assert [alt for alt in alts[1:] if alt not in text] == []


def test_a_text_that_is_too_long_comes_back_whole(room: RoomSite) -> None:
    editor = room.browser("editor")
    editor.client.headers["Sec-Fetch-Site"] = "same-origin"
    frozen = re.findall(r'name="frozen" value="([^"]*)"', editor.get("editions/daily/1").text)[0]
    note = "x" * 5_001 + "The end."
    answer = editor.post("editions/daily/1/change", **{"frozen": frozen, "note.en": note})
    assert answer.status_code == 422 and "too long (characters: 5,009, at most 5,000)" in answer.text
    assert note in answer.text and 'name="note.en"' in answer.text
