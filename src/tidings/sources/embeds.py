"""Embeds of other services: the page that a player, map, form or post shows, and whether a reader would miss it."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

_ID = r"([A-Za-z0-9_-]{1,120})"


@dataclass(frozen=True, slots=True)
class Embed:
    """`url` is a page that a reader can open, `service` its name for the link, `thumbnail` a picture or ''."""

    url: str
    service: str
    thumbnail: str = ""


_Query = Mapping[str, str]
_Build = Callable[["re.Match[str]", _Query], str]


def _without(*names: str) -> _Build:
    """Return the same address without these parameters, which ask for the embedded form."""

    def build(match: re.Match[str], query: _Query) -> str:
        kept = urlencode({name: value for name, value in query.items() if name not in names})
        return f"https://{match.string}" + (f"?{kept}" if kept else "")

    return build


def _to(template: str) -> _Build:
    """Fill the groups of the match into an address. A parameter of the query is written as {name}."""

    def build(match: re.Match[str], query: _Query) -> str:
        url = match.expand(template)
        for name in re.findall(r"\{(\w+)\}", url):
            if name not in query:
                return ""
            url = url.replace(f"{{{name}}}", quote(query[name], safe=":/@,"))
        return url

    return build


def _named(name: str) -> _Build:
    """Return the whole address that a parameter holds."""
    return lambda match, query: query.get(name, "") if query.get(name, "").startswith("http") else ""


def _youtube(match: re.Match[str], query: _Query) -> str:
    if match[1] == "videoseries":
        return f"https://www.youtube.com/playlist?list={quote(query['list'])}" if "list" in query else ""
    start = re.match(r"\d+", query.get("start", ""))
    return f"https://www.youtube.com/watch?v={match[1]}" + (f"&t={start[0]}s" if start else "")


def _vimeo(match: re.Match[str], query: _Query) -> str:
    return f"https://vimeo.com/{match[1]}" + (f"/{quote(query['h'])}" if "h" in query else "")


def _rutube(match: re.Match[str], query: _Query) -> str:
    # A private video opens only with its key.
    private = f"private/{match[1]}/?p={quote(query['p'])}" if "p" in query else f"{match[1]}/"
    return f"https://rutube.ru/video/{private}"


def _yandex_map(match: re.Match[str], query: _Query) -> str:
    name = next((name for name in ("um", "ll") if name in query), "")
    return f"https://yandex.{match[1]}/maps/?{name}={quote(query[name], safe=':,')}" if name else ""


def _google_map(match: re.Match[str], query: _Query) -> str:
    """Find the place in the parameter `pb` of an embedded map: `!2d` is the longitude, `!3d` the latitude."""
    # The embedded form itself opens only in a frame.
    if "origin" in query and "destination" in query:
        ends = urlencode({name: query[name] for name in ("origin", "destination")})
        return f"https://www.google.com/maps/dir/?api=1&{ends}"
    place = query.get("q") or query.get("query") or query.get("center") or query.get("location", "")
    if not place:
        parts = query.get("pb", "")
        name = re.search(r"!1s0x[0-9a-f]+:0x[0-9a-f]+!2s([^!]+)", parts)
        at = re.search(r"!2d(-?[\d.]+)!3d(-?[\d.]+)", parts)
        place = name[1] if name else f"{at[2]},{at[1]}" if at else ""
    return f"https://www.google.com/maps/search/?api=1&query={quote(place)}" if place else ""


def _open_street_map(match: re.Match[str], query: _Query) -> str:
    latitude, _, longitude = query.get("marker", "").partition(",")
    if latitude and longitude:
        return f"https://www.openstreetmap.org/?mlat={quote(latitude)}&mlon={quote(longitude)}"
    return f"https://www.openstreetmap.org/?bbox={quote(query['bbox'], safe=',')}" if "bbox" in query else ""


def _dailymotion(match: re.Match[str], query: _Query) -> str:
    name = next((name for name in ("video", "playlist") if name in query), "")
    return f"https://www.dailymotion.com/{name}/{quote(query[name])}" if name else ""


_VIDEO = r"youtube(?:-nocookie)?\.com/(?:embed|v|e|shorts|live)/"
# Each rule: the service, its address (host without www. or m., and path), and its page.
_RULES: tuple[tuple[str, re.Pattern[str], _Build], ...] = tuple(
    (service, re.compile(pattern), build)
    for service, pattern, build in (
        ("YouTube", _VIDEO + _ID, _youtube),
        ("YouTube", r"youtube\.com/watch$", _to("https://www.youtube.com/watch?v={v}")),
        ("YouTube", r"youtube\.com/embed/?$", _to("https://www.youtube.com/playlist?list={list}")),
        ("YouTube", r"youtu\.be/" + _ID, _youtube),
        ("Vimeo", r"player\.vimeo\.com/video/(\d+)", _vimeo),
        ("Vimeo", r"vimeo\.com/\d+", _without()),
        ("Vimeo", r"vimeo\.com/event/(\d+)", _to(r"https://vimeo.com/event/\1")),
        ("Dailymotion", r"dailymotion\.com/embed/video/" + _ID, _to(r"https://www.dailymotion.com/video/\1")),
        ("Dailymotion", r"dailymotion\.com/(?:video|playlist)/", _without()),
        ("Dailymotion", r"geo\.dailymotion\.com/player", _dailymotion),
        ("SoundCloud", r"w\.soundcloud\.com/player", _named("url")),
        ("Spotify", r"open\.spotify\.com/(?:intl-\w+/)?embed(?:-podcast)?/(\w+)/" + _ID, _to(r"https://open.spotify.com/\1/\2")),
        ("Apple", r"embed\.(podcasts|music)\.apple\.com/(.+)", _to(r"https://\1.apple.com/\2")),
        ("Google Maps", r"(?:maps\.)?google\.[a-z.]{2,6}/maps/d/", _to("https://www.google.com/maps/d/viewer?mid={mid}")),
        ("Google Maps", r"(?:maps\.)?google\.[a-z.]{2,6}/maps", _google_map),
        ("OpenStreetMap", r"openstreetmap\.org/export/embed", _open_street_map),
        ("Yandex Maps", r"yandex\.(\w+)/map-widget/v1", _yandex_map),
        ("Yandex Music", r"music\.yandex\.(\w+)/iframe/(.+)", _to(r"https://music.yandex.\1/\2")),
        ("Google Docs", r"docs\.google\.com/(?:gview|viewer)", _named("url")),
        ("Office", r"view\.officeapps\.live\.com/op/(?:embed|view)\.aspx", _named("src")),
        ("Google Forms", r"docs\.google\.com/forms/", _without("embedded", "usp")),
        ("Google Forms", r"forms\.gle/", _without()),
        ("Google Docs", r"docs\.google\.com/presentation/d/(.+)/embed", _to(r"https://docs.google.com/presentation/d/\1/pub")),
        ("Google Docs", r"docs\.google\.com/", _without("embedded", "widget", "rm")),
        ("Google Drive", r"drive\.google\.com/file/d/([^/]+)/", _to(r"https://drive.google.com/file/d/\1/view")),
        ("Microsoft Forms", r"forms\.(?:office|microsoft|cloud\.microsoft)(?:\.com)?/", _without("embed")),
        ("Typeform", r"[a-z0-9-]+\.typeform\.com/to/" + _ID, _without("typeform-embed", "embed-hide-headers")),
        ("Facebook", r"facebook\.com/plugins/(?:post|video|comment_embed)", _named("href")),
        ("X", r"platform\.(?:twitter|x)\.com/embed/", _to("https://x.com/i/status/{id}")),
        ("X", r"(?:x|twitter)\.com/[^/]+(?:/web)?/status/\d+", _without("ref_src", "ref_url", "s", "t")),
        ("Threads", r"threads\.(?:net|com)/@[^/]+/post/", _without()),
        ("Datawrapper", r"datawrapper\.dwcdn\.net/\w+", _without()),
        ("Infogram", r"(?:e\.)?infogram\.com/", _without()),
        ("Calendly", r"calendly\.com/", _without("embed_domain", "embed_type")),
        ("Jotform", r"(?:\w+\.)?jotform\.com/", _without()),
        ("Buzzsprout", r"buzzsprout\.com/", _without("iframe", "player", "container_id")),
        ("Brightcove", r"players\.brightcove\.net/", lambda match, query: ""),
        ("Wistia", r"fast\.wistia\.(?:net|com)/embed/(?:iframe|medias)/(\w+)", _to(r"https://fast.wistia.net/embed/iframe/\1")),
        ("Canva", r"canva\.com/design/([^/]+)/view|canva\.com/design/", _without("embed")),
        ("Prezi", r"prezi\.com/p/embed/([\w-]+)", _to(r"https://prezi.com/p/\1/")),
        ("Prezi", r"prezi\.com/(?:v/)?embed/([\w-]+)", _to(r"https://prezi.com/view/\1/")),
        ("Dzen", r"dzen\.ru/embed/([\w-]+)", _to(r"https://dzen.ru/embed/\1")),
        ("2GIS", r"widgets\.2gis\.\w+/", lambda match, query: ""),
        ("Power BI", r"app\.powerbi\.com/", lambda match, query: ""),
        ("ArcGIS", r"[\w.-]+\.arcgis\.com/|arcg\.is/", lambda match, query: ""),
        ("Tableau", r"public\.tableau\.com/views/([^/]+/[^/]+)", _to(r"https://public.tableau.com/views/\1")),
        ("UN Web TV", r"webtv\.un\.org/(?:(\w\w)/)?embed/", lambda match, query: ""),
        ("Yandex Maps", r"yandex\.(\w+)/maps/", _without()),
        ("Facebook", r"facebook\.com/.+/(?:posts|videos|photos)/", _without()),
        ("X", r"twitframe\.com/show", _named("url")),
        ("Instagram", r"instagram\.com/(?:[\w.]+/)?(p|reel|tv)/" + _ID, _to(r"https://www.instagram.com/\1/\2/")),
        ("TikTok", r"tiktok\.com/@[^/]+/(?:video|photo)/\d+", _without()),
        ("TikTok", r"tiktok\.com/(?:embed(?:/v\d)?|player/v\d)/(\d+)", _to(r"https://www.tiktok.com/@/video/\1")),
        ("Internet Archive", r"archive\.org/embed/([^/]+)", _to(r"https://archive.org/details/\1")),
        ("LinkedIn", r"linkedin\.com/embed/feed/update/(.+)", _to(r"https://www.linkedin.com/feed/update/\1")),
        ("Telegram", r"t\.me/s/([^/]+/\d+)", _to(r"https://t.me/\1")),
        ("Telegram", r"t\.me/[^/]+/\d+", _without("embed", "mode", "dark", "userpic", "single")),
        ("VK", r"(?:vk\.com|vkvideo\.ru)/video_ext\.php", _to("https://vk.com/video{oid}_{id}")),
        ("VK", r"vk\.com/wall-?\d+_\d+", _without()),
        ("Rutube", r"rutube\.ru/play/embed/" + _ID, _rutube),
        ("Aparat", r"aparat\.com/v/", _without()),
        ("Aparat", r"aparat\.com/video/video/embed/\w*hash/(\w+)", _to(r"https://www.aparat.com/v/\1")),
        ("OK", r"ok\.ru/videoembed/(\d+)", _to(r"https://ok.ru/video/\1")),
        ("Mixcloud", r"(?:player-widget\.)?mixcloud\.com/widget/", _to("https://www.mixcloud.com{feed}")),
        ("Twitch", r"(?:player|clips)\.twitch\.tv/embed", _to("https://clips.twitch.tv/{clip}")),
        ("Twitch", r"player\.twitch\.tv/", _to("https://www.twitch.tv/{channel}")),
        ("Bilibili", r"player\.bilibili\.com/", _to("https://www.bilibili.com/video/{bvid}")),
        ("Youku", r"player\.youku\.com/embed/([\w=]+)", _to(r"https://v.youku.com/v_show/id_\1.html")),
        ("Streamable", r"streamable\.com/(?:e|o)/" + _ID, _to(r"https://streamable.com/\1")),
        ("TED", r"embed(?:-ssl)?\.ted\.com/(.+)", _to(r"https://www.ted.com/\1")),
        ("Issuu", r"e\.issuu\.com/embed", _to("https://issuu.com/{u}/docs/{d}")),
        ("Scribd", r"scribd\.com/embeds/(\d+)", _to(r"https://www.scribd.com/document/\1")),
        ("Flourish", r"flo\.uri\.sh/(visualisation|story)/(\d+)", _to(r"https://public.flourish.studio/\1/\2/")),
        ("Loom", r"loom\.com/embed/" + _ID, _to(r"https://www.loom.com/share/\1")),
        ("Pinterest", r"assets\.pinterest\.com/ext/embed", _to("https://www.pinterest.com/pin/{id}/")),
        ("Bluesky", r"embed\.bsky\.app/embed/([^/]+)/app\.bsky\.feed\.post/" + _ID, _to(r"https://bsky.app/profile/\1/post/\2")),
        ("Embedly", r"cdn\.embedly\.com/widgets/media", _named("url")),
        ("Iframely", r"(?:cdn\.)?iframe\.ly/api/iframe|if-cdn\.com/api/iframe", _named("url")),
        ("PeerTube", r"([a-z0-9.-]+(?::\d+)?)/(?:videos/embed|video-playlists/embed)/" + _ID, _to(r"https://\1/w/\2")),
        ("Mastodon", r"([a-z0-9.-]+)/(@[\w.-]+(?:@[\w.-]+)?)/(\d+)/embed", _to(r"https://\1/\2/\3")),
    )
)  # fmt: skip
_WRAPPERS = ("Embedly", "Iframely", "Google Docs", "Office")
"""Services that show a page or a file of another site, whose address they name."""
PLAYERS = (
    "YouTube", "Vimeo", "Dailymotion", "SoundCloud", "Spotify", "Apple", "VK", "Rutube", "OK", "TikTok", "Wistia",
    "PeerTube", "Datawrapper", "Flourish", "Infogram", "Tableau", "Aparat", "Google Maps", "Power BI",
)  # fmt: skip
"""Services whose address in any attribute of an element means that a script shows it there."""
_THUMBNAILS = {
    "YouTube": (re.compile(r"[?&]v=" + _ID), "https://i.ytimg.com/vi/{}/hqdefault.jpg"),
    "Dailymotion": (re.compile(r"/video/" + _ID), "https://www.dailymotion.com/thumbnail/video/{}"),
}
# Advertising, counting, buttons and comment boxes: no part of the story.
_NOT_CONTENT = re.compile(
    r"googletagmanager\.com/|doubleclick\.net/|googlesyndication\.com/|google\.com/recaptcha|google-analytics\.com/"
    r"|facebook\.com/(?:plugins/(?:like|share|page|comments|follow|send)|tr\b)|platform\.twitter\.com/widgets"
    r"|disqus\.com/|addthis\.com/|sharethis\.com/|accounts\.google\.com/|amazon-adsystem\.com/|cookiebot\.com/"
    r"|ads?\.[a-z0-9-]+\.[a-z]+/"
)
_DOCUMENT = re.compile(r"\.(?:pdf|docx?|xlsx?|pptx?|odt|ods|odp|csv|epub|zip|mp3|mp4)$", re.IGNORECASE)
_ADDRESS_WITHIN = re.compile(r"(?:https?:)?//[^\s\"'<>]{4,2000}")
_GENERIC = re.compile(
    r"(?:embedded |embed |the )?"
    r"(?:youtube|vimeo|google maps?|spotify|soundcloud|facebook|instagram|tiktok|dailymotion)?"
    r"[\s\-:.]*(?:embed(?:ded)?|video|audio|media|content|iframe|frame|player|map|post|form|preview)?"
    r"(?: (?:player|content|embed|media|frame|post|preview))?",
    re.IGNORECASE,
)


def find_embed(address: str, *, is_within: bool = False) -> Embed | None:
    """Find the page behind the absolute address of a frame or player. None for advertising and buttons.

    `is_within`: a service of players named this address. It is not looked into again: a stranger may nest thousands.
    """
    parts = urlsplit(address)
    place = re.sub(r"^(?:www|m)\.", "", parts.netloc.lower()) + parts.path
    if _NOT_CONTENT.match(place) or _NOT_CONTENT.match(parts.netloc.lower() + parts.path):
        return None
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    for service, pattern, build in _RULES:
        if match := pattern.match(place):
            url = build(match, query) or address
            if service in _WRAPPERS and url != address and not is_within:
                return find_embed(url, is_within=True)
            return Embed(url, service, _find_thumbnail(service, url))
    # Drupal and Telegraph show players in a frame of their own site.
    if not is_within and find_service(query.get("url", "")) in PLAYERS:
        return find_embed(query["url"], is_within=True)
    name = parts.path.rpartition("/")[2]
    is_file = _DOCUMENT.search(name)
    return Embed(address, unquote(name) if is_file else re.sub(r"^www\.", "", parts.hostname or parts.netloc))


def name_file(url: str) -> str:
    """Return the text of a link to the file of a player: its name, or the service that shows it."""
    return find_service(url) or urlsplit(url).path.rstrip("/").rpartition("/")[2] or url


def find_service(url: str) -> str:
    """Return the known service that shows this page, or ''."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    place = re.sub(r"^(?:www|m)\.", "", parts.netloc.lower()) + parts.path
    return next((service for service, pattern, _ in _RULES if pattern.match(place)), "")


