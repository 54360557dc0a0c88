"""The trainer: terms by hand, its limits against stock DPO and TRL's divergence kernel, accumulation, resume,
precision, and what it refuses."""

import pytest
import tiny
import torch
from tiny_dpd import TEACHER, arguments, distance, losses, pairs, rows, trainer
from trl import DPOTrainer

from nbkit.dpd.loss import by_trl_kernels
from nbkit.dpd.states import completion_states
from nbkit.dpd.tiles import Divergence
from nbkit.dpd.trainer import DPDSettings, Weights, divergence, dpd, dpd_terms
from nbkit.tasks import world
from nbkit.text.tokenizer import train_tokenizer

ROWS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3])


@pytest.fixture
def numbers():
    torch.manual_seed(0)
    return torch.randn(len(ROWS)), torch.rand(len(ROWS)), torch.randn(4)


def test_terms_by_hand(numbers):
    logp, away, reference = numbers
    terms = dpd_terms(logp, away, ROWS, reference, 0.1)
    ratio = [float(logp[row == ROWS].sum() - reference[row]) for row in range(4)]
    margins = torch.tensor([ratio[0] - ratio[2], ratio[1] - ratio[3]])
    means = [float(away[row == ROWS].mean()) for row in range(4)]
    assert float(terms.margin) == pytest.approx(float(margins.mean()), abs=1e-6)
    assert float(terms.dpo) == pytest.approx(float((1 + (-0.1 * margins).exp()).log().mean()), abs=1e-6)
    tokens = [float(logp[row == ROWS].mean()) for row in range(2)]
    assert float(terms.sft) == pytest.approx(-sum(tokens) / 2, abs=1e-6)
    weighted = 2 * terms.dpo + 0.5 * terms.pos + 0.25 * terms.neg + 3 * terms.sft
    assert float(terms.loss(Weights(2, 0.5, 0.25, 3))) == pytest.approx(float(weighted), abs=1e-6)
    assert float(terms.pos) == pytest.approx((means[0] + means[1]) / 2, abs=1e-6)
    assert float(terms.neg) == pytest.approx((means[2] + means[3]) / 2, abs=1e-6)


def test_the_order_of_tokens_does_not_matter_and_an_empty_response_counts_zero(numbers):
    logp, away, reference = numbers
    order, full = torch.randperm(len(ROWS)), ROWS != 3
    shuffled = dpd_terms(logp[order], away[order], ROWS[order], reference, 0.1)
    assert torch.allclose(torch.stack(shuffled), torch.stack(dpd_terms(logp, away, ROWS, reference, 0.1)))
    empty = dpd_terms(logp[full], away[full], ROWS[full], reference, 0.1)
    assert float(empty.neg) == pytest.approx(float(away[ROWS == 2].mean()) / 2, abs=1e-6)
    assert all(torch.isfinite(term) for term in empty)


def test_divergence_of_tables_by_hand():
    student, teacher = torch.tensor([[0.0, 1.0, -1.0]]), torch.tensor([[2.0, 0.0, 0.0]])
    q, p = torch.softmax(student / 2, -1), torch.softmax(teacher / 2, -1)
    forward = sum(float(a) * float((a / b).log()) for a, b in zip(p[0], q[0], strict=True))
    assert float(divergence(student, teacher, "forward", 2.0)) == pytest.approx(forward, abs=1e-6)
    assert float(divergence(teacher, student, "reverse", 2.0)) == pytest.approx(forward, abs=1e-6)
    assert float(divergence(student, student, "jsd", 1.0)) == pytest.approx(0, abs=1e-7)


class Stock(DPOTrainer):
    def _prepare_dataset(self, dataset, *args, **kwargs):
        return dataset


def exact_losses(monkeypatch, kind):
    """Losses as the trainer computes them: the log rounds to four digits."""
    seen, own = [], kind.compute_loss

    def keep(self, *args, **kwargs):
        loss = own(self, *args, **kwargs)
        seen.append(float(loss.detach()))
        return loss

    monkeypatch.setattr(kind, "compute_loss", keep)
    return seen


def test_weights_one_zero_zero_are_stock_dpo_step_by_step(tmp_path, monkeypatch):
    seen = exact_losses(monkeypatch, DPOTrainer)
    ours = trainer(tmp_path, weights=(1.0, 0.0, 0.0))
    ours.train()
    mine, seen[:] = list(seen), []
    stock = Stock(
        tiny.model(), args=arguments(tmp_path), train_dataset=rows(), processing_class=tiny.tokenizer()
    )
    stock.train()
    assert len(mine) == 6 and mine[-1] < mine[0] - 0.05
    assert mine == pytest.approx(seen, abs=1e-6)
    assert distance(ours.model, stock.model) < 1e-4


