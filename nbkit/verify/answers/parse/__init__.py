"""The text of an answer, cleaned and read into structures."""
