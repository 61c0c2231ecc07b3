"""HTML as people, editors and websites write it: a reader gets all of it, or a problem names the missing part."""

from __future__ import annotations

import time

import pytest

from tidings.sources.body import list_pictures, render_body, sanitise
from tidings.sources.html_tags import count_visible
from tidings.sources.links import LinkProblem, WebLinks

PAGE = "https://site.example/news/1"


def read(markup: str, *, is_markdown: bool = False) -> tuple[str, list[LinkProblem]]:
    links = WebLinks(PAGE)
    body = render_body(markup, links) if is_markdown else sanitise(markup, links)
    return body.html, [problem for problem in links.problems if "alt text" not in problem.message]


@pytest.mark.parametrize(
    "markup",
    [
        '<img src="data:image/gif;base64,R0lG" data-src="/real.png"><noscript><img src="/real.png"></noscript>',
        '<noscript><img src="/real.png"></noscript><img src="data:image/gif;base64,R0lG" data-src="/real.png">',
        '<img class="lazy" src="data:image/gif;base64,R0lG"><noscript><img src="/real.png"></noscript>',
        '<img data-lazy-src="/real.png" src="/blank.gif" width="1200">',
        '<img data-original="/real.png">',
        '<img srcset="/small.png 300w, /real.png 1200w,/huge.png 4000w">',
        '<img data-srcset="/real.png 2x" src="data:image/svg+xml,%3Csvg%3E">',
        '<picture><source data-srcset="/real.png 800w" type="image/png"><img class="lazy"></picture>',
        '<amp-img src="/real.png" width="600" height="400"></amp-img>',
    ],
)
def test_a_lazy_picture_has_its_real_address(markup: str) -> None:
    body, problems = read(markup)
    assert body.count("<img") == 1
    assert 'src="https://site.example/real.png"' in body
    assert "data:" not in body
    assert not problems


@pytest.mark.parametrize(
    ("frame", "page"),
    [
        ("https://www.youtube.com/embed/abcDEF12345?start=9", "https://www.youtube.com/watch?v=abcDEF12345&amp;t=9s"),
        ("//www.youtube-nocookie.com/embed/abcDEF12345", "https://www.youtube.com/watch?v=abcDEF12345"),
        ("https://player.vimeo.com/video/77?h=aa", "https://vimeo.com/77/aa"),
        ("https://www.dailymotion.com/embed/video/x8", "https://www.dailymotion.com/video/x8"),
        ("https://w.soundcloud.com/player/?url=https%3A//soundcloud.com/un/talk", "https://soundcloud.com/un/talk"),
        ("https://open.spotify.com/embed/episode/4x", "https://open.spotify.com/episode/4x"),
        ("https://www.google.com/maps/embed?pb=!1m3!2d76.9!3d43.2", "query=43.2%2C76.9"),
        ("https://www.openstreetmap.org/export/embed.html?bbox=1,2,3,4&marker=43.2,76.9", "mlat=43.2&amp;mlon=76.9"),
        (
            "https://docs.google.com/forms/d/e/1F/viewform?embedded=true",
            "https://docs.google.com/forms/d/e/1F/viewform",
        ),
        ("https://un.typeform.com/to/aB1", "https://un.typeform.com/to/aB1"),
        ("https://www.facebook.com/plugins/video.php?href=https%3A%2F%2Ffb.com%2Fv%2F1", "https://fb.com/v/1"),
        ("https://platform.twitter.com/embed/Tweet.html?id=12", "https://x.com/i/status/12"),
        ("https://www.instagram.com/reel/Cx/embed/", "https://www.instagram.com/reel/Cx/"),
        ("https://www.tiktok.com/embed/v2/7", "https://www.tiktok.com/@/video/7"),
        ("https://tube.example.org/videos/embed/9c9d-5e", "https://tube.example.org/w/9c9d-5e"),
        ("https://archive.org/embed/hearing-1", "https://archive.org/details/hearing-1"),
        ("https://vk.com/video_ext.php?oid=-1&id=5", "https://vk.com/video-1_5"),
        ("https://charts.example.org/7/", "https://charts.example.org/7/"),
    ],
)
def test_an_embed_becomes_a_link_with_its_title(frame: str, page: str) -> None:
    body, problems = read(f'<p>Before</p><iframe src="{frame}" title="Open day in Almaty"></iframe><p>After</p>')
    assert page in body
    assert "Open day in Almaty</a>" in body
    assert body.startswith("<p>Before</p>")
    assert body.endswith("<p>After</p>")
    assert [(problem.level, "link to" in problem.message) for problem in problems] == [("warning", True)]