def find_player(attributes: Mapping[str, str]) -> str:
    """Find the address of a player in any attribute, also in JSON or HTML. Returns '' if there is none.

    Each plugin that waits for the visitor's consent, or for the visitor to scroll, uses another name.
    """
    for name, value in attributes.items():
        if name in ("href", "src", "cite", "style", "data-attrs", "srcdoc") or "//" not in value.replace("\\", ""):
            continue
        for match in _ADDRESS_WITHIN.finditer(value.replace("\\/", "/")[:5_000]):
            address = html.unescape(match[0])
            if (service := find_service(address)) and service in PLAYERS:
                return address
    return ""


def _find_thumbnail(service: str, url: str) -> str:
    pattern, template = _THUMBNAILS.get(service, (None, ""))
    match = pattern.search(url) if pattern else None
    return template.format(match[1]) if match else ""


def label_embed(embed: Embed, title: str) -> str:
    """Return the text of the link: the title, unless it only says that this is a player."""
    title = " ".join(title.split())
    return embed.service if not title or _GENERIC.fullmatch(title) else title[:300]


# Elements that a script replaces by an embed: the attribute with the address or the id, and how it becomes an address.
_SCRIPTED: tuple[tuple[str, str, str], ...] = (
    ("data-instgrm-permalink", "", "{}"),
    ("data-oembed-url", "", "{}"),
    ("data-href", "fb-", "{}"),
    ("cite", "tiktok-embed", "{}"),
    ("data-tf-live", "", "https://form.typeform.com/to/{}"),
    ("data-tf-widget", "", "https://form.typeform.com/to/{}"),
    ("data-telegram-post", "", "https://t.me/{}"),
    ("data-youtube-id", "", "https://www.youtube.com/watch?v={}"),
    ("data-yt-id", "", "https://www.youtube.com/watch?v={}"),
    ("data-vimeo-id", "", "https://vimeo.com/{}"),
    ("data-id", "youtube", "https://www.youtube.com/watch?v={}"),
    ("data-text-post-permalink", "", "{}"),
    ("data-src", "flourish-embed", "https://flo.uri.sh/{}/embed"),
    ("data-id", "infogram-embed", "https://infogram.com/{}"),
    ("data-url", "calendly", "{}"),
    ("data-plyr-embed-id", "", "https://www.youtube.com/watch?v={}"),
    ("data-videolazy-id", "youtube", "https://www.youtube.com/watch?v={}"),
    ("data-videolazy-id", "vimeo", "https://vimeo.com/{}"),
    ("videoid", "youtube_player", "https://www.youtube.com/watch?v={}"),
    ("videoid", "vimeo_player", "https://vimeo.com/{}"),
    ("videoid", "dailymotion_player", "https://www.dailymotion.com/video/{}"),
    ("data-sketch-url", "", "{}"),
)
_ELEMENTS = {
    "lite-youtube": "https://www.youtube.com/watch?v={}",
    "youtube-video": "https://www.youtube.com/watch?v={}",
    "amp-youtube": "https://www.youtube.com/watch?v={}",
    "lite-vimeo": "https://vimeo.com/{}",
    "amp-vimeo": "https://vimeo.com/{}",
    "amp-dailymotion": "https://www.dailymotion.com/video/{}",
    "amp-instagram": "https://www.instagram.com/p/{}/",
    "amp-twitter": "https://x.com/i/status/{}",
    "amp-facebook": "{}",
    "amp-soundcloud": "https://api.soundcloud.com/tracks/{}",
    "oembed": "{}",
    "fb:post": "{}",
    "fb:video": "{}",
    "tableau-viz": "{}",
}


