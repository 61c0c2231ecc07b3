"""What providers of mail report by webhook: a module for each, which checks who speaks and reads what is said."""
