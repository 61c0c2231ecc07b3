"""`tidings report`: counts of mails, posts and readers in a period."""