def test_a_video_has_a_thumbnail_where_copies_are_kept() -> None:
    body, _ = read('<iframe src="https://www.youtube.com/embed/abcDEF12345" title="YouTube video player"></iframe>')
    assert '<img src="https://i.ytimg.com/vi/abcDEF12345/hqdefault.jpg" alt="YouTube">' in body


@pytest.mark.parametrize(
    "markup",
    [
        '<iframe data-src="https://player.vimeo.com/video/77" src="about:blank"></iframe>',
        '<iframe src="https://player.vimeo.com/video/77" /><p>More</p>',
        '<object data="https://player.vimeo.com/video/77"><embed src="https://player.vimeo.com/video/77"></object>',
        '<figure><oembed url="https://vimeo.com/77"></oembed></figure>',
        '<div data-oembed-url="https://vimeo.com/77"><iframe src="https://player.vimeo.com/video/77"></iframe></div>',
        '<noscript><iframe src="https://player.vimeo.com/video/77"></iframe></noscript>',
    ],
)
def test_embeds_in_other_forms_are_one_link(markup: str) -> None:
    body, _ = read(markup)
    assert body.count('href="https://vimeo.com/77"') == 1


def test_advertising_and_buttons_are_no_embeds() -> None:
    counter = '<iframe src="https://www.googletagmanager.com/ns.html?id=1"></iframe>'
    assert read(f'{counter}<iframe src="https://x.example/" width="1">') == ("", [])


def test_a_player_has_a_link_for_those_who_see_none() -> None:
    body, problems = read('<video poster="/a.jpg"><source src="/a.mp4">Your browser is old.</video><p>After</p>')
    assert '<video poster="https://site.example/a.jpg" controls="">' in body
    assert '<a href="https://site.example/a.mp4">a.mp4</a>' in body
    assert "old" not in body
    assert "<p>After</p>" in body
    assert not problems


@pytest.mark.parametrize(
    ("markup", "kept"),
    [
        ("The project <<Horizon>> opens.", "&lt;&lt;Horizon&gt;&gt;"),
        ("Ask <Name Surname>.", "&lt;Name Surname&gt;"),
        ("<div>Write to <office@un.example> or see <www.un.example></div>", "&lt;office@un.example&gt; or see"),
        ("<div>See <https://un.example/a></div>", "&lt;https://un.example/a&gt;"),
        ("Prices rose <5 and >3 per cent <b>now</b>", "&lt;5 and &gt;3"),
    ],
)
def test_angle_brackets_that_are_no_tags_stay_text(markup: str, kept: str) -> None:
    body, _ = read(markup, is_markdown=True)
    assert kept in body


def test_elements_of_other_systems_leave_their_text() -> None:
    body, problems = read("<center>A</center><o:p>B</o:p><my-box>C</my-box><citation>D</citation><font size=2>E</font>")
    assert body == "<div>A</div>BCDE"
    assert not problems


@pytest.mark.parametrize(
    ("markup", "words", "mend"),
    [
        (
            "![x][i]\n\n[i]: <data:image/png;base64,iVBORw0KGgo" + "A" * 300 + ">",
            "inside the text",
            "save it as a file",
        ),
        (r"![x](C:\pictures\a.png)", r"C:\pictures\a.png", "put the file beside the item"),
        ("![x](file:///home/a.png)", "file:///home/a.png", "put the file beside the item"),
        ("[x](blob:https://a/1)", "blob:https://a/1", "put the file beside the item"),
        ("[x](ftp://a.example/b)", "ftp://a.example/b", "https address"),
    ],
)
def test_an_address_that_nobody_can_open_is_reported(markup: str, words: str, mend: str) -> None:
    body, problems = read(markup, is_markdown=True)
    assert "file:" not in body
    assert len(problems) == 1
    assert words in problems[0].message
    assert mend in problems[0].mend


