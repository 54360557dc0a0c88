"""Text and its forms: words, equations, chats, tool calls, tokens, rows of files."""
