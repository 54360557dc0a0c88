"""What an evaluation leaves on disk: its journal, files and page, and which questions were trained on."""
