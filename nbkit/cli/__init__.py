"""The command line: it starts, watches and reports runs. Nothing here changes a result; it is never hashed."""