_IDS = ("videoid", "data-videoid", "data-shortcode", "data-tweetid", "data-trackid")


_SCRIPTS = tuple(
    (re.compile(rf"(?:https?:)?//{pattern}"), page)
    for pattern, page in (
        (r"gist\.github\.com/([^?]+)\.js$", r"https://gist.github.com/\1"),
        (r"(form|eu)\.jotform\.com/jsform/(\d+)", r"https://\1.jotform.com/\2"),
        (r"www\.buzzsprout\.com/(\d+/[\w-]+)\.js", r"https://www.buzzsprout.com/\1"),
        (
            r"api-maps\.yandex\.ru/services/constructor/[^?]*\?(?:[^#]*&)?um=([\w%:.-]+)",
            r"https://yandex.ru/maps/?um=\1",
        ),
        (r"datawrapper\.dwcdn\.net/(\w+)/embed\.js", r"https://datawrapper.dwcdn.net/\1/"),
        (r"fast\.wistia\.(?:com|net)/embed/medias/(\w+)", r"https://fast.wistia.net/embed/iframe/\1"),
        (r"www\.aparat\.com/embed/(\w+)", r"https://www.aparat.com/v/\1"),
    )
)
"""Scripts that show something, by their address, each with a page that shows the same."""
# Scripts of embeds whose element is read, of statistics, of advertising and of layout. No reader misses them.
_UNMISSED_SCRIPTS = set(
    """
    twitter x instagram tiktok threads reddit redditmedia bsky facebook telegram flourish infogram calendly
    brightcove typeform imgur pinterest flickr codepen tableau spreaker datawrapper dwcdn youtube vimeo soundcloud
    spotify iframe embedly 2gis arcgis google googleapis googletagmanager googlesyndication googletagservices
    google-analytics doubleclick gstatic recaptcha yandex jquery jsdelivr unpkg cloudflare cloudflareinsights
    cookiebot onetrust cookielaw hotjar matomo addthis addtoany sharethis disqus wp w polyfill bootstrapcdn
    fontawesome typekit adsrvr taboola outbrain criteo newrelic nr-data segment clarity hs-scripts linkedin licdn vk
    ok mail rambler mathjax
    """.split()  # noqa: SIM905
)
"""Hosts by the name before their last ending."""


