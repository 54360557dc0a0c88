"""Is a program right? Blocks of an answer, tests, suites, mutants, synthetic tests."""
