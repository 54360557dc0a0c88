"""The joint DPD loss against naive float64 sums, its limits against TRL's own pieces, and its gradient."""

import pytest
import tiny
import torch

from nbkit.data.skills import sample
from nbkit.generate import user_prompt
from nbkit.train.dpd import DIVERGENCES, divergence, dpd, dpd_terms

N, V = 11, 13
ROWS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3])


@pytest.fixture
def tables():
    torch.manual_seed(0)
    return torch.randn(N, V), torch.randn(N, V), torch.randint(V, (N,)), torch.randn(4)


def naive(student, teacher, kind, temperature):
    p, q = (torch.softmax(x.double() / temperature, -1) for x in (teacher, student))
    if kind == "forward":
        return torch.stack(
            [
                sum(a * (a.log() - b.log()) for a, b in zip(pn, qn, strict=True))
                for pn, qn in zip(p, q, strict=True)
            ]
        )
    if kind == "reverse":
        return naive(teacher, student, "forward", temperature)
    m = (p + q) / 2
    return 0.5 * ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1))


@pytest.mark.parametrize("kind", DIVERGENCES)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_divergence_equals_the_naive_sum(tables, kind, temperature):
    student, teacher, *_ = tables
    assert torch.allclose(
        divergence(student, teacher, kind, temperature).double(),
        naive(student, teacher, kind, temperature),
        atol=1e-6,
    )
    assert divergence(student, student, kind, temperature).abs().max() < 1e-6


def test_unknown_divergence_is_refused(tables):
    with pytest.raises(ValueError, match="forward.*reverse.*jsd"):
        divergence(tables[0], tables[1], "kl", 1.0)


def test_terms_by_hand(tables):
    student, teacher, targets, reference = tables
    terms = dpd_terms(student, teacher, targets, ROWS, reference, 0.1, "forward", 1.0)
    logp, kl = (
        torch.log_softmax(student, -1)[torch.arange(N), targets],
        naive(student, teacher, "forward", 1.0),
    )
    ratio = [float(logp[row == ROWS].sum() - reference[row]) for row in range(4)]
    margins = torch.tensor([ratio[0] - ratio[2], ratio[1] - ratio[3]])
    per_row = [float(kl[row == ROWS].mean()) for row in range(4)]
    assert float(terms.margin) == pytest.approx(float(margins.mean()), abs=1e-5)
    assert float(terms.dpo) == pytest.approx(
        float(-torch.nn.functional.logsigmoid(0.1 * margins).mean()), abs=1e-6
    )
    assert float(terms.pos) == pytest.approx((per_row[0] + per_row[1]) / 2, abs=1e-5)
    assert float(terms.neg) == pytest.approx((per_row[2] + per_row[3]) / 2, abs=1e-5)


def test_the_order_of_positions_does_not_matter(tables):
    student, teacher, targets, reference = tables
    order = torch.randperm(N)
    a = dpd_terms(student, teacher, targets, ROWS, reference, 0.1, "jsd", 1.0)
    b = dpd_terms(student[order], teacher[order], targets[order], ROWS[order], reference, 0.1, "jsd", 1.0)
    assert all(
        float(getattr(a, t)) == pytest.approx(float(getattr(b, t)), abs=1e-6)
        for t in ("dpo", "pos", "neg", "margin")
    )


def test_gradient_of_the_divergence_is_the_known_one(tables):
    student, teacher, *_ = tables
    student.requires_grad_()
    divergence(student, teacher, "forward", 1.0).sum().backward()
    assert torch.allclose(student.grad, torch.softmax(student, -1) - torch.softmax(teacher, -1), atol=1e-6)


def pairs():
    end = "<|im_end|>"
    return [
        {
            "prompt": user_prompt(tiny.tokenizer(), t.question),
            "chosen": t.answer + end,
            "rejected": "no idea" + end,
        }
        for t in sample(16, "train", 1)
    ]


def options(tmp_path, **changes):
    base = dict(
        epochs=4,
        lr=1e-3,
        batch=8,
        max_length=128,
        beta=0.1,
        weights=(1.0, 1.0, 0.5),
        kind="forward",
        temperature=1.0,
        out=tmp_path,
        seed=0,
    )
    return base | changes


def test_training_separates_the_pairs_and_approaches_the_teacher(tmp_path):
    history, _ = dpd(tiny.model(), tiny.tokenizer(), tiny.model(seed=5), pairs(), **options(tmp_path))
    assert history[0]["dpd/margin"] == pytest.approx(0, abs=0.05), "student and reference start equal"
    assert history[0]["dpd/dpo"] == pytest.approx(0.6931, abs=0.01)
    assert history[-1]["dpd/margin"] > 1
    only_kl, _ = dpd(
        tiny.model(),
        tiny.tokenizer(),
        tiny.model(seed=5),
        pairs(),
        **options(tmp_path, weights=(0.0, 1.0, 1.0)),
    )
    assert only_kl[-1]["dpd/pos"] < only_kl[0]["dpd/pos"] and only_kl[-1]["dpd/neg"] < only_kl[0]["dpd/neg"]


def test_weight_one_zero_zero_is_stock_dpo(tmp_path):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    ours, _ = dpd(
        tiny.model(),
        tiny.tokenizer(),
        tiny.model(seed=5),
        pairs(),
        **options(tmp_path, weights=(1.0, 0.0, 0.0), epochs=3),
    )
    tokenizer = tiny.tokenizer()
    rows = [
        {
            f"{k}_ids": tokenizer(p[k], add_special_tokens=False)["input_ids"]
            for k in ("prompt", "chosen", "rejected")
        }
        for p in pairs()
    ]

    class Stock(DPOTrainer):
        def _prepare_dataset(self, dataset, *args, **kwargs):
            return dataset

    from nbkit.train.common import precision

    arguments = DPOConfig(
        str(tmp_path),
        max_steps=6,
        per_device_train_batch_size=8,
        learning_rate=1e-3,
        lr_scheduler_type="cosine",
        warmup_steps=1,
        beta=0.1,
        max_length=128,
        precompute_ref_log_probs=True,
        activation_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=0,
        data_seed=0,
        **(precision() | {"bf16": False}),
    )
    stock = Stock(
        model=tiny.model(), args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer
    )
    stock.train()
    theirs = [row["loss"] for row in stock.state.log_history if "loss" in row]
    assert [row["loss"] for row in ours] == pytest.approx(
        theirs, abs=5e-3
    )  # ours under bf16 autocast where the CPU has it


def test_bad_pairs_and_teachers_are_refused(tmp_path):
    same = [{"prompt": "p", "chosen": "x", "rejected": "x"}]
    with pytest.raises(ValueError, match="equal responses"):
        dpd(tiny.model(), tiny.tokenizer(), tiny.model(), same, **options(tmp_path))
    stranger = tiny.model()
    stranger.resize_token_embeddings(400)
    with pytest.raises(ValueError, match="vocabulary of 400"):
        dpd(tiny.model(), tiny.tokenizer(), stranger, pairs(), **options(tmp_path))
