"""Step 6: act on feedback about sent mail: bounces, complaints and unsubscribes.

`incoming_mail` handles messages to the return path, `providers/` handles webhooks of mail providers, and `bounces` also
reads refusals in SMTP sessions. Each proves which mail the feedback is about and records one `FeedbackEvent`.
"""