_LOADED_SCRIPT = re.compile(r"[\"']((?:https?:)?//[\w.-]{3,200}/[^\s\"']{1,500}\.js)\b")
_TABLEAU_PICTURE = re.compile(r"https://public\.tableau\.com/static/images/\w\w/([^/]+/[^/]+)/")


def find_writing_script(address: str, content: str) -> str:
    """Return the host of a foreign script that may show something, 'this page' for one that writes, else ''."""
    if not address:
        if re.search(r"\bdocument\.write(?:ln)?\(", content):
            return "this page"
        if "createElement" not in content or not (loaded := _LOADED_SCRIPT.search(content)):
            return ""
        address = loaded[1]
    match = re.match(r"(?:https?:)?//([\w.-]+)", address.strip())
    if match is None or any(pattern.match(address.strip()) for pattern, _ in _SCRIPTS):
        return ""
    return "" if match[1].lower().split(".")[-2:][0] in _UNMISSED_SCRIPTS else match[1]


def find_scripted(name: str, attributes: Mapping[str, str]) -> str:
    """Find the address of an embed that a script would put in the place of an element, or ''."""
    if name in _ELEMENTS:
        values = (attributes.get(each, "") for each in _IDS)
        others = (attributes.get(each, "") for each in ("data-href", "url", "href", "src"))
        value = next(filter(None, values), "") or next(filter(None, others), "")
        return _ELEMENTS[name].format(value) if value else ""
    if name == "script":
        matches = ((pattern.match(attributes.get("src", "").strip()), page) for pattern, page in _SCRIPTS)
        if page := next((match.expand(page) for match, page in matches if match), ""):
            return page
        if attributes.get("src", "").startswith("https://geo.dailymotion.com/") and attributes.get("data-video"):
            return f"https://www.dailymotion.com/video/{quote(attributes['data-video'])}"
    if name == "param" and (match := _TABLEAU_PICTURE.match(attributes.get("value", ""))):
        return f"https://public.tableau.com/views/{match[1]}"
    if match := re.fullmatch(r"vk_post_(-?\d+_\d+)", attributes.get("id", "")):
        return f"https://vk.com/wall{match[1]}"
    if "data-account" in attributes and (video := attributes.get("data-video-id", "").strip()):
        player = f"{attributes.get('data-player') or 'default'}_{attributes.get('data-embed') or 'default'}"
        return f"https://players.brightcove.net/{attributes['data-account']}/{player}/index.html?videoId={quote(video)}"
    for attribute, marker, template in _SCRIPTED:
        value = attributes.get(attribute, "").strip()
        if value and marker in f"{attributes.get('class', '')} {attributes.get('data-videolazy-type', '')}".lower():
            return template.format(value)
    return "" if name in ("iframe", "script", "source", "img") else find_player(attributes)


