"""Check the DNS records of a domain that mail comes from: SPF, DKIM, DMARC, MX, MTA-STS and TLS-RPT."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tidings.config.cross_checks import organisational_domain
from tidings.config.dkim import MIN_RSA_BITS
from tidings.model.plurals import count_noun
from tidings.net import ConnectionLostError, HttpResponse, NotSentError
from tidings.render.mail.dkim import DkimIdentity
from tidings.runtime.monitoring.doctor import spf
from tidings.runtime.monitoring.doctor.dmarc import REMOVED, TreeWalk, is_aligned, walk_tree
from tidings.runtime.monitoring.doctor.dns_lookups import DnsLookups, quote_text_record, to_ascii

Level = Literal["ok", "unknown", "warning", "error"]
"""`unknown`: it could not be looked up. `error`: mail would fail."""
Fetch = Callable[[str], HttpResponse]
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One result: its subject, its place, the finding, the remedy, and the record to publish."""

    level: Level
    check: str
    """spf, dkim, dmarc, mx, ptr, mta-sts, tls-rpt, connection, tls, login, size, sender."""
    where: str
    """The domain, the address or the mail host."""
    text: str
    mend: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """How mail from a domain leaves: by which addresses or provider, and how it is signed."""

    sender: str
    return_domain: str
    """Domain of the return path; empty if the provider chooses it."""
    addresses: tuple[str, ...] = ()
    """IP addresses that receivers see; empty if they are unknown."""
    include: str = ""
    """The name that a known provider asks to include in SPF."""
    host_domain: str = ""
    """The mail host, if its addresses were only guessed from it."""
    identities: tuple[DkimIdentity, ...] = ()
    signs_itself: bool = False
    """Whether the provider adds its own signature."""


def unknown(check: str, where: str, name: str, failure: str) -> DoctorFinding:
    """Return the finding for a look-up that failed."""
    mend = "try again later, or name another name server with --resolver"
    return DoctorFinding("unknown", check, where, f"{name} could not be looked up: {failure}", mend)


# -- SPF ---------------------------------------------------------------------------------------------------------------


def check_spf(dns: DnsLookups, domain: str, route: Route, *, is_return_path: bool) -> Iterator[DoctorFinding]:
    """Check SPF. Receivers look at the domain of the return path, so at another one nothing is an error."""
    worst: Level = "error" if is_return_path else "warning"
    answer = dns.texts(domain)
    if answer.failure:
        yield unknown("spf", domain, domain, answer.failure)
        return
    records = spf.find_records(answer)
    if len(records) != 1:
        text = "there is no SPF record" if not records else f"there are {len(records)} SPF records; only one is allowed"
        mend = "publish this record" if not records else "replace them all with this one"
        yield DoctorFinding(worst, "spf", domain, f"{text}: receivers refuse mail or call it spam", mend,
                      quote_text_record(domain, _make_spf_record(records, route)))  # fmt: skip
        return
    record = quote_text_record(domain, _make_spf_record(records, route))
    whole = spf.walk(dns, domain)
    if whole.result == "temperror":
        yield DoctorFinding("unknown", "spf", domain, whole.reason, "try again later")
        return
    if whole.result == "permerror":
        yield DoctorFinding(
            worst, "spf", domain, f"SPF is broken: {whole.reason}", "correct this record", _shown(answer.records)
        )
        return
    if whole.lookups > spf.MOST_LOOKUPS:
        text = f"SPF needs {whole.lookups} look-ups, and {spf.MOST_LOOKUPS} are allowed"
        mend = "take out what sends no mail for you, or replace an include with its addresses (ip4:, ip6:)"
        is_hit = not route.addresses or _evaluate(dns, domain, route)[1] != "pass"
        yield DoctorFinding(worst if is_hit else "warning", "spf", domain, text, mend)
        if is_hit:
            return
    yield from _check_coverage(dns, domain, route, whole, worst, record)