def test_an_emoji_picture_is_text() -> None:
    wordpress = (
        '<p><img class="wp-smiley" alt="🎉" style="height:1em" src="https://s.w.org/images/core/emoji/1f389.png"> Hi'
    )
    assert read(wordpress)[0] == "<p>🎉 Hi</p>"
    assert read('<p><img src="/party.svg" alt="🎉🇰🇿" width="20"></p>')[0] == "<p>🎉🇰🇿</p>"
    assert "<img" in read('<p><img src="/smiley-children.jpg" alt="Children" width="900"></p>')[0]


@pytest.mark.parametrize(
    "pixel",
    [
        '<img src="/t" width="1px" height="1px">',
        '<img src="/t" width="1">',
        '<img src="/t" style="width: 1px; height:1px">',
        '<img src="/t" style="display:none">',
        '<div style="display: none;"><img src="/t"></div>',
        '<img src="https://www.facebook.com/tr?id=1&amp;noscript=1">',
        '<noscript><img src="/t" height="1" width="1" style="display:none"></noscript>',
    ],
)
def test_a_pixel_is_no_picture(pixel: str) -> None:
    body, problems = read(f"<p>A</p>{pixel}<p>B</p>")
    assert "<img" not in body
    assert "<p>B</p>" in body
    assert not problems


def test_what_only_a_script_would_show_is_reported() -> None:
    _, problems = read(
        '<form><label>Name</label><input name="n"></form><drupal-media data-entity-uuid="1"></drupal-media>'
        '<svg role="img" aria-label="Visitors by month"><path d="M0"/></svg><video></video>'
    )
    messages = " ".join(problem.message for problem in problems)
    assert all(word in messages for word in ("form", "drupal-media", "Visitors by month", "<video>"))


def test_html_without_its_ends_keeps_the_story() -> None:
    body, _ = read("<p>One<!-- a note without an end <p>Two</p><iframe src='https://a.example/'>Three <script>")
    assert "Two" in body
    assert "Three" in body


def test_loss_by_the_sanitiser_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.sources.body.TAGS", {"p"})
    _, problems = read('<p>One <a href="https://a.example/">two</a></p>')
    assert ["links" in problem.message for problem in problems] == [True]


def test_counts_ignore_white_space_and_entities() -> None:
    assert count_visible('<p>a &amp; b</p>\n<img src="x"><a title="t" href="y">c</a>') == (4, 1, 1)


@pytest.mark.parametrize(
    "piece",
    [
        '<a "',
        "<!--",
        "<svg>",
        "<iframe ",
        "<noscript>",
        "<video>",
        '<img srcset=",,,,',
        "<x a=",
        "<select>",
        "<p title='",
    ],
)
def test_hostile_html_takes_little_time(piece: str) -> None:
    started = time.process_time()
    read(piece * 4_000)
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("![[well 1.png|A well]]", '<img src="https://site.example/news/well%201.png" alt="A well">'),
        ('{{< figure src="/a.png" alt="A well" >}}', '<img src="https://site.example/a.png" alt="A well">'),
        ("{{< youtube abcDEF12345 >}}", 'href="https://www.youtube.com/watch?v=abcDEF12345"'),
        ('{{< vimeo id="77" title="Open day" >}}', '<a href="https://vimeo.com/77">Open day</a>'),
        ('{% include youtube.html id="abcDEF12345" %}', 'href="https://www.youtube.com/watch?v=abcDEF12345"'),
        ("[youtube https://youtu.be/abcDEF12345]", 'href="https://www.youtube.com/watch?v=abcDEF12345"'),
        ("[caption id=x]Text[/caption]", "<p>Text</p>"),
        ("- {{video https://vimeo.com/77?a=%20}}", 'href="https://vimeo.com/77'),
        ("![Open day](https://youtu.be/abcDEF12345)", 'href="https://www.youtube.com/watch?v=abcDEF12345"'),
        ("![[https://a.example/w.png|A well]]", '<img src="https://a.example/w.png" alt="A well">'),
        ('{{< image src="/a.png" alt="A well" >}}', '<img src="https://site.example/a.png" alt="A well">'),
        ('{{< video src="/v.mp4" title="Open day" >}}', '<a href="https://site.example/v.mp4">Open day</a>'),
        (
            "![A map](https://datawrapper.dwcdn.net/AbC12/full.png)",
            '<img src="https://datawrapper.dwcdn.net/AbC12/full.',
        ),
        ("`{{< youtube abcDEF12345 >}}`", "<code>{{&lt; youtube abcDEF12345 &gt;}}</code>"),
        ("See [1] and {braces} and [x](https://a.example/)", "See [1] and {braces} and"),
    ],
)
def test_marks_of_other_programs_are_what_they_mean(text: str, kept: str) -> None:
    body, problems = read(text, is_markdown=True)
    assert kept in body
    assert all("is a link to" in problem.message for problem in problems)


