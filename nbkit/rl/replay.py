"""Right answers of fine-tuning, replayed while RL trains: a guard against forgetting. Used by loop/train.py.

    LoopSettings(..., replay=Replay(("general", "agent"), per_step=8, weight=0.1))

RL moves what it rewards, and what it does not reward drifts. The loss of fine-tuning on other domains, added
to each step with a small weight, is meant to hold them in place (arXiv 2606.04272). The questions are of the
training split; every draw follows from the seed and the step, so a resumed training replays the same.
"""

from dataclasses import dataclass

from nbkit.models.chat_ids import token_ids_of
from nbkit.models.engine import parts, render, sample_seed
from nbkit.rl.loop.update import Replayed
from nbkit.tasks.skills import sample
from nbkit.tasks.world import chat, prompt_of


@dataclass(frozen=True)
class Replay:
    """`per_step` worked answers of the embedded world in `domains`, levels 1 to 4; `weight` of their mean
    loss per token beside the loss of RL. Raises ValueError for numbers that replay nothing."""

    domains: tuple[str, ...]
    per_step: int
    weight: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.domains or self.per_step < 1 or self.weight <= 0:
            raise ValueError(
                f"replay: got domains {self.domains}, per_step {self.per_step}, weight {self.weight}, "
                "wanted a domain and numbers above 0; for none give replay=None"
            )

    def draw(self, tokenizer, step: int) -> Replayed:
        """Prompts and answers of `step` as ids; the end of the turn belongs to the answer. Raises ValueError
        for a chat template whose whole conversation does not begin with its prompt."""
        weights = {domain: 1.0 for domain in self.domains}
        drawn = sample(self.per_step, "train", sample_seed(self.seed, step), weights, levels=(1, 4))
        asked = [render(tokenizer, prompt_of(task)) for task in drawn]
        answers = []
        for task, prompt in zip(drawn, asked, strict=True):
            messages, tools, _ = parts(chat(task))
            text = tokenizer.apply_chat_template(messages, tools=tools, tokenize=False)
            if not text.startswith(prompt):
                raise ValueError(
                    "tokenizer: got a chat template whose conversation does not begin with its prompt, "
                    "wanted one that does; train without replay"
                )
            answers.append(text[len(prompt) :].rstrip("\n"))
        return Replayed(token_ids_of(tokenizer, asked), token_ids_of(tokenizer, answers))
