"""Where code that a model wrote runs: confined, by value, or not at all."""