@pytest.mark.parametrize(
    "choice", [Divergence("forward"), Divergence("reverse", 2.0), Divergence("jsd", 0.5, 0.2)], ids=str
)
def test_weights_zero_one_zero_are_the_kernel_of_trl(tmp_path, choice):
    one = trainer(tmp_path, weights=(0.0, 1.0, 0.0), choice=choice)
    batch = next(iter(one.get_train_dataloader()))
    student, teacher = tiny.model(), tiny.model(seed=TEACHER)
    chosen = {name: x[:8] for name, x in batch.items() if x.dim() == 2}
    mask = chosen["completion_mask"][:, 1:].bool()
    _, away = by_trl_kernels(
        completion_states(student, chosen),
        student.lm_head.weight,
        chosen["input_ids"][:, 1:][mask],
        completion_states(teacher, chosen).detach(),
        teacher.lm_head.weight.detach(),
        choice,
    )
    wanted = torch.stack([part.mean() for part in away.split(mask.sum(-1).tolist())]).mean()
    wanted.backward()
    loss = one.compute_loss(one.model, batch)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), abs=1e-6)
    for a, b in zip(one.model.parameters(), student.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_the_sft_weight_alone_is_cross_entropy_on_the_good_responses(tmp_path):
    one = trainer(tmp_path, weights=(0.0, 0.0, 0.0, 1.0))
    batch = next(iter(one.get_train_dataloader()))
    loss = one.compute_loss(one.model, batch)
    loss.backward()
    student, wanted = tiny.model(), []
    for ids, mask, attention in zip(
        batch["input_ids"][:8], batch["completion_mask"][:8], batch["attention_mask"][:8], strict=True
    ):
        known = attention.bool()
        labels = torch.where(mask[known].bool(), ids[known], -100)[None]
        wanted.append(student(ids[known][None], labels=labels).loss)
    wanted = torch.stack(wanted).mean()
    wanted.backward()
    assert float(loss.detach()) == pytest.approx(float(wanted.detach()), abs=1e-6)
    for a, b in zip(one.model.parameters(), student.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-6)


def test_padding_changes_nothing(tmp_path):
    one = trainer(tmp_path)
    batch = next(iter(one.get_train_dataloader()))
    wide = {
        name: torch.nn.functional.pad(x, (0, 9)) if name.endswith(("mask", "_ids")) else x
        for name, x in batch.items()
    }
    assert wide["input_ids"].shape[1] == batch["input_ids"].shape[1] + 9
    first, second = (float(one.compute_loss(one.model, x).detach()) for x in (batch, wide))
    assert first == pytest.approx(second, abs=1e-6)


def test_two_half_batches_accumulate_to_the_whole_one(tmp_path):
    whole = trainer(tmp_path)
    halves = trainer(tmp_path, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    assert losses(whole) == pytest.approx(losses(halves), abs=2e-4)  # as logged, in four digits
    assert distance(whole.model, halves.model) < 1e-4
    grads = []
    for one, size in ((trainer(tmp_path), 8), (trainer(tmp_path, per_device_train_batch_size=4), 4)):
        batches = one.get_train_dataloader()
        for _, batch in zip(range(8 // size), batches, strict=False):
            (one.compute_loss(one.model, batch) * size / 8).backward()
        grads.append([p.grad for p in one.model.parameters()])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads, strict=True))


def test_resume_ends_with_the_same_weights(tmp_path):
    whole = trainer(tmp_path / "whole", save_strategy="steps", save_steps=3)
    whole.train()
    rest = trainer(tmp_path / "rest")
    rest.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert rest.state.global_step == 6 and distance(whole.model, rest.model) == 0


def test_bf16_runs_both_backbones_and_the_head_in_bf16(tmp_path):
    one, seen = trainer(tmp_path, bf16=True), []
    for model in (one.model, one.teacher):
        model.model.layers[0].mlp.up_proj.register_forward_hook(lambda *call: seen.append(call[2].dtype))
    history = losses(one)
    assert set(seen) == {torch.bfloat16} and len(seen) == 2 * 6
    assert history == pytest.approx(losses(trainer(tmp_path)), abs=5e-3)
    assert abs(one.state.log_history[0]["dpd/margin"]) < 0.02, "student and reference start equal"


def settings(**changes):
    base = dict(
        epochs=4,
        lr=1e-3,
        batch=8,
        max_length=128,
        beta=0.1,
        weights=(1.0, 1.0, 0.5),
        divergence=Divergence("forward", 1.0),
        seed=0,
    )
    return DPDSettings(**base | changes)


def test_training_separates_the_pairs_and_approaches_the_teacher(tmp_path):
    history, _ = dpd(tiny.model(), tiny.tokenizer(), tiny.model(seed=5), pairs(), settings(), out=tmp_path)
    assert history[0]["dpd/margin"] == pytest.approx(0, abs=0.05), "student and reference start equal"
    assert history[0]["dpd/dpo"] == pytest.approx(0.6931, abs=0.01)
    assert history[-1]["dpd/margin"] > 1
    only_kl, _ = dpd(
        tiny.model(),
        tiny.tokenizer(),
        tiny.model(seed=5),
        pairs(),
        settings(weights=(0.0, 1.0, 1.0)),
        out=tmp_path,
    )
    assert only_kl[-1]["dpd/pos"] < only_kl[0]["dpd/pos"] and only_kl[-1]["dpd/neg"] < only_kl[0]["dpd/neg"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"rejected": "x", "chosen": "x"}, "equal"),
        ({"chosen": ""}, "empty"),
        ({"chosen": "x " * 200}, "long"),
    ],
)
def test_bad_pairs_are_refused_by_rule(tmp_path, change, rule):
    bad = pairs()[0] | change
    with pytest.raises(ValueError, match=f"none of 1 is left .1 {rule}"):
        dpd(tiny.model(), tiny.tokenizer(), tiny.model(), [bad], settings(), out=tmp_path)
    with pytest.raises(ValueError, match=f"'kept': 16, '{rule}': 1.*filter_pairs"):
        dpd(tiny.model(), tiny.tokenizer(), tiny.model(), [*pairs(), bad], settings(), out=tmp_path)


