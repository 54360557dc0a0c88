"""The joint loss against naive float64 tables, gradcheck, and TRL's two kernels: values and gradients."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nbkit.dpd import tiles
from nbkit.dpd.loss import TRL_KINDS, against_teacher, against_top_k, by_trl_kernels
from nbkit.dpd.teacher_cache import top_k, truncation
from nbkit.dpd.tiles import DIVERGENCES, Divergence
from nbkit.models.training import can_compile

N, V, H, H_TEACHER = 37, 53, 8, 6
MIXED = ("jsd", "skew", "skew_reverse")
CHOICES = [Divergence(*choice) for choice in itertools.product(DIVERGENCES, (0.5, 1.0, 2.0), (0.5, 0.2))]
CHOICES = [c for c in CHOICES if c.kind in MIXED or c.mixing == 0.5]  # the others do not look at mixing


def inputs(count=N, dtype=torch.float64):
    draw = torch.Generator().manual_seed(1)
    shapes = ((count, H), (V, H), (count, H_TEACHER), (V, H_TEACHER))
    own, head, teacher, its_head = (
        torch.randn(*shape, generator=draw, dtype=torch.float64).mul(1.5).to(dtype) for shape in shapes
    )
    targets = torch.randint(V, (count,), generator=draw)
    return own.requires_grad_(), head.requires_grad_(), targets, teacher, its_head


def divergence_of(p, q, choice):
    """Teacher p and student q, from the definitions."""
    if choice.kind == "forward":
        return (p * (p / q).log()).sum(-1)
    if choice.kind == "reverse":
        return (q * (q / p).log()).sum(-1)
    if choice.kind == "skew_reverse":
        return (q * (q / (choice.mixing * q + (1 - choice.mixing) * p)).log()).sum(-1)
    m = choice.mixing * p + (1 - choice.mixing) * q
    if choice.kind == "skew":
        return (p * (p / m).log()).sum(-1)
    return choice.mixing * (p * (p / m).log()).sum(-1) + (1 - choice.mixing) * (q * (q / m).log()).sum(-1)


def naive(own, head, targets, teacher, its_head, choice):
    logits, theirs = own @ head.T, teacher @ its_head.T
    q, p = torch.softmax(logits / choice.temperature, -1), torch.softmax(theirs / choice.temperature, -1)
    return logits.log_softmax(-1)[torch.arange(len(targets)), targets], divergence_of(p, q, choice)


def outcome(function, given):
    """(log-probs, divergences, both gradients) under different upstream gradients for every token."""
    logp, away = function(*given)
    up = torch.Generator().manual_seed(2)
    weights = torch.randn(2, len(logp), generator=up, dtype=torch.float64).to(logp.dtype)
    ((weights[0] * logp).sum() + (weights[1] * away).sum()).backward()
    return logp.detach(), away.detach(), given[0].grad, given[1].grad


def error(ours, wanted):
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, wanted, strict=True))


@pytest.mark.parametrize("choice", CHOICES, ids=str)
@pytest.mark.parametrize("chunk", [7, 64])
def test_equals_the_naive_tables_in_float64(choice, chunk):
    ours = outcome(lambda *x: against_teacher(*x, choice, chunk=chunk), inputs())
    assert error(ours, outcome(lambda *x: naive(*x, choice), inputs())) < 1e-10


@pytest.mark.parametrize("choice", [c for c in CHOICES if c.kind in TRL_KINDS], ids=str)
def test_equals_the_kernels_of_trl(choice):
    given = [inputs(dtype=torch.float32) for _ in range(2)]
    ours = outcome(lambda *x: against_teacher(*x, choice, chunk=16), given[0])
    assert error(ours, outcome(lambda *x: by_trl_kernels(*x, choice), given[1])) < 1e-5


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_gradcheck(choice):
    own, head, targets, *teacher = inputs(5)
    ids, log_t = exact_top_k(*teacher, 4, choice.temperature)

    def dense(own, head):
        return against_teacher(own, head, targets, *teacher, choice, chunk=3)

    def cached(own, head):
        return against_top_k(own, head, targets, ids, log_t, choice, chunk=3)

    # A random projection of the Jacobian, at a tenth of the time; the tests above compare every entry.
    for loss in (dense, cached):
        assert torch.autograd.gradcheck(loss, (own, head), fast_mode=True)


def exact_top_k(teacher, its_head, k, temperature):
    p = torch.softmax(teacher @ its_head.T / temperature, -1)
    top, ids = p.topk(k)
    rest = p.scatter(-1, ids, 0.0).sum(-1, keepdim=True)
    return ids, torch.cat([top, rest], -1).log()


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_top_k_equals_naive_sums_over_k_plus_one_outcomes(choice):
    *_, teacher, its_head = inputs()
    ids, log_t = exact_top_k(teacher, its_head, 5, choice.temperature)

    def by_hand(own, head, targets, *_):
        q = torch.softmax(own @ head.T / choice.temperature, -1)
        top = q.gather(-1, ids)
        q = torch.cat([top, q.scatter(-1, ids, 0.0).sum(-1, keepdim=True)], -1)
        return naive(own, head, targets, teacher, its_head, choice)[0], divergence_of(log_t.exp(), q, choice)

    ours = outcome(
        lambda own, head, y, *_: against_top_k(own, head, y, ids, log_t, choice, chunk=7), inputs()
    )
    assert error(ours, outcome(by_hand, inputs())) < 1e-10


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_what_top_k_leaves_out_lies_in_the_tail_as_documented(choice):
    own, head, targets, teacher, its_head = (x.detach() for x in inputs())
    exact = against_teacher(own, head, targets, teacher, its_head, choice)[1]
    p, q = (torch.softmax(h @ w.T / choice.temperature, -1) for h, w in ((teacher, its_head), (own, head)))
    order, lost = p.argsort(-1, descending=True), []
    for k in (1, 5, 20, V - 1):
        ids, log_t = exact_top_k(teacher, its_head, k, choice.temperature)
        left_out = exact - against_top_k(own, head, targets, ids, log_t, choice)[1]
        p_tail, q_tail = (x.gather(-1, order[:, k:]) for x in (p, q))
        if choice.kind == "jsd":
            mass = choice.mixing * p_tail.sum(-1) + (1 - choice.mixing) * q_tail.sum(-1)
            assert (left_out <= mass * 0.6931472 + 1e-12).all()
        else:
            a, b = (p_tail, q_tail) if choice.kind in ("forward", "skew") else (q_tail, p_tail)
            if choice.kind in MIXED:
                of_teacher = 1 - choice.mixing if choice.kind == "skew_reverse" else choice.mixing
                b = of_teacher * p_tail + (1 - of_teacher) * q_tail
            within = (a * ((a / a.sum(-1, keepdim=True)) / (b / b.sum(-1, keepdim=True))).log()).sum(-1)
            assert torch.allclose(left_out, within, atol=1e-10)
        assert (left_out >= -1e-12).all()
        lost.append(float(left_out.mean()))
    assert lost == sorted(lost, reverse=True) and abs(lost[-1]) < 1e-12, "a tail of one token loses nothing"


def test_top_k_of_a_teacher_and_its_measured_truncation():
    own, head, _, teacher, its_head = (x.detach() for x in inputs())
    choice = Divergence("forward", 2.0)
    ids, log_t = top_k(teacher, its_head, 5, 2.0)
    wanted_ids, wanted = exact_top_k(teacher, its_head, 5, 2.0)
    assert torch.equal(ids.long(), wanted_ids) and torch.allclose(log_t.double(), wanted, atol=1e-6)
    rows = truncation(own, head, teacher, its_head, [1, 5, V - 1], choice)
    exact = naive(own, head, torch.zeros(N, dtype=torch.long), teacher, its_head, choice)[1].mean()
    assert [row["exact"] for row in rows] == pytest.approx([float(exact)] * 3, rel=1e-10)
    assert rows[0]["tail"] > rows[1]["tail"] > rows[2]["tail"] and rows[0]["kept"] < rows[1]["kept"] < exact
    assert rows[0]["gradient"] > rows[1]["gradient"] and rows[2]["gradient"] < 1e-6
    for k in (0, V):
        with pytest.raises(ValueError, match=f"k: got {k}, wanted 1 to {V - 1}"):
            top_k(teacher, its_head, k, 1.0)


@pytest.mark.skipif(not can_compile(), reason="no C++ compiler")
@pytest.mark.slow
@pytest.mark.parametrize("kind", DIVERGENCES)
def test_compiled_tiles_equal_eager_ones(kind):
    choice = Divergence(kind, 2.0, 0.3)
    eager, compiled = (
        outcome(lambda *x, on=on: against_teacher(*x, choice, chunk=16, compiled=on), inputs())
        for on in (False, True)
    )
    assert error(compiled, eager) < 1e-12


def test_without_a_compiler_compiled_falls_back_to_eager(monkeypatch):
    monkeypatch.setattr(tiles, "can_compile", lambda: False)
    monkeypatch.setattr(tiles, "_compiled", None)  # calling it would raise
    ours = outcome(lambda *x: against_teacher(*x, Divergence(), chunk=16, compiled=True), inputs())
    assert error(ours, outcome(lambda *x: naive(*x, Divergence()), inputs())) < 1e-10


@pytest.mark.parametrize("kind", DIVERGENCES)
def test_extreme_logits_stay_finite_and_exact(kind):
    """Teacher and student certain of different tokens: probabilities that underflow, divergences of 100 nats
    and more."""
    own, head, targets, teacher, its_head = inputs(dtype=torch.float32)
    big = [x.detach().mul(6).requires_grad_() for x in (own, head)]
    choice = Divergence(kind)
    ours = outcome(
        lambda *x: against_teacher(*x, choice, chunk=16), [*big, targets, teacher * 6, its_head * 6]
    )
    wide = [x.detach().double().requires_grad_() for x in big]
    wide += [targets, teacher.double() * 6, its_head.double() * 6]

    def careful(own, head, targets, teacher, its_head):
        log_q, log_p = (own @ head.T).log_softmax(-1), (teacher @ its_head.T).log_softmax(-1)
        log_m = torch.logaddexp(log_p, log_q) - torch.tensor(2.0).log()
        parts = {
            "forward": log_p.exp() * (log_p - log_q),
            "reverse": log_q.exp() * (log_q - log_p),
            "jsd": 0.5 * (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)),
            "skew": log_p.exp() * (log_p - log_m),
            "skew_reverse": log_q.exp() * (log_q - log_m),
        }
        return log_q[torch.arange(N), targets], parts[kind].sum(-1)

    assert all(torch.isfinite(x).all() for x in ours)
    assert error(ours, outcome(careful, wide)) < 1e-4


def test_bfloat16_autocast_is_as_exact_as_a_head_under_autocast():
    def loss(*given):
        with torch.autocast("cpu", torch.bfloat16):
            return against_teacher(*given, Divergence(), chunk=16)

    def plain(own, head, targets, teacher, its_head):
        with torch.autocast("cpu", torch.bfloat16):
            log_q, log_p = ((h @ w.T).float().log_softmax(-1) for h, w in ((own, head), (teacher, its_head)))
        return log_q[torch.arange(N), targets], (log_p.exp() * (log_p - log_q)).sum(-1)

    exact = outcome(lambda *x: naive(*x, Divergence()), inputs())
    ours, theirs = (outcome(f, inputs(dtype=torch.float32)) for f in (loss, plain))
    assert 1e-4 < error(ours, exact) < 2 * error(theirs, exact) < 0.1


def test_no_tokens_give_no_numbers_and_zero_gradients():
    own, head, targets, teacher, its_head = inputs(0)
    logp, away = against_teacher(own, head, targets, teacher, its_head, Divergence())
    assert logp.shape == away.shape == (0,)
    (logp.sum() + away.sum()).backward()
    assert own.grad.shape == (0, H) and not head.grad.any()


def test_a_frozen_head_and_frozen_states_get_no_gradient():
    for frozen in (0, 1):
        given = inputs()
        given[frozen].requires_grad_(False)
        logp, away = against_teacher(*given, Divergence())
        (logp.sum() + away.sum()).backward()
        assert given[frozen].grad is None and given[1 - frozen].grad is not None


def test_no_tensor_of_tokens_times_vocabulary_is_made():
    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            for x in made if isinstance(made, tuple | list) else [made]:
                if isinstance(x, torch.Tensor):
                    largest.append(x.numel())
            return made

    tokens, vocab, chunk = 300, 1000, 16
    draw = [torch.randn(*shape, requires_grad=True) for shape in ((tokens, 4), (vocab, 4))]
    for function, count in ((against_teacher, chunk), (lambda *x, chunk: naive(*x), tokens)):
        largest: list[int] = []
        with Sizes():
            logp, away = function(
                *draw,
                torch.zeros(tokens, dtype=torch.long),
                *(x.detach() for x in draw),
                Divergence(),
                chunk=chunk,
            )
            (logp.sum() + away.sum()).backward()
        assert max(largest) == count * vocab


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"kind": "kl"}, "divergence: got 'kl', wanted one of .'forward', 'reverse', 'jsd', 'skew', 'skew"),
        ({"temperature": 0.0}, "temperature: got 0.0"),
        ({"temperature": float("nan")}, "temperature: got nan"),
        ({"mixing": 1.0}, "mixing: got 1.0.*'forward' and 'reverse'"),
    ],
)
def test_a_wrong_divergence_is_refused(wrong, says):
    with pytest.raises(ValueError, match=says):
        Divergence(**wrong)
