"""Long documents need their beginning; the three measures agree with what is computed by hand."""

import re

import numpy as np
import pytest
import tiny
import torch

from nbkit.pretrain import long_context
from nbkit.pretrain.long_context import look_up, loss_by_position, passkey, position_change, recalled
from nbkit.tasks.long_documents import long_documents


class Copier(torch.nn.Module):
    """Predicts the token that followed the last occurrence of the current one: an induction head by hand."""

    def __init__(self, vocabulary: int, reach: int):
        super().__init__()
        self.vocabulary, self.reach, self.device = vocabulary, reach, "cpu"

    def forward(self, input_ids):
        logits = torch.zeros(*input_ids.shape, self.vocabulary)
        for b, row in enumerate(input_ids.tolist()):
            for t, token in enumerate(row):
                seen = [s for s in range(max(0, t - self.reach), t) if row[s] == token]
                if seen:
                    logits[b, t, row[seen[-1] + 1]] = 10.0
        return type("Out", (), {"logits": logits})


def test_long_documents_are_answered_by_their_register():
    for doc in long_documents(5, seed=2):
        register, rest = doc["text"].split("\nQuestion:", 1)
        kept = dict(re.findall(r"(\w+) keeps (\d+)", register))
        asked = re.findall(r"How many \w+ does (\w+) keep\?\n.*\nAnswer: (\d+)", rest)
        assert len(kept) == 16 and len(asked) == 9 and all(kept[name] == count for name, count in asked)
        assert "pass key" not in doc["text"]


def test_long_documents_follow_the_seed_and_have_ids_of_their_own():
    assert long_documents(3, 1) == long_documents(3, 1) != long_documents(3, 2)
    assert len({d["id"] for d in long_documents(5, 1) + long_documents(5, 2)}) == 10
    assert long_documents(0, 1) == []


def test_recalled_by_hand():
    model = Copier(50, reach=100)
    prompt = [1, 2, 3, 9, 9, 1]
    found, margin = recalled(model, [prompt, prompt], [[2, 3], [3, 2]], [[4, 4], [4, 4]])
    assert found.tolist() == [True, False] and margin[0] > 5
    likely = 10 - np.log(np.exp(10) + 49)
    assert margin[0] == pytest.approx(likely - (-np.log(np.exp(10) + 49) + -np.log(50)) / 2, abs=1e-4)


def test_pass_keys_are_found_within_reach_only():
    filler = np.random.default_rng(0).integers(3, 7, 3000)
    near, far = (passkey(Copier(400, reach), tiny.tokenizer(), filler, [200], n=8)[0] for reach in (400, 10))
    assert near["margin"].mean > 1 > abs(far["margin"].mean) and near["length"] == 200


def test_a_prompt_has_exactly_its_length(monkeypatch):
    lengths = []
    monkeypatch.setattr(
        long_context,
        "recalled",
        lambda m, prompts, r, w: lengths.extend(map(len, prompts)) or (np.ones(4), np.ones(4)),
    )
    passkey(None, tiny.tokenizer(), np.full(500, 5), [100, 300], n=4)
    assert lengths == [100] * 4 + [300] * 4
    with pytest.raises(ValueError, match="length: got 10, wanted"):
        passkey(None, tiny.tokenizer(), np.full(500, 5), [10], n=4)


def test_look_up_distinguishes_the_asked_entry():
    rows = look_up(tiny.model().eval(), tiny.tokenizer(), np.full(500, 5), [0, 40], n=12)
    assert [r["distance"] for r in rows] == [0, 40] and all(r["found"].n == 12 for r in rows)
    assert all(abs(r["margin"].mean) < 1 for r in rows)  # an untrained model prefers neither count


def test_loss_by_position_by_hand():
    model, rows = tiny.model().eval(), np.random.default_rng(0).integers(0, 300, (3, 12))
    found = loss_by_position(model, rows, [0, 4, 12])
    ids = torch.from_numpy(rows)
    with torch.no_grad():
        logp = model(ids).logits.log_softmax(-1)
    loss = -logp[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1).numpy()
    assert found == pytest.approx(np.stack([loss[:, :3].mean(1), loss[:, 3:].mean(1)], 1), abs=1e-5)
    with pytest.raises(ValueError, match="wanted rising positions from 0 to 12"):
        loss_by_position(model, rows, [0, 20])


def test_position_change_is_paired():
    after, before = np.array([[1.0, 2.0], [2.0, 3.0]]), np.array([[2.0, 2.0], [3.0, 3.0]])
    first, second = position_change(after, before)
    assert (first.mean, first.n, second.mean) == (-1.0, 2, 0.0)
