"""A tokenizer and models small enough to train inside a unit test."""

from functools import cache

import torch

from nbkit.models.load import Shape, new_model
from nbkit.tasks import world
from nbkit.text.tokenizer import train_tokenizer


@cache
def tokenizer():
    return train_tokenizer([d["text"] for d in world.corpus(200, seed=0)], 320)


def model(seed: int = 0, hidden: int = 32, dtype=torch.float32):
    shape = Shape(hidden=hidden, layers=2, heads=4, kv_heads=2, mlp=64, context=256, tied=True)
    return new_model(tokenizer(), shape, seed).to(dtype)
