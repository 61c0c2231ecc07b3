"""Prepare HTML from people, editors and websites, so that the sanitiser removes nothing that readers need.

All HTML and Markdown passes through `prepare_html` once. Players, maps, forms and posts become links; lazy pictures get
their real URL; emoji pictures become text; tracking pixels are removed; angle brackets that are not tags stay text. The
remaining losses are reported in `links.problems`. All steps take linear time.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from tidings.sources.embeds import (
    PLAYERS,
    SHORTCODE,
    find_embed,
    find_player,
    find_scripted,
    find_service,
    find_writing_script,
    label_embed,
    name_file,
    page_key,
    read_blocked,
    read_component,
    read_shortcode,
)
from tidings.sources.html_tags import (
    ATTRIBUTES,
    RENAMED,
    TAGS,
    VOID,
    Tag,
    count_visible,
    is_component,
    is_in_sentence,
    is_text,
    match_ends,
    split_html,
    write_tag,
)
from tidings.sources.links import LinkProblem, LinkResolver
from tidings.sources.pasted import tidy_pasted
from tidings.sources.picture_tags import (
    AVATAR_CLASS,
    SRCSETS,
    find_address,
    find_backgrounds,
    is_blank_file,
    is_decoration,
    is_emoji,
    is_inline,
    is_pixel,
    split_srcset,
)

MAX_DEPTH = 500
"""Deepest nesting. The sanitiser's time grows with the square of the depth (100,000 <div>: 35 s)."""

_NEEDS_NO_END_TAG = VOID | set("dd dt li option p tbody td tfoot th thead tr".split())  # noqa: SIM905
_UNREAD_INPUTS = ("hidden", "search", "submit", "button", "email", "range")
"""Input fields that readers do not miss: a range moves a player, an e-mail field is a sign-up form."""
_CODE = {"code", "pre", "kbd", "samp"}
_LINES = set("p h1 h2 h3 h4 h5 h6 pre summary dt figcaption caption".split())  # noqa: SIM905
_BLOCKS = set("div section article blockquote figure ul ol dl li dd table td th main aside header footer".split())  # noqa: SIM905
_HIDDEN_CLASS = re.compile(r"(?:^|[\s_-])(?:hide|hidden|visually-hidden|sr-only)(?:\s|$)")
_DRAWN = re.compile(
    r"(?:^|\s)(?:language-|lang-)?(mermaid|dataviewjs?|plantuml|graphviz|query|tasks|\{[\w:-]+\})(?:\s|$)"
)
"""Classes of code blocks that the editor's own program renders as a picture or a list."""
_SKIPPED = {"svg", "math", "template", "select", "datalist", "canvas"}
_MAIL_FILTER = re.compile(
    r"https?://(?:[\w-]+\.safelinks\.protection\.outlook\.com/|urldefense\.(?:com|us|proofpoint\.com)/)", re.IGNORECASE
)
_NOSCRIPT_LINK = re.compile(
    r"<a\b[^<>]{0,500}?\bhref=[\"']([^\"'<>]{1,2000})[\"'][^<>]{0,500}>([^<>]{1,300})</a>", re.IGNORECASE
)
_LAZY_FRAMES = (
    "data-src", "data-lazy-src", "data-litespeed-src", "data-cmplz-src", "data-src-cmplz", "data-cookieblock-src",
    "data-consent-src", "data-cookieconsent-src", "data-original", "data-url", "data-rocket-lazyload-src",
)  # fmt: skip


def prepare_html(markup: str, links: LinkResolver) -> str:
    """Return HTML that the sanitiser leaves unchanged. `links` makes URLs absolute and collects the problems."""
    return _Preparer(links).prepare(markup)


