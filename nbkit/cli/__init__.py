"""The command line: it starts, watches and reports runs. It changes no result and is never hashed."""
