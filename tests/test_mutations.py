"""Break each promise of docs/guarantees.md in one line: the test that guards it must fail.

Each mutation changes one line in a copy of the source and runs the named test there. That takes some seconds each, so
`make test-all` tries a few. MUTATIONS=all tries all of them, MUTATIONS=NAME,... some.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A changed line of `src/tidings/FILE`, and the test that must notice it."""

    name: str
    file: str
    line: str
    instead: str
    test: str


PROMISES = {
    "Nobody is lost": (
        Mutation(
            "the-dead-keep-their-mails", "pipeline/deliver/recovery.py",
            "is_alive = liveness.is_alive(owner)",
            "is_alive = True",
            "tests/pipeline/deliver/test_deliverer.py::test_deliveries_of_a_dead_process_are_recovered",
        ),
        Mutation(
            "rows-in-closed-mailings", "store/delivery/ledger.py",
            "connection.execute(update(t.mailings).where(without_edition).values(open=True))",
            "pass",
            "tests/store/delivery/test_ledger.py::test_a_row_in_a_closed_mailing_does_not_wait_for_ever[sqlite]",
        ),
        Mutation(
            "final-after-one-refusal", "pipeline/deliver/outcomes.py",
            "case Verdict.DEFERRED if delivery.attempts < len(BACKOFF):",
            "case Verdict.DEFERRED if not delivery.attempts:",
            "tests/pipeline/deliver/test_deliverer.py::test_temporary_refusals_are_retried_and_given_up",
        ),
    ),
    "Nobody is mailed twice": (
        Mutation(
            "late-results-count", "store/delivery/settling.py",
            "d.c.fence == delivery.fence,\n                d.c.state", "d.c.state",
            "tests/store/delivery/test_ledger.py::test_the_fence_makes_a_late_write_void",
        ),
        Mutation(
            "rows-not-unique", "store/migrations/versions/m0001_first.py",
            'unique=["mailing target story purpose part"],',
            "",
            "tests/store/delivery/test_ledger.py::test_adding_twice_adds_nothing[sqlite]",
        ),
        Mutation(
            "intents-are-forgotten", "pipeline/deliver/recovery.py",
            "if key in record.intents or may_be_lost:",
            "if may_be_lost:",
            "tests/pipeline/deliver/test_deliverer.py::test_deliveries_of_a_dead_process_are_recovered",
        ),
        Mutation(
            "outcomes-are-forgotten", "pipeline/deliver/recovery.py",
            "if outcome is not None:",
            "if False:",
            "tests/pipeline/deliver/test_deliverer.py::test_deliveries_of_a_dead_process_are_recovered",
        ),
        Mutation(
            "bodies-before-intents", "channels/smtp/relay.py",
            "permissions = self._queue.begin(mails)",
            "permissions = [True] * len(mails)",
            "tests/pipeline/deliver/test_deliverer.py::test_an_expired_lease_is_noticed_before_a_message_begins",
        ),
        Mutation(
            "woken-processes-send", "pipeline/deliver/batch.py",
            "if permitted.lease_end > earliest_end:\n                permitted.has_begun = True",
            "if True:\n                permitted.has_begun = True",
            "tests/pipeline/deliver/test_deliverer.py::test_suspended_before_its_intent_sends_nothing",
        ),
        Mutation(
            "any-number-in-doubt", "pipeline/deliver/pacing.py",
            "window = max(1, min(self.limit, int(per_second), max(_SMALL_GROUP, int(per_second / 20))))",
            "window = self.limit",
            "tests/pipeline/deliver/test_trouble.py::test_a_claim_takes_all_of_the_window_that_is_free",
        ),
        Mutation(
            "power-loss-is-no-doubt", "pipeline/deliver/recovery.py",
            "may_be_lost = memory is None and record.boots != {boot}",
            "may_be_lost = False",
            "tests/pipeline/deliver/test_deliverer.py::test_after_a_power_loss_permitted_mail_is_in_doubt",
        ),
        Mutation(
            "who-seems-dead-sends-on", "pipeline/deliver/recovery.py",
            "consent.advance_version(connection)",
            "pass",
            "tests/pipeline/deliver/test_deliverer.py::test_a_living_sender_that_seems_dead_doubles_none[sqlite]",
        ),
        Mutation(
            "claims-before-all-have-reported", "store/delivery/failover.py",
            "if waiting and now < since + PATIENCE:",
            "if False:",
            "tests/pipeline/deliver/test_failover.py::test_nothing_is_claimed_until_all_have_reported",
        ),
        Mutation(
            "claims-by-another-server", "pipeline/deliver/batch.py",
            "if not room or not context.memory.is_of(server_timeline(connection)):",
            "if not room:",
            "tests/pipeline/deliver/test_failover.py::test_claims_stop_when_the_server_changes",
        ),
        Mutation(
            "commits-without-sync", "store/engine.py",
            'SYNCHRONOUS = "PRAGMA synchronous=FULL"',
            'SYNCHRONOUS = "PRAGMA synchronous=NORMAL"',
            "tests/store/test_files.py::test_a_commit_waits_for_the_disk",
        ),
        Mutation(
            "resent-although-never", "pipeline/deliver/outcomes.py",
            "delivery.doubts == 0 and delivery.list not in self.never",
            "delivery.doubts == 0",
            "tests/pipeline/deliver/test_deliverer.py::test_resend_in_doubt_never",
        ),
        Mutation(
            "resent-for-ever", "pipeline/deliver/outcomes.py",
            "delivery.doubts == 0 and delivery.list not in self.never",
            "delivery.list not in self.never",
            "tests/pipeline/deliver/test_deliverer.py::test_each_verdict_ends_in_its_state",
        ),
        Mutation(
            "resent-by-another-sender", "store/delivery/claims.py",
            "free = or_(d.doubts == 0, d.sender.not_in(self.senders))",
            "free = true()",
            "tests/pipeline/deliver/test_lanes.py::test_mail_in_doubt_is_repeated_by_the_same_sender[sqlite]",
        ),
        Mutation(
            "resent-with-another-id", "pipeline/deliver/prepare.py",
            '{delivery.purpose}|{delivery.part}"',
            '{delivery.purpose}|{delivery.part}|{delivery.attempts}"',
            "tests/pipeline/deliver/test_prepare.py::test_a_mail_is_made_again_with_the_same_bytes",
        ),
    ),
    "A post is never doubled": (
        Mutation(
            "posts-not-unique", "store/migrations/versions/m0001_first.py",
            "        unique=True,\n",
            "        unique=False,\n",
            "tests/store/delivery/test_ledger.py::test_a_story_is_posted_once_in_any_mailing[sqlite]",
        ),
        Mutation(
            "unknown-posts-are-repeated", "pipeline/deliver/outcomes.py",
            "capabilities.idempotency is Idempotency.NONE:\n            return False",
            "capabilities.idempotency is Idempotency.NONE:\n            return True",
            "tests/pipeline/deliver/test_deliverer.py::test_a_post_is_repeated_only_with_a_valid_key",
        ),
        Mutation(
            "keys-hold-for-ever", "pipeline/deliver/outcomes.py",
            "return real_now - delivery.handed_at < timedelta(seconds=capabilities.window)",
            "return True",
            "tests/pipeline/deliver/test_deliverer.py::test_a_post_is_repeated_only_with_a_valid_key",
        ),
    ),
    "No part of a thread is doubled or lost": (
        Mutation(
            "answers-do-not-wait", "pipeline/compose/freeze.py",
            '"state": str(DeliveryState.DEFERRED if part else state),',
            '"state": str(state),',
            "tests/pipeline/compose/test_translations.py::test_a_reply_waits_until_the_first_post_is_published",
        ),
        Mutation(
            "answers-wait-for-ever", "store/delivery/threads.py",
            'yield {"state": DeliveryState.PENDING, "reason": ""}',
            "return",
            "tests/pipeline/compose/test_translations.py::test_translations_reply_to_the_first_post",
        ),
        Mutation(
            "parts-with-one-key", "pipeline/deliver/prepare.py",
            '{subject}:{delivery.purpose}:{delivery.part}"',
            '{subject}:{delivery.purpose}"',
            "tests/pipeline/compose/test_translations.py::test_translations_reply_to_the_first_post",
        ),
    ),
    "No secret leaks": (
        Mutation(
            "secrets-in-answers", "channels/http.py",
            'line = line.replace(secret, "…")',
            "pass",
            "tests/channels/test_faults.py::test_no_secret_is_shown_when_a_channel_fails[path]",
        ),
        Mutation(
            "secrets-in-the-log", "runtime/monitoring/log.py",
            "for secret in self.secrets:",
            "for secret in ():",
            "tests/runtime/monitoring/test_log.py::test_lines_in_json_have_no_secret",
        ),
    ),
    "A post fits, with its whole link": (
        Mutation(
            "posts-of-any-length", "channels/wording.py",
            "if fits(wording):",
            "if True:",
            "tests/channels/test_limits.py::test_every_post_fits_and_keeps_its_link[mastodon]",
        ),
        Mutation(
            "links-lose-their-end", "channels/wording.py",
            "story.correction, story.link]",
            "story.correction, story.link[:-1]]",
            "tests/channels/test_limits.py::test_every_post_fits_and_keeps_its_link[mastodon]",
        ),
    ),
    "A person who left gets no mail": (
        Mutation(
            "intents-after-leaving", "store/delivery/journal.py", " AND value = :version", "",
            "tests/store/delivery/test_journal.py::test_no_message_begins_once_somebody_has_left",
        ),
        Mutation(
            "claims-for-who-has-left", "store/delivery/claims.py",
            "reason = _skip_reason(delivery, row)", "reason = None",
            "tests/store/delivery/test_claims.py::test_a_reader_who_has_left_is_skipped_with_the_reason",
        ),
        Mutation(
            "claims-for-who-is-not-confirmed", "store/delivery/claims.py",
            "here=here, subscription=subscription)",
            'here=here, subscription="confirmed")',
            "tests/store/people/test_consent.py::test_an_unconfirmed_reader_gets_only_the_confirmation[sqlite]",
        ),
        Mutation(
            "leaving-without-new-version", "store/people/consent.py",
            "        advance_version(connection)\n    return added",
            "        pass\n    return added",
            "tests/store/people/test_consent.py::test_the_first_reason_stays_and_each_change_is_counted[sqlite]",
        ),
        Mutation(
            "leaving-without-lock", "store/people/consent.py",
            "    lock(connection, wanted)\n    added = 0", "    added = 0",
            "tests/store/people/test_consent.py::test_leaving_waits_for_another_change_of_the_person",
        ),
        Mutation(
            "intents-without-lock", "store/delivery/journal.py",
            '"postgresql": "FOR SHARE OF facts"',
            '"postgresql": ""',
            "tests/store/delivery/test_journal.py::test_no_intent_is_written_while_somebody_leaves",
        ),
        Mutation(
            "claimed-although-left", "store/delivery/claims.py",
            "_skip_reason(delivery, row) is None:",
            "True:",
            "tests/pipeline/deliver/test_deliverer.py::test_unsubscribing_after_permission_stops_the_mail[sqlite]",
        ),
        Mutation(
            "a-confirmation-lifts-everything", "pipeline/members/subscribe.py",
            "    if consent.suppression(connection, reader.address_hash, \"\") is not None:\n        return [], []\n",
            "",
            "tests/web/site/test_subscribe.py::test_a_confirmation_lifts_no_hard_suppression[sqlite]",
        ),
        Mutation(
            "a-confirmation-lifts-a-hard-bounce", "pipeline/members/subscribe.py",
            "        and reasons[name] not in _PERMANENT\n",
            "",
            "tests/web/site/test_subscribe.py::test_a_confirmation_lifts_no_hard_suppression[sqlite]",
        ),
        Mutation(
            "old-links-bring-back", "store/people/consent.py",
            'return number >= (connection.execute(mine.where(c.what == "joined")).scalar_one() or 0)',
            "return True",
            "tests/web/site/test_subscribe.py::test_a_link_from_before_leaving_confirms_nothing[sqlite]",
        ),
        Mutation(
            "old-links-leave-the-new-list-alone", "web/reader_actions.py",
            "contents.list, by_link=True)", "contents.list)",
            "tests/web/site/test_unsubscribe.py::test_an_old_link_leaves_though_its_name_is_taken",
        ),
        Mutation(
            "left-without-a-look-into-the-store", "web/reader_actions.py",
            "return not subscribers.is_on_any(connection, contents.subscriber, names)", "return True",
            "tests/web/site/test_unsubscribe.py::test_leaving_is_confirmed_only_by_the_store",
        ),
        Mutation(
            "imports-bring-back", "store/people/bulk_import.py",
            "if lapsed is not None and (entry.at is None or entry.at <= lapsed):",
            "if False:",
            "tests/web/site/test_welcome.py::test_an_import_brings_nobody_back_who_lapsed[sqlite]",
        ),
    ),
    "What was previewed is what is sent": (
        Mutation(
            "another-selection-is-sent", "pipeline/deliver/prepare.py",
            "self._layout(selection),",
            "self._layout(1),",
            "tests/pipeline/compose/test_composer.py::test_the_sent_mail_is_the_previewed_one",
        ),
        Mutation(
            "another-selection-is-previewed", "runtime/preview/preview.py",
            "editions.rendition_arrangements(connection, rendition.id)",
            "editions.rendition_arrangements(connection, 1)",
            "tests/pipeline/compose/test_composer.py::test_the_sent_mail_is_the_previewed_one",
        ),
    ),
    "No reader is removed for a fault that is not theirs": (
        Mutation(
            "doubtful-words-suppress", "model/refusal.py", "in (Fault.MAILBOX, Fault.SERVER) else Effect.BLOCKED",
            "in (Fault.MAILBOX, Fault.SERVER) else Effect.HARD",
            "tests/model/test_refusal.py::test_nobody_is_suppressed_by_doubtful_words",
        ),
        Mutation(
            "test-mails-forget-refusals", "store/delivery/refusals.py",
            "func.coalesce(d.subscriber, tested.scalar_subquery())",
            "d.subscriber",
            "tests/cli/test_commands.py::test_a_refused_test_mail_counts_like_any_refusal",
        ),
        Mutation(
            "one-full-mailbox-suppresses", "pipeline/track/bounces.py",
            "feedback.count_days(connection, event.target, FeedbackKind.SOFT, since) >= limit.days",
            "True",
            "tests/pipeline/track/test_feedback.py::test_soft_bounces_on_too_many_days_suppress",
        ),
    ),
    "A relay that wrongly refuses us, or every reader, empties no list": (
        Mutation(
            "no-breaker-in-the-session", "pipeline/track/bounces.py",
            "if doubted and edition is not None and edition.state in",
            "if False and edition is not None and edition.state in",
            "tests/pipeline/track/test_breaker.py::test_a_relay_that_says_all_are_gone_holds_the_edition",
        ),
        Mutation(
            "no-breaker-for-what-comes-back", "pipeline/track/breaker.py",
            "is_most = bounced >= breaker.alike and 2 * bounced > accepted", "return False",
            "tests/pipeline/track/test_breaker.py::test_later_bounces_of_everybody_suppress_nobody",
        ),
    ),
    "Silence is explained": (
        Mutation(
            "refused-posts-without-name", "pipeline/deliver/batch.py",
            'return f"{reason} (delivery {delivery.id})" if self._lane.channel else reason', "return reason",
            "tests/pipeline/deliver/test_deliverer.py::test_a_channels_refusal_names_the_delivery",
        ),
        Mutation(
            "skipped-without-reason", "pipeline/compose/freeze.py",
            '"reason": WAITS if part else plan.reason_text,',
            '"reason": WAITS if part else "",',
            "tests/pipeline/compose/test_select.py::test_a_reader_on_two_lists_of_an_edition_gets_one_mail",
        ),
        Mutation(
            "segments-skipped-without-reason", "pipeline/compose/freeze.py",
            "str(SkipReason.NOTHING_FOR_READER), True",
            '"", True',
            "tests/pipeline/address/test_lists.py::test_every_confirmed_reader_of_the_frequency_has_one_line[sqlite]",
        ),
        Mutation(
            "claims-skipped-without-reason", "store/delivery/settling.py",
            '{"state": DeliveryState.SKIPPED, "reason": str(reason), "at": now}',
            '{"state": DeliveryState.SKIPPED, "reason": "", "at": now}',
            "tests/pipeline/deliver/test_deliverer.py::test_unsubscribed_before_sending_is_skipped_with_reason[sqlite]",
        ),
        Mutation(
            "held-without-notice", "pipeline/compose/composer.py",
            "notices.add_held(connection, edition, now, self.newsroom.site.languages[0])",
            "pass",
            "tests/pipeline/compose/test_gates.py::test_a_notice_is_in_the_first_language_of_the_newsroom",
        ),
        Mutation(
            "withdrawn-without-notice", "pipeline/compose/lifecycle.py",
            "notices.add_held(connection, changed, now, self.newsroom.site.languages[0])",
            "pass",
            "tests/pipeline/compose/test_composer.py::test_a_withdrawn_story_holds_what_is_not_sent_yet",
        ),
        Mutation(
            "the-breaker-holds-without-notice", "pipeline/track/breaker.py",
            "notices.add_held(connection, changed, now)",
            "pass",
            "tests/pipeline/track/test_breaker.py::test_a_wrong_name_of_ours_holds_the_edition",
        ),
        Mutation(
            "notices-are-not-sent", "pipeline/notices.py",
            "if not to and not channel:",
            "if True:",
            "tests/pipeline/compose/test_gates.py::test_a_notice_is_in_the_first_language_of_the_newsroom",
        ),
    ),
    "A schedule that was edited sends nothing older than the edit": (
        Mutation(
            "moved-slots-pass-an-edit", "pipeline/compose/due.py",
            "(slot.at if slot.by_person else min(slot.key, slot.at)) >= edited", "slot.at >= edited",
            "tests/pipeline/compose/test_edited_cadence.py::test_a_move_takes_no_older_slot_past_an_edit",
        ),
    ),
    "Same input, same bytes": (
        Mutation(
            "feeds-with-the-time-of-rendering", "render/feeds/rss_atom.py",
            "builder.updated(updated)",
            "builder.updated(datetime.now().astimezone())",
            "tests/pipeline/publish/test_publish.py::test_a_second_publish_changes_nothing[sqlite]",
        ),
        Mutation(
            "packed-with-the-time-of-packing", "pipeline/publish/writing.py",
            "gzip.compress(content, 9, mtime=0)",
            "gzip.compress(content, 9)",
            "tests/pipeline/publish/test_publish.py::test_gzip_beside_is_the_same_and_deterministic[sqlite]",
        ),
        Mutation(
            "mails-with-the-time-of-sending", "pipeline/deliver/prepare.py",
            "return ledger.mailing_time(connection, mailing)",
            "return datetime.now().astimezone()",
            "tests/pipeline/deliver/test_prepare.py::test_a_mail_is_made_again_with_the_same_bytes",
        ),
    ),
    "A restart continues at once": (
        Mutation(
            "dead-processes-live-on", "store/locks.py", "except FileNotFoundError:\n            return False",
            "except FileNotFoundError:\n            return True",
            "tests/store/test_locks.py::test_a_process_counts_as_dead_at_once_after_kill_9",
        ),
        Mutation(
            "children-keep-the-lock", "store/locks.py",
            "    for locked in list(_LOCKED_FILES):\n        locked.close()",
            "    pass",
            "tests/store/test_locks.py::test_a_forked_child_does_not_keep_its_parent_alive",
        ),
        Mutation(
            "own-claims-wait-for-their-lease", "pipeline/deliver/recovery.py",
            "if is_holder or owner in journal.owners():",
            "if False:",
            "tests/pipeline/deliver/test_trouble.py::test_own_claims_of_a_broken_run_are_sent_at_once[sqlite]",
        ),
    ),
    "An older store is upgraded and keeps working": (
        Mutation(
            "upgrades-do-nothing", "store/migrate.py",
            "    _run(store, only_if_fresh=False)\n    return True",
            "    return True",
            "tests/acceptance/test_old_store.py::test_an_old_store_is_upgraded_and_goes_on",
        ),
        Mutation(
            "former-names-are-lost", "store/migrations/versions/m0004_former_lists.py",
            "WHERE target LIKE 'list:%' AND",
            "WHERE 1 = 0 AND",
            "tests/store/test_migrations.py::test_former_names_and_stuck_mails_are_migrated[sqlite]",
        ),
    ),
    "Nothing of an erased person stays": (
        Mutation(
            "counts-stay-after-erasing", "store/people/erasure.py",
            "connection.execute(delete(t.request_counts).where(t.request_counts.c.key.in_(limit_keys(address))))",
            "pass",
            "tests/web/site/test_subscribe.py::test_erasing_by_the_page_leaves_no_trace[sqlite]",
        ),
        Mutation(
            "erased-but-in-the-log", "store/people/erasure.py",
            "PRAGMA wal_checkpoint(TRUNCATE)",
            "PRAGMA wal_checkpoint(PASSIVE)",
            "tests/web/site/test_subscribe.py::test_erasing_by_the_page_leaves_no_trace[sqlite]",
        ),
        Mutation(
            "erased-but-in-free-pages", "store/engine.py",
            "PRAGMA secure_delete=ON",
            "PRAGMA secure_delete=OFF",
            "tests/web/site/test_subscribe.py::test_erasing_by_the_page_leaves_no_trace[sqlite]",
        ),
    ),
    "Nothing from outside stops the service": (
        Mutation(
            "child-without-limit-of-memory", "child_process.py",
            "resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))", "pass",
            "tests/sources/test_child_process.py::test_a_child_cannot_fill_the_memory",
        ),
        Mutation(
            "child-without-limit-of-time", "child_process.py",
            "signal.setitimer(signal.ITIMER_PROF, seconds)", "pass",
            "tests/sources/test_child_process.py::test_a_child_ends_at_its_limit_of_time",
        ),
        Mutation(
            "sanitise-in-the-main-process", "sources/article.py",
            "answer = run_in_child(build_requests, _REQUESTS.dump_json(requests), SECONDS)",
            "answer = build_requests(_REQUESTS.dump_json(requests))",
            "tests/sources/test_child_process.py::test_hostile_markup_never_holds_up_a_feed",
        ),
        Mutation(
            "answers-without-deadline", "net.py",
            "len(taken) > most or time.monotonic() > deadline", "len(taken) > most",
            "tests/test_net.py::test_an_answer_that_drips_without_end_is_cut_at_the_deadline",
        ),
        Mutation(
            "lists-summed-in-templates", "render/sandbox.py", "if not isinstance(start, int | float):", "if False:",
            "tests/render/test_sandbox.py::test_no_expression_makes_a_huge_result",
        ),
        Mutation(
            "own-templates-in-the-main-process", "render/templates.py",
            "return own or \"{\" in subject", "return False",
            "tests/render/test_template_check.py::test_own_templates_are_rendered_in_the_child",
        ),
        Mutation(
            "idle-connections-stay", "web/connections.py",
            "self._timer = self.loop.call_at(self._deadline, self._check_deadline)", "pass",
            "tests/web/test_connections.py::test_a_body_that_never_ends_is_cut_off",
        ),
        Mutation(
            "unread-answers-keep-readers-out", "web/connections.py",
            "if each._waits_for or each._stall is not None]", "if each._waits_for]",
            "tests/web/test_connections.py::test_clients_that_read_nothing_keep_no_readers_out",
        ),
        Mutation(
            "requests-without-number", "web/connections.py", "if len(self.pipeline) >= MOST_PIPELINED:", "if False:",
            "tests/web/test_connections.py::test_requests_without_number_are_not_kept_in_memory",
        ),
        Mutation(
            "moments-at-the-end-of-time", "model/dates.py", "if moment.year not in YEARS:", "if False:",
            "tests/web/api/test_items.py::test_a_moment_at_the_end_of_time_is_refused",
        ),
        Mutation(
            "connections-without-number", "web/connections.py", "if len(there) <= self.most:", "if True:",
            "tests/web/test_connections.py::test_idle_connections_never_keep_readers_out",
        ),
        Mutation(
            "headers-of-any-length", "pipeline/track/report_parser.py",
            "lines.append(line[:left])", "lines.append(line)",
            "tests/pipeline/track/test_report_parser.py::test_reading_a_bounce_takes_linear_time",
        ),
        Mutation(
            "any-charset-of-python", "pipeline/track/report_fields.py",
            'if charset and codecs.lookup(charset).name.replace("-", "_") not in _NO_CHARSETS:', "if charset:",
            "tests/pipeline/track/test_hostile_mail.py::test_a_charset_takes_linear_time",
        ),
        Mutation(
            "a-mail-stops-the-mailbox", "pipeline/track/unread_mail.py",
            "    except PARSER_ERRORS:\n", "    except EOFError:\n",
            "tests/pipeline/track/test_hostile_mail.py::test_no_mail_of_a_stranger_is_an_error",
        ),
        Mutation(
            "zero-bytes-reach-the-store", "web/app.py", '"\\0" in scope["path"] or', "False and",
            "tests/web/test_odd_requests.py::test_a_zero_byte_is_refused_everywhere",
        ),
        Mutation(
            "a-mailbox-for-each-spelling", "store/people/sign_ups.py",
            "mailbox.translate(_IGNORED) or mailbox", "mailbox",
            "tests/web/site/test_subscribe.py::test_addresses_of_one_mailbox_are_limited",
        ),
        Mutation(
            "backup-headers-of-any-length", "runtime/backup/backup_file.py",
            "if not is_file and self.size > _MAX_HEADER:", "if False:",
            "tests/runtime/backup/test_backup.py::test_a_backup_with_a_huge_header_is_refused",
        ),
        Mutation(
            "repeated-lines-fill-the-log", "runtime/monitoring/log.py", "return count < _REPEATS", "return True",
            "tests/runtime/monitoring/test_log.py::test_repeated_lines_are_counted_not_written",
        ),
        Mutation(
            "editors-pictures-in-the-main-process", "sources/media.py",
            "measure_picture_in_child(file.read(), path.name)",
            "measure_picture(file, path.name)",
            "tests/sources/test_child_process.py::test_a_picture_of_an_editor_is_decoded_in_the_child",
        ),
        Mutation(
            "json-in-the-main-process", "sources/json_values.py", "run_in_child(find_json_problem, body, _SECONDS)",
            "find_json_problem(body)",
            "tests/sources/test_child_process.py::test_huge_json_of_a_website_is_never_built_here",
        ),
        Mutation(
            "sign-ups-of-a-domain-without-limit", "web/reader_actions.py",
            " or (by_domain > BY_DOMAIN and of_client > 1)",
            "",
            "tests/web/site/test_subscribe.py::test_a_flood_does_not_keep_the_readers_of_a_domain_out[sqlite]",
        ),
        Mutation(
            "a-flood-keeps-a-domain-out", "web/reader_actions.py",
            "(by_domain > BY_DOMAIN and of_client > 1)",
            "by_domain > BY_DOMAIN",
            "tests/web/site/test_subscribe.py::test_a_flood_does_not_keep_the_readers_of_a_domain_out[sqlite]",
        ),
    ),
    "Nothing from outside opens what is closed": (
        Mutation(
            "follow-links", "sources/media.py", "os.O_RDONLY | os.O_NOFOLLOW |", "os.O_RDONLY |",
            "tests/sources/test_child_process.py::test_a_link_in_place_of_a_file_is_not_opened",
        ),
        Mutation(
            "site-local-counts-as-public", "net.py", '"fec0::/10", ', "",
            "tests/test_net.py::test_inner_addresses_are_not_public",
        ),
        Mutation(
            "store-readable-for-all", "store/engine.py", "path.chmod(mode & 0o700)", "pass",
            "tests/store/test_files.py::test_an_open_store_is_closed_to_other_users",
        ),
        Mutation(
            "commands-of-strangers", "pipeline/track/leaving_mail.py", "{shlex.quote(address)}", "{address}",
            "tests/pipeline/track/test_hostile_mail.py::test_a_command_in_a_notice_cannot_be_forged",
        ),
        Mutation(
            "forgeable-marks", "render/mail/fragments.py",
            'secret = hashlib.sha256(everything.encode("utf-8", "surrogatepass")).hexdigest()', 'secret = "tidings"',
            "tests/render/mail/test_digest.py::test_no_story_can_write_the_marks_between_parts",
        ),
    ),
}  # fmt: skip
MUTATIONS = tuple(mutation for mutations in PROMISES.values() for mutation in mutations)
CHOSEN = os.environ.get("MUTATIONS", "intents-after-leaving,claims-for-who-has-left,forgeable-marks").split(",")


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_each_mutation_still_fits_the_source(mutation: Mutation) -> None:
    text = (ROOT / "src" / "tidings" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.line) == 1, "the line has changed: choose the one that keeps the promise now"
    file, _, name = mutation.test.partition("::")
    assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8")


def test_each_promise_of_the_docs_is_broken_here() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
    table = text.partition("|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.split(" | ") for line in table.removeprefix("| ").split("\n| ")]
    assert [next((name for name in PROMISES if row[0].startswith(name)), row[0]) for row in rows] == list(PROMISES)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the newsroom and its program. Python compiles it once for all mutations."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("templates", "schedules", "content"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "tidings.yaml", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "mutation",
    [mutation for mutation in MUTATIONS if mutation.name in CHOSEN or CHOSEN == ["all"]],
    ids=lambda mutation: mutation.name,
)
def test_a_broken_promise_fails_a_test(mutation: Mutation, copy: Path) -> None:
    file = copy / "src" / "tidings" / mutation.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(mutation.line, mutation.instead), encoding="utf-8")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutation.test],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{copy / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": ""},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        file.write_text(whole, encoding="utf-8")
    assert done.returncode == 1, done.stdout[-2_000:]