def read_blocked(attributes: Mapping[str, str], content: str) -> str:
    """Return the HTML that a consent plugin (Borlabs) keeps in Base64 until the visitor agrees, or ''."""
    if not any(name.startswith("data-borlabs") for name in attributes):
        return ""
    try:
        return base64.b64decode(content.strip(), validate=True).decode("utf-8", "replace")
    except ValueError:
        return ""


def read_component(attributes: Mapping[str, str]) -> dict[str, str] | None:
    """Return the address and the title of an empty element that a script fills (Substack), or None if it is none."""
    if "data-component-name" not in attributes:
        return None
    try:
        values = json.loads(attributes.get("data-attrs", ""))
    except ValueError:
        values = {}
    texts = (
        {name: value for name, value in values.items() if isinstance(value, str)} if isinstance(values, dict) else {}
    )
    title = texts.get("title") or texts.get("full_text") or texts.get("caption", "")
    return {"url": texts.get("url") or texts.get("canonical_url", ""), "title": title}


# Marks of Obsidian, Hugo, Jekyll and WordPress, which only their own program turns into something.
SHORTCODE = re.compile(
    r"!\[\[(?P<file>[^\[\]|\n]{1,200})(?:\|(?P<alt>[^\[\]\n]{0,200}))?\]\]"
    r"|\[\[(?P<note>[^\[\]|\n]{1,200})(?:\|(?P<label>[^\[\]\n]{1,200}))?\]\]"
    r"|\{\{(?:<|&lt;|%) *(?P<hugo>/?\w[\w/.-]{0,40})(?P<rest>[^{}\n]{0,200}?)(?:>|&gt;|%)\}\}"
    r"|\{%-? *(?P<jekyll>\w{1,30})(?P<more>[^{}%\n]{0,200})%\}"
    r"|\{\{-? *(?P<liquid>[\w.\"\'&](?:[^{}<%\n]|%(?!\})){0,200})\}\}"
    r"|\[/?(?P<wordpress>caption|embed|gallery|youtube|vimeo|video|audio|playlist|soundcloud|googlemaps|contact-form-7"
    r"|wpforms|ninja_form|vc_\w{1,40}|et_pb_\w{1,40})\b(?P<args>[^\[\]\n]{0,200})\]"
    # Tags of BBCode and of other plugins of WordPress and Joomla
    r"|\[/?(?:url|img|quote|color|size|center)(?:=[^\[\]\n]{1,300})?\]|\[/[a-z][a-z0-9_-]{1,40}\]"
    r"|\[[a-z][a-z0-9_-]{2,40}(?: {1,3}[a-z_-]{1,30}=(?:\"|&quot;)[^\"\[\]\n]{0,200}?(?:\"|&quot;)){1,20} ?/?\]"
    r"|\{/?(?:youtube|vimeo|loadposition|loadmodule|gallery|slider|mp3|audio|video|article|source)\b[^{}\n]{0,200}\}"
    # kramdown and MyST, a reference without its footnote, an abbreviation, a grid of a table, a formula
    r"|\{::?/?[a-z]{0,20}[^{}\n]{0,100}\}|\{(?:ref|doc|sub|sup|term|cite|numref|download|eq|math)\}$"
    r"|\[\^[^\[\]\s]{1,60}\]|^\*\[[^\[\]\n]{1,60}\]: [^\n]{1,200}$|^\+(?:[-=]{3,200}\+){1,50}$"
    r"|\$\$.{1,500}?\$\$|(?<![\w$])\$(?=[^$\n]{0,100}[\\^_{])[^$\s][^$\n]{0,200}\$(?![\w$])",
    re.DOTALL | re.MULTILINE,
)
_ARGUMENT = re.compile(r"(?:([\w-]{1,30})\s*=\s*)?(?:\"([^\"]*)\"|\'([^\']*)\'|([^\s\"\'=]+))")
_VIDEO_SHORTCODES = {
    "youtube": "https://www.youtube.com/watch?v={}",
    "vimeo": "https://vimeo.com/{}",
    "tweet": "https://x.com/i/status/{}",
    "instagram": "https://www.instagram.com/p/{}/",
}