def _check_coverage(
    dns: DnsLookups, domain: str, route: Route, whole: spf.SpfResult, worst: Level, record: str
) -> Iterator[DoctorFinding]:
    lookups = f"{whole.lookups} of {spf.MOST_LOOKUPS} look-ups"
    if route.include:
        if route.include in whole.domains:
            yield DoctorFinding("ok", "spf", domain, f"SPF lets {route.sender} send ({lookups})")
        else:
            text = f"SPF does not name {route.sender}: include:{route.include} is missing"
            yield DoctorFinding(worst, "spf", domain, text, "change the record to this", record)
        return
    if not route.addresses:
        if not route.signs_itself:
            text = f"the record is valid ({lookups}), but the addresses from which your mail leaves are unknown"
            mend = "name them with --sending-ip, or as `sends_from` under `mail:`"
            yield DoctorFinding("unknown", "spf", domain, text, mend)
        return
    address, result = _evaluate(dns, domain, route)
    if result == "pass":
        yield DoctorFinding("ok", "spf", domain, f"SPF lets {', '.join(route.addresses)} send ({lookups})")
    elif result == "temperror":
        yield unknown("spf", domain, f"SPF for {address}", "a name in the record did not answer")
    else:
        text = f"SPF does not let {address} send ({result})"
        mend = "change the record to this"
        level: Level = worst if result in ("fail", "permerror") else "warning"
        if route.host_domain:
            mend += "; if your mail leaves from other addresses, name them with --sending-ip"
            own = organisational_domain(route.host_domain)
            if any(organisational_domain(name) == own for name in whole.domains if name != domain):
                level = "warning"  # the host's own record lists addresses that we cannot know
        yield DoctorFinding(level, "spf", domain, text, mend, record)


def _evaluate(dns: DnsLookups, domain: str, route: Route) -> tuple[str, str]:
    """Return the first address that does not pass, with its result; else the last address, with `pass`."""
    address, result = "", "none"
    for address in route.addresses:
        result = spf.check_address(dns, domain, address).result
        if result != "pass":
            break
    return address, result


def passes_spf(dns: DnsLookups, route: Route) -> bool | None:
    """Whether mail of this route passes SPF; None if that cannot be known."""
    if not route.return_domain or (not route.addresses and not route.include):
        return None
    answer = dns.texts(route.return_domain)
    if answer.failure:
        return None
    if route.include:
        return route.include in spf.walk(dns, route.return_domain).domains
    result = _evaluate(dns, route.return_domain, route)[1]
    return None if result == "temperror" else result == "pass"


def _make_spf_record(records: Sequence[str], route: Route) -> str:
    """Return one record that keeps what the present ones allow, and lets this route send."""
    wanted = [f"include:{route.include}"] if route.include else []
    wanted += [f"ip{ipaddress.ip_address(address).version}:{address}" for address in route.addresses]
    kept: list[str] = []
    ends: list[str] = []
    for record in records:
        for term in record.split()[1:]:
            name = term.lower().lstrip("+?~-")
            (ends if name == "all" or name.startswith("redirect=") else kept).append(term)
    # A redirect counts only without `all`.
    end = next((term for term in ends if "=" in term), ends[0] if ends else "~all")
    if not wanted and not kept and not records:
        wanted = ["mx"]
    return " ".join(["v=spf1", *dict.fromkeys([*wanted, *kept]), end])


def _shown(records: Iterable[str]) -> str:
    return next((text for text in records if text.lower().startswith("v=spf1")), "")


# -- DKIM --------------------------------------------------------------------------------------------------------------


def check_dkim(dns: DnsLookups, identity: DkimIdentity) -> DoctorFinding:
    """Compare the published key of a selector with the key that signs."""
    name, domain = identity.name, identity.domain
    wanted = quote_text_record(name, identity.record)
    answer = dns.texts(name)
    if answer.failure:
        return unknown("dkim", domain, name, answer.failure)
    if not answer.records:
        text = f"the DKIM key is not published: {name} has no TXT record, so no signature counts"
        return DoctorFinding("error", "dkim", domain, text, "publish this record", wanted)
    if len(answer.records) > 1:
        text = f"{name} has {count_noun(len(answer.records), 'TXT record')}, and only one is allowed"
        return DoctorFinding("error", "dkim", domain, text, "keep this one alone", wanted)
    tags = _read_tags(answer.records[0])
    fault = _find_key_fault(tags, identity)
    if fault:
        return DoctorFinding(
            "error", "dkim", domain, f"{name}: {fault}, so no signature counts", "publish this record", wanted
        )
    size = getattr(identity.key, "key_size", 0)
    kind = f"RSA, {size} bits" if size else "Ed25519"
    if "y" in tags.get("t", "").split(":"):
        text = f"{name} is marked as a test (t=y): receivers may ignore the signature"
        return DoctorFinding("warning", "dkim", domain, text, "publish this record", wanted)
    return DoctorFinding("ok", "dkim", domain, f"the key at {name} is the one that signs ({kind})")


def _read_tags(text: str) -> dict[str, str]:
    parts = (part.partition("=") for part in text.split(";"))
    return {name.strip(): re.sub(r"\s", "", value) for name, sign, value in parts if sign}


