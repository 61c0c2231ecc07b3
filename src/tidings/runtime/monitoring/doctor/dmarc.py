"""DMARC (RFC 9989): the tree walk, the policy of a From domain, and alignment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups

_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(?:;|$)")
"""RFC 9989 §4.7: the version comes first, and in capitals."""
_MANY_LABELS = 8
REMOVED = ("pct", "rf", "ri")
"""Tags of RFC 7489 that receivers ignore now."""


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """A record, and the domain that has it."""

    domain: str
    tags: Mapping[str, str]
    text: str

    @property
    def policy(self) -> str:
        """The policy of `p`; `none` without it."""
        policy = self.tags.get("p", "none").lower()
        return policy if policy in ("none", "quarantine", "reject") else ""


@dataclass(frozen=True, slots=True)
class TreeWalk:
    """The records on the way from a domain up to its top-level domain (RFC 9989 §4.10), the longest name first."""

    start: str
    records: tuple[DmarcRecord, ...]
    several: tuple[str, ...] = ()
    """Domains that have more than one record. Receivers discard them all."""
    failure: str = ""
    """Why the walk could not be finished."""

    @property
    def organisation(self) -> str:
        """The organisational domain (§4.10.2)."""
        for record in self.records:
            flag = record.tags.get("psd", "u").lower()
            if flag == "n":
                return record.domain
            if flag == "y" and record.domain != self.start:
                return ".".join(self.start.split(".")[-record.domain.count(".") - 2 :])
        return self.records[-1].domain if self.records else self.start

    @property
    def policy_record(self) -> DmarcRecord | None:
        """The record that receivers apply (§4.10.1): the domain's own, the organisation's, or the public suffix's."""
        by_domain = {record.domain: record for record in self.records}
        own = by_domain.get(self.start) or by_domain.get(self.organisation)
        public = [record for record in self.records if record.tags.get("psd", "u").lower() == "y"]
        return own or (public[0] if public else None)

    @property
    def policy(self) -> str:
        """What receivers should do with mail that fails: none, quarantine or reject; empty if it is wrong."""
        record = self.policy_record
        if record is None:
            return ""
        below = record.tags.get("sp", "").lower()
        return below if record.domain != self.start and below in ("none", "quarantine", "reject") else record.policy


def parse_record(text: str) -> dict[str, str] | None:
    """Return the tags of a DMARC record, or None if it is none."""
    if not _VERSION.match(text):
        return None
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, sign, value = part.partition("=")
        if sign:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def walk_tree(dns: DnsLookups, domain: str) -> TreeWalk:
    """Ask for the DMARC records of a domain and of the domains above it (RFC 9989 §4.10)."""
    domain = domain.rstrip(".").lower()
    labels = domain.split(".")
    records: list[DmarcRecord] = []
    several: list[str] = []
    while labels:
        name = ".".join(labels)
        answer = dns.texts(f"_dmarc.{name}")
        if answer.failure:
            return TreeWalk(domain, tuple(records), tuple(several), f"_dmarc.{name}: {answer.failure}")
        found = [(tags, text) for text in answer.records if (tags := parse_record(text)) is not None]
        if len(found) > 1:
            several.append(name)
        elif found:
            records.append(DmarcRecord(name, *found[0]))
            if found[0][0].get("psd", "u").lower() in ("y", "n"):
                break
        # A name of many labels is shortened at once, so that a walk takes eight questions at the most.
        labels = labels[1:] if len(labels) < _MANY_LABELS else labels[-_MANY_LABELS + 1 :]
    return TreeWalk(domain, tuple(records), tuple(several))


def is_aligned(dns: DnsLookups, of: TreeWalk, other: str, *, strict: bool) -> bool:
    """Whether a domain that SPF or DKIM has proven counts for mail from `of.start` (RFC 9989 §4.4)."""
    other = other.rstrip(".").lower()
    if strict or other == of.start:
        return other == of.start
    return walk_tree(dns, other).organisation == of.organisation