@pytest.mark.parametrize(
    "text", ["[[Other note]]", "{{< chart 5 >}}", "{% assign x %}", '[gallery ids="1"]', "![[note.md]]"]
)
def test_marks_that_mean_nothing_here_are_named(text: str) -> None:
    _, problems = read(text, is_markdown=True)
    assert ["means nothing here" in problem.message for problem in problems] == [True]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Meet at <time> in <address>.", "Meet at &lt;time&gt; in &lt;address&gt;."),
        ("See the <link to the report>.", "See the &lt;link to the report&gt;."),
        ("Under the <title of the project>.", "Under the &lt;title of the project&gt;."),
        ("if a<b and c>d", "if a&lt;b and c&gt;d"),
        ("<p align>By <time datetime>noon</time></p>", "<p>By <time datetime="),
        ("See <Header>, <Summary> and <Select one>.", "See &lt;Header&gt;, &lt;Summary&gt; and &lt;Select one&gt;."),
        (
            "The <header>, then the <script> and (<main>) of it.",
            "&lt;header&gt;, then the &lt;script&gt; and (&lt;main&gt;)",
        ),
        ("<p>Cut off</p><section>More <article><p>Text", "<section>More <article><p>Text"),
        ("A <b>bold</b> word", "A <b>bold</b> word"),
        ("<title></title>Text <script nomodule>x()</script>", "Text"),
    ],
)
def test_the_name_of_a_tag_may_be_a_word_to_fill_in(written: str, shown: str) -> None:
    assert shown in read(written)[0]


def test_an_element_that_only_a_script_fills_is_no_loss() -> None:
    values = '{"url":"https://x.com/ada/status/9","full_text":"Clean water"}'.replace('"', "&quot;")
    body, problems = read(f'<div class="tweet" data-attrs="{values}" data-component-name="Twitter2ToDOM"></div>')
    assert '<a href="https://x.com/ada/status/9">Clean water</a>' in body
    assert len(problems) == 1
    body, [problem] = read('<div class="poll" data-attrs="{}" data-component-name="PollToDOM"></div>')
    assert "only a script could show it" in problem.message
    assert not read('<figure data-component-name="Image2ToDOM"><img src="/a.png" alt="A"></figure>')[1]


def test_thousands_of_nested_players_are_one_link() -> None:
    address = "https://cdn.embedly.com/widgets/media?url=" * 3_000 + "https://youtu.be/abcDEF12345"
    body, [problem] = read(f'<iframe src="{address}"></iframe>')
    assert body.count("<a ") == 1
    assert "Embedly" in problem.message


