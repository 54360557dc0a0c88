"""The arms of a notebook on several devices, each trained by all of them. Used by 03-05.

made = one_by_one(run, "nbkit.sft.job", {"sft": (write, key)}, Devices("torchrun", 8))
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import copytree

from nbkit.models.distributed import launch
from nbkit.models.distributed.sharding import Devices
from nbkit.models.side_by_side import MODEL, workshop
from nbkit.run.precision import precision
from nbkit.run.stage import Run


def one_by_one(
    run: Run, module: str, jobs: Mapping[str, tuple[Callable[[str, Path], dict], Mapping]], devices: Devices
) -> dict[str, Path]:
    """Trainings as artifacts of `run`, one after the other by the launcher: name -> folder. `jobs` as of
    `side_by_side`. They are trained in the run's workshop: after a kill the finished ones are kept, and the
    one that was not begins again. Raises RuntimeError as `launch.run` does."""

    def made(name: str, write: Callable[[str, Path], dict]) -> Callable[[Path], None]:
        def build(out: Path) -> None:
            folder = workshop(run) / name
            config = write(name, folder) | {"precision": precision(), "sharding": devices.sharding}
            result = launch.run(module, config, folder, **devices.how)
            copytree(folder / MODEL, out, dirs_exist_ok=True)
            run.timing(**{f"{name}_s": result["seconds"]})

        return build

    return {name: run.once(name, made(name, write), **key) for name, (write, key) in jobs.items()}
