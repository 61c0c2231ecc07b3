"""`tidings doctor`: what receivers find in the DNS about the newsroom's domains, and what the mail host offers."""
