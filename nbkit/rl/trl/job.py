"""GRPO on questions with a reward, in this process or as a job of several: what `stage.py` asks TRL for.

    history, seconds = trained(model, tokenizer, tasks, grade, settings, out=folder)
    history, seconds = launched(model, Launch(source, Verified(), OnTRL(Devices("torchrun", 2))), tasks, ...)

    torchrun --nproc_per_node 8 -m nbkit.models.distributed.launch nbkit.rl.trl.job FOLDER/job.json

is the second one by hand. It reads `questions.json` beside the job and leaves `model/` and `result.json`.
Every process makes the questions and the reward again from plain data (plain.py), with jails of its own.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from nbkit.models.distributed import launch
from nbkit.models.distributed.sharding import whole_state, world_size
from nbkit.models.engine import Engine, Generator, render
from nbkit.models.load import history_of, load, save
from nbkit.models.side_by_side import MODEL, RESULT, identity
from nbkit.rl.loop.alarms import refuse_leaks
from nbkit.rl.loop.rollouts import Grade
from nbkit.rl.rewards import as_trl
from nbkit.rl.trl import dialogue, plain
from nbkit.rl.trl.grpo import GRPOSettings, TRLOptions, grpo
from nbkit.run import files, progress, provenance
from nbkit.run.precision import precision
from nbkit.tasks.skills import Task
from nbkit.tasks.world import prompt_of
from nbkit.text.tokenizer import stop_ids
from nbkit.verify import JailPool

QUESTIONS = "questions.json"


@dataclass(frozen=True)
class Launch:
    """What other processes must be told: where the policy comes from (as `models.load.load` reads it), the
    reward as plain data, and the devices."""

    source: str | Path
    reward: plain.Reward
    on: plain.OnTRL


@contextlib.contextmanager
def options_of(on: plain.OnTRL, jails: JailPool | None = None) -> Iterator[TRLOptions]:
    """`on` as `grpo` takes it, in the process that trains. Programs of the policy run in `jails`, or in some
    that end with the block."""
    with contextlib.ExitStack() as stack:
        if on.tools and jails is None:
            jails = stack.enter_context(JailPool())
        tools = dialogue.tools_of(on.tools, jails)
        own = (on.vllm, on.vllm_server, tools, on.tool_turns, on.completions_per_pass)
        yield TRLOptions(on.devices.sharding, *own)


@contextlib.contextmanager
def asking(on: plain.OnTRL) -> Iterator[Callable[..., Engine]]:
    """The policy as an engine, with its tools: made from (model, tokenizer)."""
    with options_of(on) as options:
        yield lambda model, tokenizer: dialogue.Calling(
            Generator(model, tokenizer), options.tools, options.tool_turns
        )


def trained(
    model,
    tokenizer,
    tasks: Sequence[Task],
    grade: Grade,
    settings: GRPOSettings,
    *,
    out: Path,
    label: str = "rl",
    options: TRLOptions | None = None,
) -> tuple[list[dict], float]:
    """Train `model` in place on `tasks`, each asked once; (history, seconds), as of `grpo`. Raises as it
    does, and ValueError for a prompt that gives its answer away."""
    prompts = [render(tokenizer, prompt_of(task)) for task in tasks]
    refuse_leaks(tasks, prompts)
    reward = as_trl(grade, tasks, tokenizer, stop_ids(tokenizer), settings.group)
    if options and options.tools:
        prompts, reward = _with_tools(tasks), _of_last_turns(reward, dialogue.last_turn(tokenizer))
        context = getattr(model.config, "max_position_embeddings", None) or 2**31
        dialogue.prompt_ids(tokenizer, prompts, options.tools, context)  # told before anything is sampled
    rows = [{"prompt": prompt, "index": i} for i, prompt in enumerate(prompts)]
    return grpo(model, tokenizer, rows, reward, settings, out=out, label=label, options=options)


def _with_tools(tasks: Sequence[Task]) -> list[list[dict]]:
    """Prompts as messages, beside which TRL offers the policy's tools."""
    if own := next((task for task in tasks if task.tools), None):
        raise ValueError(
            f"policy_tools: a {own.skill} question brings tools of its own, which are part of its answer; "
            "take policy_tools=[], or leave such questions out"
        )
    return [prompt_of(task) for task in tasks]


def _of_last_turns(reward: Callable, last: Callable) -> Callable:
    """`reward` for what each completion says in its last turn."""

    def of_last(prompts, completions, completion_ids, **columns) -> list[float | None]:
        return reward(prompts, completions, completion_ids=[last(ids) for ids in completion_ids], **columns)

    return of_last


def launched(
    model, given: Launch, tasks: Sequence[Task], settings: GRPOSettings, *, folder: Path, label: str = "rl"
) -> tuple[list[dict], float]:
    """The same by the launcher, in `folder`; `model` gets the weights that came out. A job that has ended is
    not run again, one that was killed starts anew. Raises RuntimeError with the end of a process's log."""
    asked = plain.told_tasks(tasks)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / QUESTIONS, asked)
    told = {"source": str(given.source), "model": identity(given.source), "label": label}
    told |= {"reward": plain.told(given.reward), "judges": given.reward.models()}
    told |= {"settings": asdict(settings), "questions": files.digest(asked), "precision": precision()}
    told |= {"on": asdict(given.on)}
    # The processes need the memory of the GPUs: ours waits on the host.
    place = model.device
    model.to("cpu")
    torch.cuda.empty_cache()
    result = launch.run("nbkit.rl.trl.job", told, folder, **given.on.devices.how)
    model.load_state_dict(load(folder / MODEL)[0].state_dict())
    model.to(place)
    return history_of(folder / MODEL), result["seconds"]


def main(argv: Sequence[str]) -> None:
    path = Path(argv[0])
    wanted, out = files.read_json(path), path.parent
    tasks, on = plain.tasks_of(files.read_json(out / QUESTIONS)), plain.on_of(wanted["on"])
    # Several processes of a node share its cores.
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    with progress.doing(wanted["label"]), JailPool(max(1, provenance.cores() // beside)) as jails:
        model, tokenizer = load(wanted["source"])
        grade = plain.reward_of(wanted["reward"]).made(jails)
        settings = GRPOSettings(**wanted["settings"])
        with options_of(on, jails) as options:
            how = {"out": out / "trainer", "label": wanted["label"], "options": options}
            history, seconds = trained(model, tokenizer, tasks, grade, settings, **how)
        state = whole_state(model)  # every rank takes part; one of them saves
        if int(os.environ.get("RANK", 0)):
            return
        with files.atomic_dir(out / MODEL) as temp:
            save(temp, model, tokenizer, history, state)
    files.write_json(out / RESULT, {"seconds": seconds, "world_size": world_size()})


if __name__ == "__main__":
    main(sys.argv[1:])