def resized(rows, seed=TEACHER):
    model = tiny.model(seed=seed)
    model.resize_token_embeddings(rows, mean_resizing=False)
    return model


def test_a_padded_teacher_counts_as_if_it_had_no_padding(tmp_path):
    padded = resized(384)
    with torch.no_grad():
        padded.lm_head.weight[len(tiny.tokenizer()) :] = 7.0  # what padding rows say must not matter
    batches = [next(iter(trainer(tmp_path).get_train_dataloader())) for _ in range(2)]
    one = trainer(tmp_path)
    other = trainer(tmp_path, teacher=padded, teacher_tokenizer=tiny.tokenizer())
    first, second = (float(t.compute_loss(t.model, b)) for t, b in zip((one, other), batches, strict=True))
    assert first == pytest.approx(second, abs=1e-6)


def test_other_vocabularies_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="teacher: has a vocabulary of 400, the student 320.*teacher_tokenizer"
    ):
        trainer(tmp_path, teacher=resized(400))
    with pytest.raises(ValueError, match="vocabulary of 300, the student 320.*resize_token_embeddings"):
        trainer(tmp_path, teacher=resized(300), teacher_tokenizer=tiny.tokenizer())
    other = train_tokenizer([d["text"] for d in world.corpus(200, seed=9)], 320)
    with pytest.raises(ValueError, match=r"teacher: its tokenizer differs from the student's in \d+ tokens"):
        trainer(tmp_path, teacher_tokenizer=other)


def test_heads_that_do_more_than_multiply_are_refused(tmp_path):
    soft = tiny.model(seed=TEACHER)
    soft.config.final_logit_softcapping = 30.0
    with pytest.raises(ValueError, match="teacher: its head has .'final_logit_softcapping'"):
        trainer(tmp_path, teacher=soft)


def test_a_teacher_that_gives_nan_is_refused_naming_the_pair(tmp_path):
    broken = tiny.model(seed=TEACHER)
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    with pytest.raises(
        ValueError, match="teacher: its hidden states are not finite on the pair with prompt '"
    ):
        trainer(tmp_path, teacher=broken).train()


def test_reference_of_another_model_is_refused_and_of_this_one_reused(tmp_path, monkeypatch):
    data = trainer(tmp_path).train_dataset
    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", None)  # calling it would raise
    assert trainer(tmp_path, data).train_dataset["ref_chosen_logps"] == data["ref_chosen_logps"]
    with pytest.raises(ValueError, match="ref_chosen_logps: made by model .* this student starts as"):
        trainer(tmp_path, data, model=tiny.model(seed=1))
    with pytest.raises(ValueError, match="made by model unknown"):
        trainer(tmp_path, data.remove_columns("ref_model"))
    with pytest.raises(ValueError, match="precompute_ref_log_probs: got False"):
        trainer(tmp_path, precompute_ref_log_probs=False)


def test_evaluation_logs_the_same_terms(tmp_path):
    one = trainer(tmp_path)
    one.eval_dataset = one.train_dataset
    logs = one.evaluate()
    assert logs["eval_dpd/margin"] == pytest.approx(0, abs=1e-4) and logs["eval_dpd/pos"] > 0
