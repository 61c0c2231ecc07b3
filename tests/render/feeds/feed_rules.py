"""The errors and warnings of the W3C feed validator that our feeds could cause.

The validator itself is a separate server, and in no package registry. We took its rules from its source
(w3c/feedvalidator:
`logging.py` names all, `channel.py`, `item.py`, `feed.py`, `entry.py`, `link.py`, `media.py` and `opml.py` apply them).
`problems` reads only the bytes of a feed, without our code.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from lxml import etree
from lxml import html as lxml_html

ATOM = "{http://www.w3.org/2005/Atom}"
CONTENT = "{http://purl.org/rss/1.0/modules/content/}encoded"
DC = "{http://purl.org/dc/elements/1.1/}"
MEDIA = "{http://search.yahoo.com/mrss/}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
NEWS = "{http://www.google.com/schemas/sitemap-news/0.9}"
XHTML = "{http://www.w3.org/1999/xhtml}"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
KNOWN_NAMESPACES = {
    "http://www.w3.org/2005/Atom",
    "http://purl.org/rss/1.0/modules/content/",
    "http://purl.org/dc/elements/1.1/",
    "http://search.yahoo.com/mrss/",
}
_PREFIXES = {"media": "http://search.yahoo.com/mrss/", "dc": "http://purl.org/dc/elements/1.1/",
             "atom": "http://www.w3.org/2005/Atom", "content": "http://purl.org/rss/1.0/modules/content/"}  # fmt: skip
# The elements that we write with their attributes. Any other is an error of the validator (UndefinedElement,
# UnexpectedAttribute), or a part of our feeds that somebody has to look up there first.
_LINK = "href rel type hreflang title length"
_KNOWN_PARTS = {
    "rss": "version", "channel": "", "item": "", "title": "type", "link": "", "description": "type", "docs": "",
    "generator": "", "language": "", "lastBuildDate": "", "pubDate": "", "guid": "isPermaLink", "category": "domain",
    "enclosure": "url length type", "image": "", "url": "", "width": "", "height": "", "ttl": "", CONTENT: "",
    f"{DC}creator": "", f"{DC}language": "", f"{MEDIA}content": "url type medium fileSize width height lang isDefault",
    f"{MEDIA}thumbnail": "url width height", f"{MEDIA}title": "type", f"{MEDIA}description": "type",
    f"{MEDIA}credit": "role scheme", f"{MEDIA}text": "type", f"{ATOM}link": _LINK, f"{ATOM}updated": "",
    f"{ATOM}feed": LANG, f"{ATOM}entry": LANG, f"{ATOM}id": "", f"{ATOM}title": "type", f"{ATOM}published": "",
    f"{ATOM}author": "", f"{ATOM}name": "", f"{ATOM}uri": "", f"{ATOM}content": "type", f"{ATOM}summary": "type",
    f"{ATOM}subtitle": "type", f"{ATOM}logo": "", f"{ATOM}icon": "", f"{ATOM}generator": "uri version",
    f"{ATOM}category": "term scheme label", "opml": "version", "head": "", "body": "",
    "outline": "text title type xmlUrl htmlUrl language category description",
}  # fmt: skip
_RELATIONS = {"alternate", "self", "hub", "enclosure", "related", "via", "next", "prev", "first", "last", "current"}
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_DOUBLES = ((f"{DC}creator", "author"), (f"{DC}language", "language"))
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9%\-._~:/?#\[\]@!$&'()*+,;=]+")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|\d{3}))?")
_RFC822 = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d"
    r" [+-]\d\d(00|30)"
)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:(00|30))")
# What the validator accepts of the elements and attributes that our sanitiser keeps (SecurityRisk, SecurityRiskAttr).
_ELEMENTS = set(
    """
    a abbr address article aside audio b bdi blockquote br caption cite code col colgroup dd del details dfn div dl dt
    em figcaption figure footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark ol p picture pre q rp rt ruby s
    samp section small source span strong sub summary sup table tbody td tfoot th thead time tr track u ul var video wbr
    """.split()  # noqa: SIM905
)
_ATTRIBUTES = set(
    """
    align alt cite colspan datetime dir height href hreflang kind label lang loading media open poster preload reversed
    rowspan scope sizes span src srclang srcset start title type value width
    """.split()  # noqa: SIM905
)
_DANGEROUS = re.compile(
    r"<(script|iframe|object|embed|svg|form|style)\b|\son\w+=|javascript:|position\s*:", re.IGNORECASE
)


def problems(document: bytes, url: str, content_type: str) -> list[str]:
    """Return every error and warning for a feed served at `url` with this Content-Type."""
    media_type, _, parameter = content_type.partition(";")
    faults = [] if parameter.strip() == "charset=utf-8" else ["no charset in Content-Type"]
    if len(document) > 5_000_000:
        faults.append("larger than the validator reads")
    if url.endswith(".json"):
        return faults + _expect(media_type, "application/feed+json") + _json(json.loads(document), url)
    root = etree.fromstring(document)
    faults += [f"unknown namespace {uri}" for uri in root.nsmap.values() if uri not in KNOWN_NAMESPACES]
    faults += [f"prefix {name}" for name, uri in root.nsmap.items() if name and _PREFIXES.get(name) != uri]
    faults += _parts(root)
    if root.tag == "rss":
        return faults + _expect(media_type, "application/rss+xml") + _rss(root, url)
    return faults + _expect(media_type, "application/atom+xml") + _atom(root, url)


def _parts(root: Any) -> list[str]:
    """Check names, attributes, order and characters of all parts."""
    faults = []
    for each in root.iter():
        known = _KNOWN_PARTS.get(each.tag)
        if known is None:
            faults.append(f"the element {each.tag} is not known")
            continue
        faults += [f"{each.tag} with {name}" for name in each.attrib if name not in known.split()]
        texts = [each.text or "", *(child.tail or "" for child in each)] if len(each) else []
        if "".join(texts).strip():
            faults.append(f"text in {each.tag}")
        # C1 controls are letters of windows-1252 under the wrong label (BadCharacters).
        faults += [f"letter {letter!r}" for letter in re.findall("[\x80-\x9f\ufffd]", each.text or "")]
        if each.tag == f"{ATOM}link":
            faults += [f"relation {each.get('rel')}"] if each.get("rel", "alternate") not in _RELATIONS else []
            faults += ["a link with text"] if each.text or len(each) else []
        if each.tag in (f"{ATOM}link", "enclosure", f"{MEDIA}content") and each.get("type") is not None:
            faults += [] if _MEDIA_TYPE.fullmatch(each.get("type")) else [f"media type {each.get('type')}"]
        if each.tag == f"{MEDIA}content" and each.get("medium", "image") not in ("image", "audio", "video", "document"):
            faults.append(f"medium {each.get('medium')}")
        names = [child.tag for child in each]
        faults += [f"{first} and {second}" for first, second in _DOUBLES if first in names and second in names]
        if CONTENT in names and names.index("description") > names.index(CONTENT):
            faults.append("description after content:encoded")
        for entry in ("item", f"{ATOM}entry"):
            if entry in names and set(names[names.index(entry) :]) != {entry}:
                faults.append(f"{each.tag}: parts after its entries")
    return faults


def xml_problems(document: bytes, site: str) -> list[str]:
    """Return errors and warnings for OPML 2.0, a sitemap (its schema and Google's rules) or an index of sitemaps."""
    root = etree.fromstring(document)
    if len(document) > 50_000_000:
        return ["larger than the protocol allows"]
    if root.tag == "opml":
        return _opml(root, site)
    if root.tag == f"{SITEMAP}sitemapindex":
        faults = [] if 0 < len(root) <= 50_000 else [f"{len(root)} sitemaps"]
        return faults + [fault for each in root for fault in _place(each.findtext(f"{SITEMAP}loc"), site)]
    return _sitemap(root, site)


def _opml(root: Any, site: str) -> list[str]:
    """Check OPML: version, head and body. Each outline has text and type, and an RSS outline its address."""
    faults = [] if root.get("version") == "2.0" else ["no OPML 2.0"]
    faults += _parts(root)
    faults += [] if [each.tag for each in root] == ["head", "body"] else ["not a head and a body"]
    if not root.findtext("head/title"):
        faults.append("no title")
    for outline in root.iter("outline"):
        if not outline.get("text") or not outline.get("title") or outline.get("type") != "rss":
            faults.append(f"an outline without text, title or type: {dict(outline.attrib)}")
        faults += _place(outline.get("xmlUrl"), site) + _place(outline.get("htmlUrl"), site)
        faults += _language(outline.get("language"))
    return faults + _unique("xmlUrl", [each.get("xmlUrl") for each in root.iter("outline")])


def _sitemap(root: Any, site: str) -> list[str]:
    faults = [] if root.tag == f"{SITEMAP}urlset" and 0 < len(root) <= 50_000 else [f"{len(root)} addresses"]
    places = [each.findtext(f"{SITEMAP}loc") for each in root]
    faults += _unique("loc", places)
    alternates = {
        each.findtext(f"{SITEMAP}loc"): {link.get("href") for link in each.iter(f"{XHTML}link")} for each in root
    }
    for each in root:
        names = [part.tag for part in each]
        # The schema is a sequence, followed by elements of other namespaces.
        order = [f"{SITEMAP}loc", f"{SITEMAP}lastmod", f"{NEWS}news", f"{XHTML}link"]
        if any(name not in order for name in names) or names != sorted(names, key=order.index):
            faults.append(f"parts in a wrong order: {names}")
        place = each.findtext(f"{SITEMAP}loc")
        faults += _place(place, site)
        if each.find(f"{SITEMAP}lastmod") is not None:
            faults += _rfc3339(each.findtext(f"{SITEMAP}lastmod"))
        own = alternates[place]
        if own and (place not in own or any(alternates.get(other, own) != own for other in own)):
            faults.append(f"the languages of {place} do not name each other")
        for link in each.iter(f"{XHTML}link"):
            faults += _language(link.get("hreflang")) + _uri(link.get("href"))
            faults += [] if link.get("rel") == "alternate" else ["a link that is no alternate"]
        for news in each.iter(f"{NEWS}news"):
            names = [part.tag.removeprefix(NEWS) for part in news.iter() if part is not news]
            if names != ["publication", "name", "language", "publication_date", "title"]:
                faults.append(f"news with {names}")
            if not re.fullmatch(r"[a-z]{2,3}|zh-cn|zh-tw", news.findtext(f"{NEWS}publication/{NEWS}language", "")):
                faults.append("news in an unknown language")
            faults += _rfc3339(news.findtext(f"{NEWS}publication_date")) + _title(news.findtext(f"{NEWS}title"))
    return faults + ([] if len(root.findall(f".//{NEWS}news")) <= 1_000 else ["more than 1,000 news"])


def _place(url: str | None, site: str) -> list[str]:
    return _uri(url) + ([] if (url or "").startswith(site) and len(url or "") < 2_048 else [f"not below {site}: {url}"])


def _expect(media_type: str, wanted: str) -> list[str]:
    return [] if media_type == wanted else [f"{media_type} instead of {wanted}"]


def _rss(root: Any, url: str) -> list[str]:
    faults = [] if root.get("version") == "2.0" else ["not RSS 2.0"]
    (channel,) = root
    for name in ("title", "link", "description", "language", "lastBuildDate"):
        if not (channel.findtext(name) or "").strip():
            faults.append(f"channel without {name}")
    for parent in (channel, *channel.iter("item")):
        single = (
            "title",
            "link",
            "description",
            "language",
            "lastBuildDate",
            "pubDate",
            "guid",
            "enclosure",
            "image",
            CONTENT,
        )
        for name in (*single, f"{ATOM}updated", f"{DC}language"):
            if len(parent.findall(name)) > 1:
                faults.append(f"{parent.tag}: {name} twice")
    faults += _language(channel.findtext("language"))
    faults += _self([link.get("href") for link in channel.findall(f"{ATOM}link") if link.get("rel") == "self"], url)
    faults += (
        _uri(channel.findtext("link")) + _title(channel.findtext("title")) + _title(channel.findtext("description"))
    )
    image = channel.find("image")
    if image is not None:
        if image.findtext("title") != channel.findtext("title") or image.findtext("link") != channel.findtext("link"):
            faults.append("the image's title or link is not the channel's")
        if int(image.findtext("width", "88")) > 144 or int(image.findtext("height", "31")) > 400:
            faults.append("the image is too large")
        if not re.search(r"\.(gif|jpe?g|png)$", image.findtext("url", "")):
            faults.append("the image is no GIF, JPEG or PNG")
    items = channel.findall("item")
    faults += _unique("guid", [each.findtext("guid") for each in items])
    faults += _unique("atom:updated", [each.findtext(f"{ATOM}updated") for each in items])
    for date in [channel.findtext("lastBuildDate"), *(each.findtext("pubDate") for each in items)]:
        faults += _rfc822(date)
    for each in items:
        if each.find("author") is not None:
            faults.append("author in RSS must be an e-mail address")
        if each.find("guid").get("isPermaLink") != "false":
            faults.append("a guid that is not an address must say isPermaLink=false")
        faults += (
            _rfc3339(each.findtext(f"{ATOM}updated"))
            + _uri(each.findtext("link"))
            + _language(each.findtext(f"{DC}language"))
        )
        for enclosure in each.findall("enclosure"):
            faults += _uri(enclosure.get("url"))
            if not (enclosure.get("length") or "").isdigit() or not enclosure.get("type"):
                faults.append("enclosure without length or type")
        faults += (
            _title(each.findtext("title"))
            + _html(each.findtext("description"))
            + _html(each.findtext(CONTENT))
            + _media(each)
        )
    return faults


def _atom(root: Any, url: str) -> list[str]:
    faults = _language(root.get(LANG))
    if root.find(f"{ATOM}author/{ATOM}name") is None:
        faults.append("no author of the feed")
    faults += _self([link.get("href") for link in root.findall(f"{ATOM}link") if link.get("rel") == "self"], url)
    faults += _unique("link", [(a.get("rel"), a.get("type"), a.get("hreflang")) for a in root.findall(f"{ATOM}link")])
    entries = root.findall(f"{ATOM}entry")
    faults += _unique("id", [root.findtext(f"{ATOM}id"), *(each.findtext(f"{ATOM}id") for each in entries)])
    faults += _unique("updated", [each.findtext(f"{ATOM}updated") for each in entries])
    for parent in (root, *entries):
        faults += _rfc3339(parent.findtext(f"{ATOM}updated")) + _uri(parent.findtext(f"{ATOM}id"))
        links = parent.findall(f"{ATOM}link")
        kinds = [(a.get("type"), a.get("hreflang")) for a in links if a.get("rel", "alternate") == "alternate"]
        faults += _unique("alternate link", kinds)
        if not kinds:
            faults.append("no alternate link")
        for link in links:
            faults += _uri(link.get("href"))
            if link.get("hreflang"):
                faults += _language(link.get("hreflang"))
        faults += _title(parent.findtext(f"{ATOM}title"))
    for each in entries:
        faults += _language(each.get(LANG)) + _rfc3339(each.findtext(f"{ATOM}published")) + _media(each)
        content, summary = each.find(f"{ATOM}content"), each.find(f"{ATOM}summary")
        if content is None and summary is None:
            faults.append("neither content nor summary")
        for part in (content, summary):
            if part is not None and part.get("type", "text") not in ("text", "html"):
                faults.append(f"content of type {part.get('type')}")
        if content is not None:
            faults += _html(content.text)
        for category in each.findall(f"{ATOM}category"):
            faults += _uri(category.get("scheme")) + ([] if category.get("term") else ["a category without term"])
    return faults


def _json(feed: Any, url: str) -> list[str]:
    faults = [] if feed["version"] == "https://jsonfeed.org/version/1.1" else ["not JSON Feed 1.1"]
    faults += _self([feed.get("feed_url")], url) + _language(feed.get("language")) + _uri(feed.get("home_page_url"))
    if not feed["title"]:
        faults.append("no title")
    faults += _unique("id", [each["id"] for each in feed["items"]])
    for each in feed["items"]:
        if not isinstance(each["id"], str) or ("content_html" not in each and "content_text" not in each):
            faults.append("an item without id or content")
        faults += _rfc3339(each["date_published"]) + _rfc3339(each["date_modified"]) + _uri(each["url"])
        faults += _html(each.get("content_html")) + _language(each["language"])
        for file in each.get("attachments", []):
            faults += _uri(file["url"]) + ([] if file["mime_type"] else ["an attachment without a type"])
        if "authors" in feed and "authors" in each:
            faults.append("authors on the feed and on items")
    return faults


def _media(entry: Any) -> list[str]:
    if entry.findall(f"{MEDIA}group"):
        return ["media:group"]
    return [fault for each in entry.iter(f"{MEDIA}content", f"{MEDIA}thumbnail") for fault in _uri(each.get("url"))]


def _self(links: list[str | None], url: str) -> list[str]:
    return [] if links == [url] else [f"self is {links}, served at {url}"]


def _unique(name: str, values: list[Any]) -> list[str]:
    return [
        f"{name} {value!r} occurs {count} times" for value, count in Counter(values).items() if count > 1 or not value
    ]


def _uri(value: str | None) -> list[str]:
    return [] if value and _URI.fullmatch(value) else [f"no valid address: {value!r}"]


def _language(value: str | None) -> list[str]:
    # `kz` is a country; the language is `kk`.
    return [] if value and _LANGUAGE.fullmatch(value) and value[:2] != "kz" else [f"no valid language: {value!r}"]


def _rfc822(value: str | None) -> list[str]:
    if not value or not _RFC822.fullmatch(value):
        return [f"no RFC 822 date: {value!r}"]
    return [] if parsedate_to_datetime(value).strftime("%a") == value[:3] else [f"wrong weekday: {value!r}"]


def _rfc3339(value: str | None) -> list[str]:
    if not value or not _RFC3339.fullmatch(value):
        return [f"no RFC 3339 date: {value!r}"]
    datetime.fromisoformat(value)
    return []


def _title(value: str | None) -> list[str]:
    if not value or not value.strip():
        return ["an empty title"]
    return ["HTML in a title"] if re.search(r"</?[a-zA-Z][^>]*>|&(amp|lt|gt|quot|#\d+);", value) else []


def _html(value: str | None) -> list[str]:
    if not value:
        return []
    faults = [f"dangerous HTML: {match[0]}" for match in _DANGEROUS.finditer(value)]
    for element in lxml_html.fragment_fromstring(value, create_parent="div").iter(etree.Element):
        faults += [f"the element {element.tag}"] if element.tag not in _ELEMENTS else []
        faults += [f"the attribute {name}" for name in element.attrib if name not in _ATTRIBUTES]
        for name in ("href", "src", "poster"):
            target = element.get(name)
            # The validator misses relative images, and feed readers show them broken.
            if target is not None and not target.startswith("#") and not urlsplit(target).scheme:
                faults.append(f"a relative address: {target}")
    return faults
