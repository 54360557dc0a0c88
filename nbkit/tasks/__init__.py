"""What is asked and what is right: skills with exact answers, the embedded world, public sets."""
