"""Words around an answer: other languages, statements about the answer, several answers side by side."""