def _find_key_fault(tags: dict[str, str], identity: DkimIdentity) -> str:
    """Return what is wrong with a published key (RFC 6376 §3.6.1), empty if it is right."""
    ours = _read_tags(identity.record)
    if "\\" in tags.get("v", "") + tags.get("k", ""):
        return "the record has backslashes in it"
    if tags.get("v", "DKIM1") != "DKIM1":
        return f"this is not a DKIM record (v={tags['v']})"
    if "p" not in tags:
        return "the record has no key (p=)"
    if not tags["p"]:
        return "the key is revoked (p= is empty)"
    kind = tags.get("k", "rsa").lower()
    if kind != ours["k"]:
        return f"the key is of another kind (k={kind})"
    try:
        published = base64.b64decode(tags["p"], validate=True)
    except (binascii.Error, ValueError):
        return "the key is broken; a part of it may be missing"
    if published != base64.b64decode(ours["p"]):
        return f"this is another key than the one that signs{_describe_size(published, kind)}"
    if tags.get("h") and "sha256" not in tags["h"].lower().split(":"):
        return f"it allows no SHA-256 (h={tags['h']})"
    if tags.get("s") and not {"*", "email"} & set(tags["s"].lower().split(":")):
        return f"it is not for mail (s={tags['s']})"
    return ""


def _describe_size(published: bytes, kind: str) -> str:
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    if kind != "rsa":
        return ""
    try:
        size = getattr(load_der_public_key(published), "key_size", 0)
    except ValueError:
        return ", or a part of it is missing"
    return f", and it has only {size} bits" if 0 < size < MIN_RSA_BITS else ""


# -- DMARC -------------------------------------------------------------------------------------------------------------


def check_dmarc(dns: DnsLookups, domain: str, routes: Sequence[Route]) -> Iterator[DoctorFinding]:
    """Check the DMARC policy of a From domain, and whether each route passes it (RFC 9989)."""
    tree = walk_tree(dns, domain)
    for name in tree.several:
        text = f"_dmarc.{name} has several DMARC records, so receivers ignore them all"
        yield DoctorFinding("error", "dmarc", domain, text, "keep one of them")
    if tree.failure:
        failed, _, failure = tree.failure.partition(": ")
        yield unknown("dmarc", domain, failed, failure)
        return
    record = tree.policy_record
    if record is None:
        if not tree.several:
            owner = organisational_domain(domain)
            wanted = f"v=DMARC1; p=none; rua=mailto:dmarc@{owner}"
            text = "there is no DMARC record: Gmail, Yahoo and Outlook refuse bulk mail without one"
            mend = "publish this record, with an address where you read reports"
            yield DoctorFinding("error", "dmarc", domain, text, mend, quote_text_record(f"_dmarc.{owner}", wanted))
        return
    if not record.policy:
        text = f"_dmarc.{record.domain} has a wrong policy (p={record.tags['p']})"
        yield DoctorFinding("warning", "dmarc", domain, text, "write p=none, p=quarantine or p=reject")
    if removed := [tag for tag in REMOVED if tag in record.tags]:
        text = (
            f"_dmarc.{record.domain} has {', '.join(f'{tag}=' for tag in removed)}: receivers ignore it since RFC 9989"
        )
        yield DoctorFinding("warning", "dmarc", domain, text, "take it out")
    for route in routes:
        yield _check_alignment(dns, tree, route)


