"""What answers are made of, and kinds of answers with rules of their own."""