def read_shortcode(match: re.Match[str]) -> tuple[str, dict[str, str]]:
    """Return what a mark means: `picture`, `embed`, `text` or `nothing`, or '' if unknown, and its values."""
    found = match.groupdict(default="")
    if found["file"]:
        is_picture = re.search(r"\.(?:jpe?g|png|gif|webp|avif|svg|bmp)$", found["file"].strip(), re.IGNORECASE)
        size_only = found["alt"].strip().replace("x", "").isdigit()
        alt = "" if size_only else re.sub(r"\|\d+(?:x\d+)?$", "", found["alt"].strip())
        file = html.unescape(found["file"].strip())
        values = {"src": file if file.startswith(("http:", "https:")) else quote(file, safe="/%"), "alt": alt}
        if not is_picture and re.search(r"\.(?!md$)[A-Za-z0-9]{2,4}$", found["file"].strip()):
            return "file", values | {"alt": alt or found["file"].rpartition("/")[2]}
        return ("picture", values) if is_picture else ("text", {"text": found["alt"] or found["file"]})
    if found["note"]:
        return "text", {"text": found["label"] or found["note"].rpartition("/")[2]}
    # {{video https://...}} of Logseq and Roam
    if player := re.match(
        r"(?:video|youtube|vimeo|tweet|twitter) +(https?://\S+)$", html.unescape(found["liquid"]).strip()
    ):
        return "embed", {"url": player[1], "title": ""}
    name = (found["hugo"] or found["jekyll"] or found["wordpress"]).lower()
    written = html.unescape(found["rest"] + found["more"] + found["args"])
    arguments = [(key, first or second or third) for key, first, second, third in _ARGUMENT.findall(written)]
    named = {key: value for key, value in arguments if key}
    plain = [value for key, value in arguments if not key and value]
    if name in ("caption", "embed", "video", "audio"):
        files = (named.get(each, "") for each in ("url", "src", "mp4", "mp3", "m4v", "webm", "ogg"))
        url = next(filter(None, files), "")
        if url or not found["hugo"]:
            return ("embed", {"url": url, "title": named.get("title", "")}) if url else ("nothing", {})
    if name == "include" and re.match(r"\s*[\w/-]*(?:figure|image|img|picture)", written):
        named = {"src": named.get("image_path") or named.get("url", "")} | named
        name = "figure"
    if name == "x" and named.get("id", plain[-1] if plain else "").isdigit():
        name = "tweet"
    if name in ("figure", "img", "image", "picture") and named.get("src"):
        caption = named.get("caption") or named.get("title", "")
        caption = ". ".join(filter(None, (caption.rstrip("."), named.get("attr", ""))))
        values = {"src": named["src"], "alt": named.get("alt") or caption}
        return "picture", values | ({"caption": caption} if caption and caption != values["alt"] else {})
    service = next((each for each in _VIDEO_SHORTCODES if each in name or (name == "include" and each in written)), "")
    value = named.get("id") or named.get("v") or next((each for each in plain if not each.endswith(".html")), "")
    if service and value:
        url = value if value.startswith("http") else _VIDEO_SHORTCODES[service].format(quote(value, safe=""))
        return "embed", {"url": url, "title": named.get("title", "")}
    return "", {}


def page_key(url: str) -> str:
    """Return what two addresses of one page share."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url
    host = re.sub(r"^(?:www|m)\.", "", parts.netloc.lower())
    query = parts.query if host in ("youtube.com", "google.com") else ""
    return f"{host}{parts.path.rstrip('/')}?{query.partition('&')[0]}"