@pytest.mark.parametrize(
    ("address", "page", "label"),
    [
        (
            "https://cdn.embedly.com/widgets/media.html?src=x&url=https%3A%2F%2Fyoutu.be%2FabcDEF12345",
            "watch?v=abc",
            "Y",
        ),
        ("https://cdn.iframe.ly/api/iframe?url=https%3A%2F%2Fvimeo.com%2F77&key=1", "https://vimeo.com/77", "Vimeo"),
        ("https://twitter.com/ada/status/9?ref_src=tw", "https://twitter.com/ada/status/9", "X"),
        ("/media/oembed?url=https%3A//youtu.be/abcDEF12345&hash=x", "watch?v=abc", "YouTube"),
    ],
)
def test_a_player_within_a_service_of_players_is_found(address: str, page: str, label: str) -> None:
    body, [problem] = read(f'<iframe src="{address}"></iframe>')
    assert page in body
    assert f">{label}" in body
    assert problem.mend.startswith("give it a title")


@pytest.mark.parametrize(
    "text",
    [
        '<TabItem value="a" label="Wells">\nShown\n</TabItem>',
        '<Card title="Wells" href="/wells">Shown</Card>',
        'Shown <Button href="/wells">Read</Button>',
        'Shown <YouTube id="abcDEF12345" />',
    ],
)
def test_a_component_lost_its_title_or_address(text: str) -> None:
    body, [problem] = read(text, is_markdown=True)
    assert "Shown" in body
    assert "only a script could show it" in problem.message


def test_a_drawing_written_as_code_is_told() -> None:
    body, [problem] = read("```mermaid\ngraph TD; A-->B\n```\n\n```python\nx = 1\n```", is_markdown=True)
    assert "graph TD" in body
    assert (problem.value, problem.level) == ("```mermaid", "warning")


def test_a_hidden_placeholder_of_a_player_is_no_lost_picture() -> None:
    assert read('<p>A</p><img src="" alt="audio-thumbnail" class="kg-audio-thumbnail kg-audio-hide">') == (
        "<p>A</p>",
        [],
    )
    assert not read('<p>A</p><input type="range" max="100">')[1]


def test_a_moving_picture_of_amp_is_a_picture() -> None:
    assert 'src="https://site.example/a.gif"' in read('<amp-anim src="/a.gif" alt="Waves"></amp-anim>')[0]


@pytest.mark.parametrize(
    ("markup", "page"),
    [
        (
            '<div class="flourish-embed" data-src="visualisation/12"></div>',
            "https://public.flourish.studio/visualisation/12/",
        ),
        ('<div class="infogram-embed" data-id="4b1c"></div>', "https://infogram.com/4b1c"),
        (
            '<div class="calendly-inline-widget" data-url="https://calendly.com/un/30"></div>',
            "https://calendly.com/un/30",
        ),
        ('<script src="https://form.jotform.com/jsform/24"></script>', "https://form.jotform.com/24"),
        ('<script src="//datawrapper.dwcdn.net/AbC12/embed.js"></script>', "https://datawrapper.dwcdn.net/AbC12/"),
        ('<script async data-telegram-post="un/5" src="https://telegram.org/js/w.js"></script>', "https://t.me/un/5"),
        (
            '<blockquote data-text-post-permalink="https://www.threads.net/@un/post/C"></blockquote>',
            "https://threads.net/@un/post/C",
        ),
    ],
)
def test_what_a_script_would_embed_is_a_link(markup: str, page: str) -> None:
    links = WebLinks(PAGE)
    assert f'<a href="{page}">' in sanitise(markup, links).html
    assert len(links.problems) == 1


def test_a_script_that_may_write_is_named_and_a_counter_is_not() -> None:
    links = WebLinks(PAGE)
    sanitise('<script src="https://widgets.un.example/w.js"></script><script>document.write("Closed")</script>', links)
    assert [problem.message for problem in links.problems] == [
        "what a script of widgets.un.example shows is missing",
        "what a script of this page shows is missing",
    ]
    links = WebLinks(PAGE)
    sanitise('<script src="https://www.googletagmanager.com/gtag/js"></script><script src="/own.js"></script>', links)
    assert not links.problems


GIF = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


