"""Step 6: act on feedback about sent mail: bounces, complaints and unsubscribes.

`incoming_mail` handles messages to the return path, `providers/` the providers' webhooks, and `bounces` also reads
refusals from the SMTP session. Each proves which mail it is about and records one `FeedbackEvent`.
"""