def _check_alignment(dns: DnsLookups, tree: TreeWalk, route: Route) -> DoctorFinding:
    record, domain = tree.policy_record, tree.start
    assert record is not None
    proofs: list[str] = []
    open_questions: list[str] = []
    for identity in route.identities:
        other = walk_tree(dns, identity.domain)
        if other.failure:
            open_questions.append(other.failure)
        elif is_aligned(dns, tree, identity.domain, strict=record.tags.get("adkim", "r").lower() == "s"):
            published = check_dkim(dns, identity).level
            if published in ("ok", "warning"):
                proofs.append(f"the signature of {identity.domain}")
            elif published == "unknown":
                open_questions.append(f"the key at {identity.name} could not be looked up")
    if route.return_domain:
        passes = passes_spf(dns, route)
        other = walk_tree(dns, route.return_domain)
        if other.failure:
            open_questions.append(other.failure)
        elif is_aligned(dns, tree, route.return_domain, strict=record.tags.get("aspf", "r").lower() == "s"):
            if passes:
                proofs.append(f"SPF of {route.return_domain}")
            elif passes is None:
                open_questions.append("whether SPF passes is unknown")
    policy = f"p={tree.policy or 'none'}, by _dmarc.{record.domain}"
    if proofs:
        # SPF alone is lost when a mail is forwarded.
        text = f"mail by {route.sender} passes DMARC ({policy}), by {' and '.join(dict.fromkeys(proofs))}"
        if any(proof.startswith("the signature") for proof in proofs) or not route.identities:
            return DoctorFinding("ok", "dmarc", domain, text)
        mend = f"sign with a key of {domain}: SPF alone is lost when a mail is forwarded"
        return DoctorFinding("warning", "dmarc", domain, text, mend)
    if open_questions or not route.identities:
        reason = open_questions[0] if open_questions else "Tidings does not sign, so it depends on the mail host"
        text = f"whether mail by {route.sender} passes DMARC ({policy}) is not known: {reason}"
        mend = "run `tidings test`, and look for dmarc=pass under Authentication-Results in the mail"
        return DoctorFinding("unknown", "dmarc", domain, text, mend)
    signers = ", ".join(dict.fromkeys(identity.domain for identity in route.identities))
    text = f"mail by {route.sender} fails DMARC ({policy}): neither the signature of {signers} nor SPF counts for it"
    mend = f"correct SPF and DKIM as told here; sign with a key of {tree.organisation} or a domain below it"
    return DoctorFinding("error", "dmarc", domain, text, mend)


# -- MX ----------------------------------------------------------------------------------------------------------------


def check_mx(dns: DnsLookups, domain: str, use: str) -> Iterator[DoctorFinding]:
    """Check that mail to a domain arrives: replies, and bounces. `use` says which."""
    answer = dns.mail_exchangers(domain)
    if answer.failure:
        yield unknown("mx", domain, f"the mail hosts of {domain}", answer.failure)
        return
    if not answer.exists:
        mend = "register it, or correct the address in tidings.yaml"
        yield DoctorFinding(
            "error", "mx", domain, f"the domain does not exist, so receivers refuse mail from it ({use})", mend
        )
        return
    if not answer.records:
        direct = dns.addresses(domain)
        if direct.failure:
            yield unknown("mx", domain, domain, direct.failure)
            return
        level: Level = "warning" if direct.records else "error"
        text = f"there is no mail host (MX) for {use}"
        text += (
            ": mail goes to the address of the domain itself" if direct.records else ", so receivers refuse the mail"
        )
        yield DoctorFinding(
            level, "mx", domain, text, "publish a record like this", f"{to_ascii(domain)}. IN MX 10 mail.{domain}."
        )
        return
    if [host for _, host in answer.records] in ([""], ["."]):
        text = f"the domain takes no mail (a null MX, RFC 7505), so {use} fail and receivers refuse it as a sender"
        yield DoctorFinding(
            "error", "mx", domain, text, "publish a mail host", f"{to_ascii(domain)}. IN MX 10 mail.{domain}."
        )
        return
    dead: list[str] = []
    for _, host in answer.records:
        found = dns.addresses(host)
        if found.failure:
            yield unknown("mx", domain, f"the mail host {host}", found.failure)
        elif not found.records:
            dead.append(host)
        elif found.is_alias:
            text = f"the mail host {host} is an alias (CNAME), which RFC 2181 forbids"
            yield DoctorFinding("warning", "mx", domain, text, "give it addresses (A, AAAA) of its own")
    hosts = [host for _, host in answer.records]
    if dead:
        level = "error" if len(dead) == len(hosts) else "warning"
        text = f"{'the mail host' if len(dead) == 1 else 'these mail hosts'} {', '.join(dead)} have no address"
        text = text.replace(" have ", " has ") if len(dead) == 1 else text
        yield DoctorFinding(level, "mx", domain, text, "correct the MX record, or publish the address of the host")
    else:
        yield DoctorFinding("ok", "mx", domain, f"mail to it goes to {', '.join(hosts)} ({use})")


# -- MTA-STS and TLS-RPT -----------------------------------------------------------------------------------------------