@pytest.mark.parametrize(
    "markup",
    [
        f'<img src="{GIF}" data-any-name="https://un.example/w.jpg" alt="A">',
        f'<img src="{GIF}" data-meta=\'{{"id":1,"src":"https:\\/\\/un.example\\/w.jpg"}}\' alt="A">',
        f'<img src="{GIF}" class="lazy"><noscript>&lt;img src="https://un.example/w.jpg" alt="A"&gt;</noscript>',
        '<img src="https://un.example/60/w.jpg"><noscript><img src="https://un.example/w.jpg" alt="A"></noscript>',
        '<div role="img" aria-label="A" style="background: #fff url(\'https://un.example/w.jpg\') center"></div>',
        '<object type="image/jpeg" data="https://un.example/w.jpg" aria-label="A" title="A"></object>',
    ],
)
def test_a_picture_is_found_where_scripts_look_for_it(markup: str) -> None:
    links = WebLinks(PAGE)
    assert [picture["src"] for picture in list_pictures(sanitise(markup, links).html)] == ["https://un.example/w.jpg"]
    assert not links.problems


def test_a_link_that_only_holds_a_drawing_keeps_its_name() -> None:
    body = sanitise('<a href="https://un.example/" aria-label="Report"><svg><use href="#r"/></svg></a>', WebLinks(PAGE))
    assert body.html == '<a href="https://un.example/">Report</a>'


@pytest.mark.parametrize(
    ("markup", "page"),
    [
        (
            '<iframe src="https://datawrapper.dwcdn.net/AbC12/3/" style="width: 0; min-width: 100%"></iframe>',
            "https://datawrapper.dwcdn.net/AbC12/3/",
        ),
        ('<iframe data-cookie-src="//www.youtube.com/embed/abcDEF12345"></iframe>', "youtube.com/watch?v=abcDEF12345"),
        ('<iframe uc-src="https://player.vimeo.com/video/77"></iframe>', "https://vimeo.com/77"),
        (
            '<iframe data-suppressedsrc="https://player.vimeo.com/video/77" src="//cdn.iubenda.com/e.html"></iframe>',
            "https://vimeo.com/77",
        ),
        (
            '<div data-settings="{&quot;a&quot;:&quot;https:\\/\\/youtu.be\\/abcDEF12345&quot;}"><p></p></div>',
            "youtube.com/watch?v=abcDEF12345",
        ),
        (
            '<div data-html="&lt;iframe src=&quot;//rutube.ru/play/embed/0a1b2c&quot;&gt;"></div>',
            "https://rutube.ru/video/0a1b2c/",
        ),
        ('<div data-videolazy-type="youtube" data-videolazy-id="abcDEF12345"></div>', "watch?v=abcDEF12345"),
        ('<div class="vimeo_player" videoID="77"></div>', "https://vimeo.com/77"),
        ('<a href="#" data-video="https://youtu.be/abcDEF12345"><img src="/p.jpg" alt="x"></a>', "watch?v=abcDEF12345"),
        (
            '<script type="text/template" data-borlabs-cookie-content="1">'
            "PGlmcmFtZSBzcmM9Imh0dHBzOi8vcGxheWVyLnZpbWVvLmNvbS92aWRlby83NyI+PC9pZnJhbWU+</script>",
            "https://vimeo.com/77",
        ),
        ('<iframe srcdoc="<a href=https://youtu.be/abcDEF12345>Rivers</a>"></iframe>', "https://youtu.be/abcDEF12345"),
        ('<div id="vk_post_-1_25"></div>', "https://vk.com/wall-1_25"),
        ('<fb:video href="https://www.facebook.com/un/videos/5/"></fb:video>', "facebook.com/un/videos/5/"),
        (
            "<param name='static_image' value='https:&#47;&#47;public.tableau.com/static/images/We/Wells/Map/1.png'>",
            "https://public.tableau.com/views/Wells/Map",
        ),
        ('<tableau-viz src="https://public.tableau.com/views/Wells/Map"></tableau-viz>', "views/Wells/Map"),
        (
            '<script src="https://polls.example/p.js"></script><noscript><a href="https://polls.example/5">Vote</a></noscript>',
            "https://polls.example/5",
        ),
        ('<blockquote class="twitter-tweet"><a href="https://x.com/un/status/5"></a></blockquote>', '5">X</a>'),
        ('<div class="wp-block-embed__wrapper">\nhttps://youtu.be/abcDEF12345\n</div>', "watch?v=abcDEF12345"),
    ],
)
def test_a_player_that_waits_for_a_script_was_lost(markup: str, page: str) -> None:
    body, problems = read(f"<p>Before</p>{markup}<p>After</p>")
    assert page in body
    assert not [problem for problem in problems if "left out" in problem.message or "missing" in problem.message]


