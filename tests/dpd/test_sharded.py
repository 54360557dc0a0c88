"""Two ranks over gloo: heads that FSDP2 holds in shards give the gradients of one whole model."""

import pytest
import tiny
import torch
import torch.distributed as dist
from tiny_dpd import TEACHER, rows
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from trl.models.utils import _ForwardRedirection
from trl.trainer.dpo_trainer import DataCollatorForPreference

from nbkit.dpd.loss import against_teacher
from nbkit.dpd.states import completion_states, whole_head
from nbkit.dpd.tiles import Divergence


def untied():
    model = tiny.model()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    return model


def loss_of(student, batch):
    teacher = tiny.model(seed=TEACHER)
    mask = batch["completion_mask"][:, 1:].bool()
    with torch.no_grad():
        states = completion_states(teacher, batch)
    hidden, head = completion_states(student, batch), whole_head(student.lm_head.weight)
    assert not isinstance(head, DTensor)
    given = (hidden, head, batch["input_ids"][:, 1:][mask], states, teacher.lm_head.weight)
    logp, away = against_teacher(*given, Divergence("jsd"), chunk=16)
    return (away - logp).mean()


def batch_of(part):
    return DataCollatorForPreference(pad_token_id=0).torch_call(list(rows(8).select(part)))


def rank(number, layout, folder):
    """One rank: its half of the pairs; the gradients of all parameters, gathered, are left in `folder`."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    student, mesh = untied(), dist.device_mesh.init_device_mesh("cpu", (2,))
    if layout == "head alone":  # its own hooks never fire: the loss does not call it
        fully_shard(student.lm_head, mesh=mesh)
        assert isinstance(student.lm_head.weight, DTensor)
    else:
        for layer in student.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(student, mesh=mesh)
    batch = batch_of(range(4 * number, 4 * number + 4))
    loss = (
        loss_of(student, batch)
        if layout == "head alone"
        else _ForwardRedirection()(student, student, loss_of, student, batch)
    )
    loss.backward()
    grads = {name: p.grad for name, p in student.named_parameters()}
    whole = {name: g.full_tensor() if isinstance(g, DTensor) else g for name, g in grads.items()}
    torch.save(whole, f"{folder}/grads-{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["whole model", "head alone"])
def test_a_sharded_head_is_gathered_and_its_gradient_is_the_mean_over_ranks(layout, tmp_path):
    torch.multiprocessing.spawn(rank, (layout, str(tmp_path)), nprocs=2)
    student = untied()
    (sum(loss_of(student, batch_of(range(start, start + 4))) for start in (0, 4)) / 2).backward()
    for number in (0, 1):
        grads = torch.load(tmp_path / f"grads-{number}.pt")
        names = grads if layout == "whole model" else ["lm_head.weight"]
        for name in names:
            assert torch.allclose(grads[name], student.get_parameter(name).grad, atol=1e-7), (number, name)