def check_mta_sts(dns: DnsLookups, domain: str, fetch: Fetch) -> Iterator[DoctorFinding]:
    """Check the policy by which others must use TLS for replies and bounces (RFC 8461)."""
    name = f"_mta-sts.{domain}"
    answer = dns.texts(name)
    url = f"https://mta-sts.{domain}/.well-known/mta-sts.txt"
    hosts = [host for _, host in dns.mail_exchangers(domain).records]
    if answer.failure:
        yield unknown("mta-sts", domain, name, answer.failure)
        return
    records = [text for text in answer.records if re.match(r"v\s*=\s*STSv1\s*;", text)]
    if not records:
        text = "there is no MTA-STS: replies and bounces may travel without TLS"
        lines = ["version: STSv1", "mode: testing", *(f"mx: {host}" for host in hosts), "max_age: 604800"]
        mend = f"publish this record, and a file with these lines at {url}: {', '.join(f'`{line}`' for line in lines)}"
        yield DoctorFinding("warning", "mta-sts", domain, text, mend, quote_text_record(name, "v=STSv1; id=1"))
        return
    if len(records) > 1 or not re.search(r";\s*id\s*=\s*[A-Za-z0-9]{1,32}\s*(?:;|$)", records[0]):
        text = f"{name} has {len(records)} records; one is allowed" if len(records) > 1 else f"{name} has no valid id="
        yield DoctorFinding(
            "warning", "mta-sts", domain, text, "publish this record", quote_text_record(name, "v=STSv1; id=1")
        )
        return
    try:
        response = fetch(url)
    except (NotSentError, ConnectionLostError) as error:
        yield DoctorFinding(
            "unknown", "mta-sts", domain, f"the policy at {url} could not be read: {error}", "open it in a browser"
        )
        return
    if response.status != 200:
        text = f"the policy at {url} answers {response.status}"
        yield DoctorFinding("warning", "mta-sts", domain, text, "publish the file there, without a redirect")
        return
    yield _check_policy(domain, url, response, hosts)


def _check_policy(domain: str, url: str, response: HttpResponse, hosts: Sequence[str]) -> DoctorFinding:
    keys: dict[str, list[str]] = {}
    for line in response.text.splitlines():
        key, _, value = line.partition(":")
        keys.setdefault(key.strip().lower(), []).append(value.strip())
    mode, patterns = keys.get("mode", [""])[0], [pattern.lower() for pattern in keys.get("mx", [])]
    age = keys.get("max_age", [""])[0]
    if keys.get("version") != ["STSv1"] or mode not in ("enforce", "testing", "none") or not age.isdigit():
        mend = "write `version: STSv1`, `mode: testing`, a line `mx: HOST` for each mail host, and `max_age: 604800`"
        return DoctorFinding("warning", "mta-sts", domain, f"the policy at {url} is not valid", mend)
    outside = [host for host in hosts if not any(_fits(host, pattern) for pattern in patterns)]
    if outside and mode != "none":
        text = f"the policy at {url} (mode: {mode}) does not name {', '.join(outside)}"
        text += ": replies and bounces to it fail" if mode == "enforce" else ""
        mend = f"add `mx: {outside[0]}`, and change id= in _mta-sts.{domain}"
        return DoctorFinding("error" if mode == "enforce" else "warning", "mta-sts", domain, text, mend)
    if int(age) < _DAY:
        return DoctorFinding(
            "warning", "mta-sts", domain, f"max_age in {url} is less than a day", "write `max_age: 604800`"
        )
    return DoctorFinding("ok", "mta-sts", domain, f"MTA-STS is published (mode: {mode})")


def _fits(host: str, pattern: str) -> bool:
    """Whether a mail host fits an `mx` pattern; * stands for one label (RFC 8461 §4.1)."""
    return host == pattern or (pattern.startswith("*.") and host.partition(".")[2] == pattern[2:])


def check_tls_rpt(dns: DnsLookups, domain: str) -> DoctorFinding:
    """Check where others report TLS that failed (RFC 8460)."""
    name = f"_smtp._tls.{domain}"
    answer = dns.texts(name)
    wanted = quote_text_record(name, f"v=TLSRPTv1; rua=mailto:tls-reports@{domain}")
    if answer.failure:
        return unknown("tls-rpt", domain, name, answer.failure)
    records = [text for text in answer.records if re.match(r"v\s*=\s*TLSRPTv1\s*;", text)]
    if not records:
        text = "there is no TLS-RPT: nobody reports to you when TLS fails"
        return DoctorFinding(
            "warning", "tls-rpt", domain, text, "publish this record, with an address where you read reports", wanted
        )
    if len(records) > 1 or not re.search(r";\s*rua\s*=\s*(?:mailto:|https://)\S", records[0]):
        text = "there are several TLS-RPT records" if len(records) > 1 else "the TLS-RPT record has no address (rua=)"
        return DoctorFinding("warning", "tls-rpt", domain, text, "publish this record", wanted)
    return DoctorFinding("ok", "tls-rpt", domain, "TLS-RPT is published")
