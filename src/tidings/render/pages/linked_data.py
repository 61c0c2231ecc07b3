"""Data for machines in pages: JSON-LD (schema.org) for search engines, and languages for Open Graph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from babel.core import get_global
from markupsafe import Markup

from tidings.model.item import Item
from tidings.model.text import one_line
from tidings.render.i18n import to_zone, topic_label, whole_days
from tidings.render.site_views import SiteView
from tidings.render.urls import ascii_url, page_path, search_path

_OPEN_GRAPH = {"ar": "ar_AR", "en": "en_GB", "zh": "zh_CN"}
"""Locales that Open Graph spells differently."""


def describe_item(item: Item, site: SiteView) -> Markup:
    """Return schema.org's NewsArticle, or Event if the item has a start."""
    publisher = _publisher(site)
    if item.contacts:
        publisher["contactPoint"] = [
            {"@type": "ContactPoint", "contactType": "press"}
            | {
                key: value
                for key, value in (("name", each.name), ("email", each.email), ("telephone", each.phone))
                if value
            }
            for each in item.contacts
        ]
    values: dict[str, Any] = {"@context": "https://schema.org", "inLanguage": item.language, "url": ascii_url(item.url)}
    if item.starts is not None:
        days = whole_days(item.starts, item.ends, site.zone)
        values |= {"@type": "Event", "name": one_line(item.title)}
        values["startDate"] = days[0].isoformat() if days else iso_date(item.starts, site)
        if item.ends is not None:
            values["endDate"] = days[1].isoformat() if days else iso_date(item.ends, site)
        if item.place:
            values["location"] = {"@type": "Place", "name": one_line(item.place), "address": one_line(item.place)}
        values["organizer"] = publisher
    else:
        values |= {
            "@type": "NewsArticle",
            "headline": one_line(item.title),
            "datePublished": iso_date(item.published, site),
        }
        values["dateModified"] = iso_date(max(item.published, item.changed), site)
        authors = [{"@type": "Person", "name": one_line(name)} for name in item.authors]
        values |= {"author": authors or [publisher], "publisher": publisher, "mainEntityOfPage": ascii_url(item.url)}
        if item.topics:
            values["keywords"] = [one_line(topic_label(topic, site.topics)) for topic in item.topics]
    if item.summary:
        values["description"] = one_line(item.summary)
    if item.images:
        values["image"] = [ascii_url(image.src) for image in item.images]
    return _as_script(values)


def describe_site(site: SiteView) -> Markup:
    """Return schema.org's WebSite with its search, for the front page of a language."""
    home = ascii_url(site.url + page_path(site.language))
    search = ascii_url(site.url + search_path(site.language))
    action = {
        "@type": "SearchAction",
        "target": {"@type": "EntryPoint", "urlTemplate": f"{search}?q={{search_term_string}}"},
        "query-input": "required name=search_term_string",
    }
    values = {"@context": "https://schema.org", "@type": "WebSite", "name": one_line(site.title), "url": home}
    return _as_script({**values, "inLanguage": site.language, "publisher": _publisher(site), "potentialAction": action})


def describe_list(site: SiteView, title: str, path: str, items: Sequence[Item]) -> Markup:
    """Return schema.org's CollectionPage: a list of items under one title."""
    entries = [
        {"@type": "ListItem", "position": number, "url": ascii_url(item.url), "name": one_line(item.title)}
        for number, item in enumerate(items, 1)
    ]
    return _as_script(
        {
            "@context": "https://schema.org",
            "@type": "CollectionPage",
            "name": title,
            "url": ascii_url(site.url + path),
            "inLanguage": site.language,
            "publisher": _publisher(site),
            "mainEntity": {"@type": "ItemList", "itemListElement": entries},
        }
    )


def iso_date(moment: datetime, site: SiteView) -> str:
    """Write a moment in ISO 8601, in the site's zone, in whole seconds."""
    return to_zone(moment, site.zone).replace(microsecond=0).isoformat()


@cache
def open_graph_locale(language: str) -> str:
    """Return a language in the format of Open Graph, with its most likely country: `ru_RU`."""
    parts = language.split("-")
    country = next((part.upper() for part in parts[1:] if len(part) == 2), "")
    if not country and parts[0] in _OPEN_GRAPH:
        return _OPEN_GRAPH[parts[0]]
    likely = str(get_global("likely_subtags").get(parts[0], ""))
    country = country or next((part for part in likely.split("_")[1:] if len(part) == 2), "")
    return f"{parts[0]}_{country}" if country else parts[0]


def _publisher(site: SiteView) -> dict[str, Any]:
    values: dict[str, Any] = {"@type": "Organization", "name": one_line(site.title), "url": ascii_url(site.url)}
    if site.logo_url:
        values["logo"] = {"@type": "ImageObject", "url": ascii_url(site.logo_url)}
    return values


def _as_script(values: dict[str, Any]) -> Markup:
    text = json.dumps(values, ensure_ascii=False)
    # HTML entities do not work in a script element, so these are JSON escapes.
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # noqa: S704