class _Preparer:
    def __init__(self, links: LinkResolver) -> None:
        self.links = links
        self.out: list[str] = []
        self.depth = 0
        self.shown: set[str] = set()
        """Addresses of the pictures so far, and of the pages that embeds lead to."""
        self.from_noscript: set[str] = set()
        self.placeholder: Tag | None = None
        """A picture without an address that waits for its <noscript>."""
        self.linked: set[str] = set()
        self.sources: list[Tag] | None = None
        """The <source> elements of the open <picture>."""
        self.code = 0
        """How many elements with code are open, in which marks are shown."""
        self.is_in_line = False
        """Whether a paragraph or heading is open, in which no other may begin."""
        self.player: Tag | None = None
        """The open <video> or <audio>."""
        self.player_files: list[str] = []
        self.hidden: int | None = None
        """The depth of the open element that is hidden; None outside of hidden elements."""
        self.has_form_problem = False
        self.missing_script: LinkProblem | None = None
        """The problem with the script just before, whose <noscript> may hold a link in its place."""
        self.is_embedded = False
        """Whether an embedded document is being read."""
        self.link: tuple[int, str] | None = None
        """Where the open link with a label for screen readers begins, and the label."""

    def prepare(self, markup: str) -> str:
        tags = tidy_pasted(list(split_html(markup)), self.links.problems)
        self.linked = _list_linked(tags)
        self._put_all(tags)
        self._drop_placeholder()
        if self.player is not None:
            self._end_player()
        return "".join(self.out)

    def _put_all(self, tags: list[Tag]) -> None:
        ends = match_ends(tags, _SKIPPED)
        ended = {tag.name for tag in tags if tag.is_end}
        started = {tag.name for tag in tags if not tag.is_end}
        position = 0
        while position < len(tags):
            tag = tags[position]
            if not tag.name:
                self._put_text(tag.raw)
            elif is_text(tag, ended, started) or is_in_sentence(tags, position, ended):
                self._put_text(tag.raw, is_literal=True)
            elif tag.is_end:
                self._put_end(tag.name)
            elif tag.name in _SKIPPED and position in ends:
                self._put_skipped(tag, tags[position + 1 : ends[position]])
                position = ends[position]
            elif self.player is None or tag.name in ("source", "track"):
                self._put_start(tag, has_content=position + 1 < len(tags) and tags[position + 1].name != tag.name)
                if self.depth > MAX_DEPTH:
                    self.out.clear()
                    message = f"<{tag.name}> is opened {MAX_DEPTH} times and never closed"
                    self._report(f"<{tag.name}", message, "close each tag", level="error")
                    self.player = self.placeholder = None
                    return
            position += 1

    # -- text and tags ------------------------------------------------------------------------------------------------

    def _put_text(self, raw: str, *, is_literal: bool = False) -> None:
        if self.player is not None:
            return  # "Your browser does not play videos."
        if raw.strip():
            self._drop_placeholder()
            self.missing_script = None
        if not is_literal and re.match(r"\s*https?://\S+\s*$", raw) and find_service(raw.strip()) in PLAYERS:
            address = html.unescape(raw.strip())
            if page_key(address) not in self.linked:
                self._put_embed(Tag(raw, "iframe"), address)
                return
        if not is_literal and not self.code and any(sign in raw for sign in "[{$+"):
            self._put_marked(raw)
            return
        self.out.append(html.escape(raw, quote=False) if is_literal else raw.replace("<", "&lt;"))

    def _put_marked(self, raw: str) -> None:
        """Write a text that may contain shortcodes such as ![[photo.png]] or {{< youtube ID >}}."""
        position = 0
        for match in SHORTCODE.finditer(raw):
            self.out.append(raw[position : match.start()].replace("<", "&lt;"))
            position = match.end()
            what, values = read_shortcode(match)
            caption = values.pop("caption", "")
            tag = Tag(match[0], "img" if what == "picture" else "iframe", attributes=values)
            if what == "picture":
                self._put_picture(tag)
                self.out.append(f"<br><em>{html.escape(caption, quote=False)}</em>" if caption else "")
            elif what == "file":
                if href := self.links.absolute(values["src"]):
                    self._put_link(href, values["alt"])
            elif what == "embed":
                self._put_embed(tag, values["url"], written=html.unescape(match[0]))
            elif what != "nothing":
                self.out.append((values.get("text") or match[0]).replace("<", "&lt;"))
                written = html.unescape(match[0])
                message = f"the mark {written[:80]} means nothing here, and readers see it as text"
                self._report(written, message, "write a link, a picture or a sentence in its place")
        self.out.append(raw[position:].replace("<", "&lt;"))

    def _put_end(self, name: str) -> None:
        if self.player is not None:
            if name == self.player.name:
                self._end_player()
            return
        if name == "picture":
            self.sources = None
        if name in _LINES:
            self.is_in_line = False
        self.code -= name in _CODE and self.code > 0
        if name == "a" and self.link is not None:
            self._label_link(*self.link)
            self.link = None
        if name == "button":
            self.out.append(" ")
        name = RENAMED.get(name, name)
        if name in TAGS and name not in VOID:
            self.depth -= name not in _NEEDS_NO_END_TAG and self.depth > 0
            if self.hidden is not None and self.depth < self.hidden:
                self.hidden = None
            self.out.append(f"</{name}>")

    def _put_start(self, tag: Tag, *, has_content: bool) -> None:
        name, attributes = tag.name, tag.attributes
        if (scripted := find_scripted(name, attributes)) and page_key(scripted) not in self.linked:
            self._put_embed(tag, scripted)
        if not has_content and (component := read_component(attributes)) is not None:
            self._put_component(tag, component)
        if name in ("img", "image", "amp-img", "amp-anim", "v:imagedata"):
            self._put_picture(tag)
        elif name in ("object", "embed") and not has_content and attributes.get("type", "").startswith("image/"):
            address = attributes.get("data") or attributes.get("src", "")
            alt = attributes.get("aria-label") or attributes.get("title", "")
            self._put_picture(replace(tag, attributes=attributes | {"src": address, "alt": alt}))
        elif name in ("iframe", "frame", "embed", "object", "applet", "amp-iframe"):
            self._put_frame(tag)
        elif name == "noscript":
            self._put_noscript(tag)
        elif name == "script":
            if inner := read_blocked(attributes, tag.content):
                self._put_embedded(inner)
            elif not scripted:
                self._report_script(tag)
        elif name in ("textarea", "xmp", "plaintext"):
            self._put_text(tag.content)
        elif name in ("video", "audio", "amp-video", "amp-audio"):
            self._drop_placeholder()
            self.player, self.player_files = tag, []
            tag.name = name.removeprefix("amp-")
            self._open(tag.name, self._player_attributes(tag))
            if tag.is_closed:
                self._end_player()
        elif name == "source" and self.sources is not None:
            self.sources.append(tag)
            if any(attributes.get(each) for each in SRCSETS):
                value = next(attributes[each] for each in SRCSETS if attributes.get(each))
                self._open("source", self._kept(tag) | {"srcset": self._srcset(value)})
        elif name == "source" and self.player is not None:
            kept = self._kept(tag)
            self.player_files += filter(None, [kept.get("src")])
            self._open("source", kept)
        elif name == "area" and attributes.get("href"):
            href = self.links.absolute(attributes["href"])
            label = attributes.get("alt") or attributes.get("title") or href
            if href:
                self.out.append(f'<a href="{html.escape(href)}">{html.escape(label or "")}</a> ')
        elif name == "input" and attributes.get("type", "").lower() == "checkbox" and "disabled" in attributes:
            self._put_text("☑ " if "checked" in attributes else "☐ ")
        elif name == "input" and attributes.get("type", "text").lower() not in _UNREAD_INPUTS:
            self._report_form(tag)
        else:
            self._put_other(tag, has_content=has_content)

    def _put_other(self, tag: Tag, *, has_content: bool) -> None:
        name = RENAMED.get(tag.name, tag.name)
        if not has_content or tag.attributes.get("role") == "img":
            self._put_background(tag)
        if name == "picture":
            self.sources = []
        if name == "code" and (drawn := _DRAWN.search(tag.attributes.get("class", ""))):
            message = f"a block of {drawn[1]} is shown as code: only another program draws it"
            self._report(f"```{drawn[1]}", message, "save what it draws as a PNG file, and use that picture")
        if name in TAGS:
            kept = self._kept(tag)
            self._open(name, kept)
            if name == "a" and kept.get("href"):
                self._warn_of_filter(kept["href"] or "")
                label = tag.attributes.get("aria-label") or tag.attributes.get("title", "")
                label = label.strip() or find_service(kept["href"] or "")
                self.link = (len(self.out), label) if label else None
            if self.hidden is None and name not in _NEEDS_NO_END_TAG and is_pixel(tag.attributes, ""):
                self.hidden = self.depth
            if tag.is_closed and name == "a":
                self.out.append("</a>")
                self.depth -= 1
        elif name == "button":
            self.out.append(" ")
        if is_component(tag) or ("-" in name and not has_content and not find_scripted(name, tag.attributes)):
            self._report_element(tag)

    def _put_background(self, tag: Tag) -> None:
        """Write the picture of an element that shows it by CSS or by a script, if it has a label. Else report it."""
        address = next(iter(find_backgrounds(tag.attributes)), "")
        absolute = self.links.absolute(address, picture=True) if address else None
        if absolute is None or absolute in self.shown or is_decoration(absolute):
            return
        alt = tag.attributes.get("aria-label") or tag.attributes.get("title", "")
        if alt or tag.attributes.get("role") == "img":
            self._put_picture(Tag(tag.raw, "img", attributes={"src": address, "alt": alt}))
        else:
            message = f"a picture that only the page's design shows is left out: {absolute[:200]}"
            self._report(address, message, 'if readers need it, write <img src="..." alt="...">')

    def _label_link(self, start: int, label: str) -> None:
        """Write the label of a link that contains only a drawing, because a link without text is invisible."""
        text, pictures, _ = count_visible("".join(self.out[start:]))
        if not text and not pictures:
            self.out.append(html.escape(" ".join(label.split()), quote=False))

    def _warn_of_filter(self, href: str) -> None:
        """Warn about a URL that a mail filter has rewritten, because it may name the recipient of that mail."""
        if _MAIL_FILTER.match(href):
            message = "the link leads through a mail filter, and may name the person who got the mail"
            self._report(href, message, "open the link, and copy the address of the page itself")

    def _open(self, name: str, attributes: Mapping[str, str | None]) -> None:
        self.code += name in _CODE
        if name in _LINES or name in _BLOCKS:
            self.is_in_line = name in _LINES
        if name not in _NEEDS_NO_END_TAG:
            self.depth += 1
        self.out.append(write_tag(name, attributes))

    def _kept(self, tag: Tag) -> dict[str, str | None]:
        """Return the allowed attributes, with absolute URLs."""
        name = RENAMED.get(tag.name, tag.name)
        allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(name, set())
        kept: dict[str, str | None] = {key: value for key, value in tag.attributes.items() if key in allowed}
        for key in ("href", "src", "poster", "cite"):
            if key in kept and name not in ("img", "picture"):
                kept[key] = self.links.absolute(kept[key] or "", picture=key == "poster")
        return kept

    def _srcset(self, value: str) -> str | None:
        candidates = []
        for url, descriptor in split_srcset(value):
            absolute = None if is_inline(url) else self.links.absolute(url, picture=True)
            if absolute is not None:
                # A comma would end the candidate (HTML, srcset attribute).
                candidates.append(f"{absolute.replace(',', '%2C')} {descriptor}".strip())
        return ", ".join(candidates) or None

    def _report(self, value: str, message: str, mend: str, *, level: str = "warning") -> None:
        self.links.problems.append(LinkProblem(value, message, mend, level))

    def _report_script(self, tag: Tag) -> None:
        """Report a script that writes into the page, except scripts of known embeds, advertising and counters."""
        if "data-allowed-prefixes" in tag.attributes:
            return  # Mastodon's, beside a link to the post
        if host := find_writing_script(tag.attributes.get("src", ""), tag.content):
            message = f"what a script of {host} shows is missing"
            self._report(tag.raw[:80], message, "write what it shows as text, or a link to it")
            self.missing_script = self.links.problems[-1]

    def _report_element(self, tag: Tag) -> None:
        message = f"the element {tag.raw[:80]} is left out: only a script could show it"
        self._report(tag.raw[:80], message, "write what it shows as text, or a link to it")

    def _report_form(self, tag: Tag) -> None:
        if not self.has_form_problem:
            self.has_form_problem = True
            self._report(
                tag.raw[:80], "a form is left out, because readers cannot send it", "link to the page of the form"
            )

    # -- pictures -----------------------------------------------------------------------------------------------------

    def _put_picture(self, tag: Tag) -> None:
        attributes = tag.attributes
        address = self._find_address(tag)
        alt = " ".join((attributes.get("alt") or attributes.get("title", "")).split())
        if is_emoji(attributes, alt):
            self._put_text(alt, is_literal=True)
            return
        if attributes.get("aria-roledescription") == "checkbox":
            self._put_text("☐ " if alt.startswith("un") else "☑ ")
            return
        if is_pixel(attributes, address) or self.hidden is not None:
            return
        if not address or is_inline(address) or is_blank_file(address):
            self._drop_placeholder()
            self.placeholder = tag
            return
        if find_service(address) in PLAYERS and not re.search(
            r"\.(?:jpe?g|png|gif|webp)$", urlsplit(address).path, re.I
        ):
            self._put_embed(tag, address)  # Obsidian shows ![](https://youtu.be/ID) as a player.
            return
        absolute = self.links.absolute(address, picture=True)
        if absolute is None:
            return
        if any(_file_name(each) == _file_name(absolute) for each in self.from_noscript):
            self.from_noscript.clear()
            return
        self.shown.add(absolute)
        if AVATAR_CLASS.search(attributes.get("class", "")) or is_decoration(absolute):
            self.links.decorations.add(absolute)
        kept: dict[str, str | None] = {"src": absolute}
        is_replaced = attributes.get("src", "").strip() != address
        sets = (self._srcset(attributes[each]) for each in SRCSETS if attributes.get(each))
        kept["srcset"] = next(filter(None, sets), None)
        kept |= {key: attributes[key] for key in ("sizes", "alt", "title", "lang", "dir") if key in attributes}
        if not is_replaced:
            # A placeholder's size is not the size of the picture.
            for key in ("width", "height"):
                if number := re.fullmatch(r"\s*(\d{1,5})(?:\.\d+)?(?:px)?;?\s*", attributes.get(key, "")):
                    kept[key] = number[1]
        self._open("img", kept)

    def _find_address(self, tag: Tag) -> str:
        return find_address(tag.attributes, (source.attributes for source in self.sources or ()))

    def _drop_placeholder(self) -> None:
        """Report a picture without a URL, unless it was invisible."""
        tag, self.placeholder = self.placeholder, None
        if tag is None:
            return
        src = tag.attributes.get("src", "").strip()
        alt = tag.attributes.get("alt", "").strip()
        is_blank = is_blank_file(src) or re.match(r"data:image/(?:gif|svg|png).{0,230}$", src, re.IGNORECASE)
        is_unread = tag.attributes.get("aria-hidden") == "true" or tag.attributes.get("role") == "presentation"
        if ((is_blank or is_unread) and not alt) or _HIDDEN_CLASS.search(tag.attributes.get("class", "")):
            return
        name = f"({alt[:60]}) " if alt else ""
        if src.lower().startswith("data:"):
            message = f"a picture {name}inside the text itself ({src[:30]}...) is left out"
            mend = "save it as a file beside the item, and write its name"
        else:
            message, mend = (
                f"a picture {name}has no address and is left out",
                "write the name of its file or its address",
            )
        self._report(src[:200] or tag.raw[:80], message, mend, level="error")

    def _put_noscript(self, tag: Tag) -> None:
        """Use the pictures, frames and links in <noscript>, unless the page shows them already."""
        is_escaped = "<" not in tag.content and "&lt;" in tag.content
        content = html.unescape(tag.content) if is_escaped else tag.content
        inner = [each for each in split_html(content) if each.name in ("img", "iframe", "video", "audio", "source")]
        if self.missing_script is not None and (link := _NOSCRIPT_LINK.search(content)):
            self.links.problems.remove(self.missing_script)
            if href := self.links.absolute(html.unescape(link[1])):
                self._put_link(href, html.unescape(link[2]).strip())
        self.missing_script = None
        for each in inner:
            if each.name != "img":
                if not each.is_end and each.name == "iframe":
                    self._put_frame(each)
                continue
            address = self._find_address(each)
            if not address or is_inline(address) or is_pixel(each.attributes, address):
                continue
            absolute = self.links.absolute(address, picture=True)
            if absolute is None or absolute in self.shown:
                continue
            if self.placeholder is not None:
                self.placeholder = None
                self._put_picture(each)
            elif (preview := self._find_preview(absolute)) is not None:
                self.out[preview] = ""
                self._put_picture(each)
            else:
                self._put_picture(each)
                self.from_noscript.add(absolute)

    def _find_preview(self, absolute: str) -> int | None:
        """Find the picture just before a <noscript> that is the same file in another, smaller size."""
        places = range(len(self.out) - 1, max(len(self.out) - 5, -1), -1)
        place = next((place for place in places if self.out[place].strip()), -1)
        match = re.match(r'<img src="([^"]*)"', self.out[place]) if place >= 0 else None
        return place if match and _file_name(html.unescape(match[1])) == _file_name(absolute) else None

    # -- embeds -------------------------------------------------------------------------------------------------------

    def _put_frame(self, tag: Tag) -> None:
        attributes = tag.attributes
        names = ("src", "data", "movie", *_LAZY_FRAMES)
        values = [attributes.get(name, "").strip() for name in names]
        values += [value.strip() for name, value in attributes.items() if name.endswith(("src", "-url"))]
        address = find_player(attributes) or next(
            (value for value in values if value and not value.lower().startswith(("about:", "data:"))), ""
        )
        if address and not (tag.name == "iframe" and is_pixel(attributes, "")):
            self._put_embed(tag, address)
        elif attributes.get("srcdoc", "").strip() and not self.is_embedded:
            self._put_embedded(attributes["srcdoc"])
        elif tag.name == "iframe" and not address and attributes.get("title", "").strip():
            message = f"a frame ({attributes['title'].strip()[:60]}) has no address, and is left out"
            self._report(tag.raw[:80], message, "write a link to the page that it shows")

    def _put_embedded(self, markup: str) -> None:
        """Write the content of a document inside this one."""
        self.is_embedded = True
        self._put_all(list(split_html(markup)))
        self.is_embedded = False

    def _put_component(self, tag: Tag, component: Mapping[str, str]) -> None:
        if not component["url"]:
            self._report_element(tag)
        elif page_key(component["url"]) not in self.linked:
            self._put_embed(Tag(tag.raw, tag.name, attributes={"title": component["title"]}), component["url"])

    def _put_embed(self, tag: Tag, target: str, *, written: str = "") -> None:
        address = self.links.absolute(f"https:{target}" if target.startswith("//") else target)
        embed = find_embed(address) if address and address.startswith("http") else None
        if embed is None:
            return
        url = self.links.absolute(embed.url) or embed.url
        if url in self.shown or page_key(url) in self.linked:
            return
        self.shown.add(url)
        self._drop_placeholder()
        attributes = tag.attributes
        label = label_embed(embed, attributes.get("title") or attributes.get("aria-label") or attributes.get("alt", ""))
        picture = ""
        if embed.thumbnail and self.links.copies_pictures:
            picture = write_tag("img", {"src": embed.thumbnail, "alt": label}) + "<br>"
            self.shown.add(embed.thumbnail)
        self._put_link(url, label, picture)
        message = f"what {embed.service} would show here is a link to {url[:200]}"
        mend = (
            'give it a title (title="...") for the link' if label == embed.service else "say in the text what it shows"
        )
        self._report(written or target, message, mend)

    def _put_link(self, url: str, label: str, picture: str = "") -> None:
        link = f'<a href="{html.escape(url)}">{picture}{html.escape(label)}</a>'
        self.out.append(f" {link} " if self.is_in_line else f"<p>{link}</p>")

    def _player_attributes(self, tag: Tag) -> dict[str, str | None]:
        kept = self._kept(tag) | {"controls": ""}
        lazy = next((tag.attributes[name] for name in _LAZY_FRAMES if tag.attributes.get(name)), "")
        if not kept.get("src"):
            kept.pop("src", None)
            if lazy:
                kept["src"] = self.links.absolute(lazy)
        if kept.get("src"):
            self.player_files.append(kept["src"] or "")
        return kept

    def _end_player(self) -> None:
        """Close a player and add a link to its file, because mail programs and feed readers show no players."""
        tag, self.player = self.player, None
        if tag is None:
            return
        self.depth -= 1
        self.out.append(f"</{tag.name}>")
        url = next(iter(self.player_files), "")
        if not url:
            self._report(tag.raw[:80], f"a <{tag.name}> has no file and shows nothing", "write the address of its file")
        elif page_key(url) not in self.linked:
            title = tag.attributes.get("title") or tag.attributes.get("aria-label") or name_file(url)
            self._put_link(url, title)

    def _put_skipped(self, tag: Tag, inner: list[Tag]) -> None:
        """Leave out an element with its content, except the text of a formula. Report visible content."""
        text = " ".join(html.unescape(each.raw) for each in inner if not each.name).strip()
        if tag.name == "math":
            self._put_text(tag.attributes.get("alttext") or " ".join(text.split()), is_literal=True)
        elif tag.name == "select":
            self._report_form(tag)
        elif tag.name == "canvas":
            self._put_all(inner)
        elif tag.name == "svg":
            for each in inner:
                address = each.attributes.get("href") or each.attributes.get("xlink:href", "")
                if each.name == "image" and address:
                    alt = tag.attributes.get("aria-label") or " ".join(text.split())
                    self._put_picture(Tag(each.raw, "img", attributes={"src": address, "alt": alt}))
            label = tag.attributes.get("aria-label", "") or " ".join(text.split())
            words = any(each.name == "text" for each in inner) or tag.attributes.get("role") == "img"
            if words and label and tag.attributes.get("aria-hidden") != "true":
                message = f"a drawing (SVG) is left out: {label[:80]}"
                self._report(tag.raw[:80], message, "save it as a PNG file, and use that picture")


def _list_linked(tags: list[Tag]) -> set[str]:
    """Return the targets of links, except links inside players, which nobody sees."""
    linked, players = set(), 0
    for tag in tags:
        if tag.name in ("video", "audio") and not tag.is_closed:
            players = max(0, players + (-1 if tag.is_end else 1))
        elif tag.name == "a" and "href" in tag.attributes and not players:
            linked.add(page_key(tag.attributes["href"]))
    return linked


def _file_name(url: str) -> str:
    return urlsplit(url).path.rstrip("/").rpartition("/")[2] or url
