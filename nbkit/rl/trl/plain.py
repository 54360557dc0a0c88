"""What a stage on TRL needs as plain data, so that every process of a launcher can make it again: questions,
rewards, and where and how it runs. Used by job.py and notebook 06.

    reward = Verified("exact", 0.0)
    grade = reward.made(jails)  # a Grade, here or in another process
    told(reward)                # {"kind": "verified", "verifier": "exact", "step_share": 0.0}

A reward that is only a function stays in the process that made it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from nbkit.models.distributed.sharding import Devices
from nbkit.models.engine import Generator
from nbkit.models.load import load
from nbkit.models.side_by_side import identity
from nbkit.rl.judge import PairwiseJudge
from nbkit.rl.loop.rollouts import Grade
from nbkit.rl.process import check_of
from nbkit.rl.rewards import fixed_references, preferred, verified
from nbkit.tasks.skills import Task
from nbkit.verify import JailPool
from nbkit.verify.jail.inside import jail_codec


@dataclass(frozen=True)
class Verified:
    """The reward `rewards.verified`: `verifier` is one of `process.CHECKS`, `step_share` the part that is
    paid for steps. Synthetic tests of code questions are in the questions themselves."""

    verifier: str = "exact"
    step_share: float = 0.0

    def made(self, jails: JailPool) -> Grade:
        return verified(jails, check_of(self.verifier), self.step_share)

    def models(self) -> list[str]:
        return []


@dataclass(frozen=True)
class Preferred:
    """The reward `rewards.preferred`, by the judge in the folder `judge`, against `references` answers of the
    policy in the folder `start`."""

    judge: str
    start: str
    references: int
    max_new_tokens: int
    seed: int

    def made(self, jails: JailPool) -> Grade:
        began = Generator(*load(self.start))
        fixed = fixed_references(began, self.references, self.max_new_tokens, self.seed)
        return preferred(PairwiseJudge(*load(self.judge)), fixed)

    def models(self) -> list[str]:
        """What tells these models from others in the same folders."""
        return [identity(self.judge), identity(self.start)]


Reward = Verified | Preferred
_KINDS = {"verified": Verified, "preferred": Preferred}


def told(reward: Reward) -> dict:
    """A reward as plain data."""
    (kind,) = (name for name, cls in _KINDS.items() if isinstance(reward, cls))
    return {"kind": kind, **asdict(reward)}


def reward_of(data: Mapping) -> Reward:
    """The reward that `told` describes."""
    return _KINDS[data["kind"]](**{name: value for name, value in data.items() if name != "kind"})


def told_tasks(tasks: Sequence[Task]) -> list[dict]:
    """Questions as plain data. The tests of code questions keep their exact types: (1, 2) is no [1, 2]."""
    return [asdict(replace(task, calls=())) | {"calls": jail_codec.encode(task.calls)} for task in tasks]


def tasks_of(data: Sequence[Mapping]) -> list[Task]:
    """The questions that `told_tasks` describes."""
    return [
        Task(
            **{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
            | {"calls": jail_codec.decode(row["calls"])}
        )
        for row in data
    ]


@dataclass(frozen=True)
class OnTRL:
    """Where and how a stage runs on TRL: `devices`, on which each process takes its part of a step; `vllm`,
    `vllm_server`, `tool_turns` and `completions_per_pass` as of grpo.TRLOptions; `tools`, names of what the
    policy may call (dialogue.py)."""

    devices: Devices = Devices()
    vllm: str = "none"
    vllm_server: str = ""
    tools: tuple[str, ...] = ()
    tool_turns: int = 3
    completions_per_pass: int = 0

    @classmethod
    def of(cls, cfg: object) -> "OnTRL":
        """As the parameters of 06 say."""
        own = (cfg.vllm, cfg.vllm_server, tuple(cfg.policy_tools))
        turns = cfg.tool_turns if cfg.policy_tools else cls.tool_turns
        return cls(Devices.of(cfg), *own, turns, cfg.completions_per_pass)


def on_of(data: Mapping) -> OnTRL:
    """The OnTRL that `asdict` made into plain data."""
    return OnTRL(**{**data, "devices": Devices(**data["devices"]), "tools": tuple(data["tools"])})