@pytest.mark.parametrize(
    ("frame", "page"),
    [
        ("https://rutube.ru/play/embed/0a1b/?p=Xy_z", "https://rutube.ru/video/private/0a1b/?p=Xy_z"),
        ("https://www.google.com/maps/embed/v1/directions?key=k&origin=A&destination=B", "dir/?api=1&amp;origin=A"),
        ("https://docs.google.com/gview?url=https://un.example/r.pdf&embedded=true", "https://un.example/r.pdf"),
        ("https://view.officeapps.live.com/op/embed.aspx?src=https%3A%2F%2Fun.example%2Fb.xlsx", "https://un.example/b.xlsx"),
        ("https://t.me/s/un/5?embed=1", "https://t.me/un/5"),
        ("https://www.instagram.com/un/p/Cx/embed/captioned/", "https://www.instagram.com/p/Cx/"),
        ("https://open.spotify.com/intl-fr/embed/show/4x", "https://open.spotify.com/show/4x"),
        ("https://prezi.com/p/embed/ab_c/", "https://prezi.com/p/ab_c/"),
        ("https://geo.dailymotion.com/player.html?playlist=x7", "https://www.dailymotion.com/playlist/x7"),
        ("https://yandex.ru/map-widget/v1/?um=constructor%3Aab&source=constructor", "maps/?um=constructor:ab"),
    ],
)  # fmt: skip
def test_a_frame_led_to_a_page_that_opens_nothing(frame: str, page: str) -> None:
    assert page in read(f'<iframe src="{frame}"></iframe>')[0]


@pytest.mark.parametrize(
    "markup",
    [
        '<div class="lazy" data-bg="/real.png" role="img" aria-label="A well"></div>',
        '<svg viewBox="0 0 9 9" aria-label="A well"><image href="/real.png"/></svg>',
        '<img src="/img/spacer.gif" file="https://site.example/real.png" alt="A well">',
        '<img src="/static/preload.gif" realsrc="https://site.example/real.png" alt="A well">',
        '<img nitro-lazy-src="https://site.example/real.png" src="data:image/svg+xml;x" alt="A well">',
        '<img aria-hidden="true" src="data:image/jpeg;base64,/9j/4AAQ" alt=""><img data-src="/real.png" alt="A well">',
        '<noscript><img alt="A well" src="/real.png"></noscript><img alt="" src="/60/real.png?q=20">',
        '<img src="https:\\\\site.example\\real.png" alt="A well">',
    ],
)
def test_a_picture_under_another_name_was_lost_or_doubled(markup: str) -> None:
    body, problems = read(markup)
    assert body.count("<img") == 1
    assert '<img src="https://site.example/real.png" alt="A well">' in body
    assert not problems


def test_a_picture_of_the_design_is_named() -> None:
    body, problems = read('<div class="hero" style="background-image:url(/hall.jpg)"></div>')
    assert "<img" not in body
    assert ["hall.jpg" in problem.message for problem in problems] == [True]


def test_a_moving_emoji_of_gmail_was_the_storys_picture() -> None:
    body, _ = read('<img data-emoji="🎉" alt="🎉" src="https://fonts.gstatic.com/s/e/notoemoji/1f389/72.png"> Party')
    assert body == "🎉 Party"


def test_a_survey_that_an_inline_script_loads_is_named() -> None:
    script = 'var c=document.createElement("script");c.src="https://widget.survey.example/w.js";'
    assert ["survey.example" in problem.message for problem in read(f"<script>{script}</script>")[1]] == [True]
