"""Modules under the names they had before the folders became those of the notebooks, and functions with the
arguments they had before these became a class: both still work, with a DeprecationWarning that gives the new
form. To be removed with version 0.2.

    from nbkit.train.checkpoint import newest_valid  # nbkit.pretrain.checkpoint
    filter_corpus("*.jsonl", folder, out, hq_tokens=200, mq_tokens=200)  # settings=FilterSettings(200, 200)
"""

import dataclasses
import functools
import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
import warnings
from collections.abc import Callable
from types import ModuleType

FOLDERS = ("nbkit.data", "nbkit.train")  # packages that are gone
NAMES = {
    "calibrate": "cli.calibrate",
    "checklist": "refine.checklist",
    "claims": "evals.claims",
    "conversations": "text.conversations",
    "critique": "refine.critique",
    "data.adapters": "tasks.adapters",
    "data.annotators": "filter.annotators",
    "data.characters": "text.characters",
    "data.contamination": "filter.contamination",
    "data.corpus": "filter.corpus.inputs",
    "data.corpus_dedup": "filter.corpus.dedup",
    "data.corpus_pools": "filter.corpus.pools",
    "data.corpus_score": "filter.corpus.score",
    "data.dedup": "filter.dedup",
    "data.encoders": "filter.encoders",
    "data.equations": "text.equations",
    "data.filter": "filter.document_filter",
    "data.labels": "filter.labels",
    "data.long_documents": "tasks.long_documents",
    "data.mixture": "pretrain.fg_wsd",
    "data.ngrams": "text.ngrams",
    "data.pipeline": "filter.corpus.pipeline",
    "data.quality": "filter.scorer",
    "data.reading": "text.rows",
    "data.retrieval": "filter.retrieval",
    "data.rules": "filter.rules",
    "data.skill_bank": "tasks.bank",
    "data.skill_bank.agent": "tasks.bank.agent",
    "data.skill_bank.code": "tasks.bank.code",
    "data.skill_bank.general": "tasks.bank.general",
    "data.skill_bank.math": "tasks.bank.math",
    "data.skill_bank.science": "tasks.bank.science",
    "data.skill_bank.words": "tasks.bank.words",
    "data.skills": "tasks.skills",
    "data.sources": "tasks.sources",
    "data.task_sets": "tasks.sets",
    "data.tokens": "text.tokenizer",
    "data.words": "text.words",
    "data.world": "tasks.world",
    "decoding": "models.decoding",
    "draft_checks": "refine.draft_checks",
    "endpoint": "models.endpoint",
    "endpoint_http": "models.endpoint_http",
    "engines": "models.engines",
    "evals.agreement": "filter.agreement",
    "evals.long_context": "pretrain.long_context",
    "evals.partial": "tasks.partial",
    "evals.tasks": "evals.evaluate",
    "execute": "cli.execute",
    "files": "run.files",
    "generate": "models.engine",
    "json_cache": "models.json_cache",
    "launch": "models.distributed.launch",
    "live": "cli.live",
    "opening": "run.opening",
    "params": "run.params",
    "plots": "evals.plots",
    "progress": "run.progress",
    "prompts": "refine.prompts",
    "provenance": "run.provenance",
    "reconstruct": "refine.reconstruct",
    "replies": "models.replies",
    "report": "cli.report",
    "rl.grpo": "rl.trl.grpo",
    "roles": "refine.teacher_data",
    "runner": "cli.runner",
    "schemas": "run.schemas",
    "seed_report": "cli.study.seed_report",
    "seed_stats": "cli.study.seed_stats",
    "seeds": "cli.study.seeds",
    "stage": "run.stage",
    "token_efficiency": "cli.study.token_efficiency",
    "tool_calls": "text.tool_calls",
    "train.checkpoint": "pretrain.checkpoint",
    "train.common": "models.training",
    "train.dpd": "dpd.trainer",
    "train.dpd_loss": "dpd.loss",
    "train.dpd_states": "dpd.states",
    "train.dpd_tiles": "dpd.tiles",
    "train.dpd_view": "dpd.view",
    "train.dry_run": "cli.plan_command",
    "train.models": "models.load",
    "train.order": "pretrain.order",
    "train.pairs": "dpd.pairs",
    "train.precision": "run.precision",
    "train.preference": "rl.judge",
    "train.pretrain": "pretrain.job",
    "train.pretrain_trainer": "pretrain.trainer",
    "train.rl": "rl.trl.grpo",
    "train.rope": "pretrain.rope",
    "train.schedule": "pretrain.plan",
    "train.sft": "sft.sft",
    "train.teacher_cache": "dpd.teacher_cache",
    "train.throughput": "pretrain.throughput",
    "verify.blocks": "verify.code.blocks",
    "verify.bounds": "verify.answers.extract.bounds",
    "verify.clauses": "verify.answers.extract.clauses",
    "verify.equations": "verify.answers.extract.equations",
    "verify.extract": "verify.answers.extract.answer",
    "verify.fences": "verify.code.fences",
    "verify.forms": "verify.answers.parse.forms",
    "verify.formula": "verify.answers.parse.formula",
    "verify.leaves": "verify.answers.parse.leaves",
    "verify.math": "verify.answers.compare",
    "verify.mutants": "verify.code.mutants",
    "verify.pieces": "verify.code.pieces",
    "verify.printed": "verify.code.printed",
    "verify.question": "verify.answers.question",
    "verify.rational": "verify.answers.parse.rational",
    "verify.reading": "verify.answers.parse.reading",
    "verify.splitting": "verify.answers.parse.splitting",
    "verify.statements": "verify.answers.extract.statements",
    "verify.structures": "verify.answers.parse.structures",
    "verify.suites": "verify.code.suites",
    "verify.synthesis": "verify.code.synthesis",
    "verify.unit_table": "verify.answers.parse.unit_table",
    "verify.units": "verify.answers.parse.units",
    "verify.values": "verify.answers.values",
    "yaml_text": "run.yaml_text",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an old name and loads the module that it names now."""

    def __init__(self) -> None:
        self.specs: dict[str, importlib.machinery.ModuleSpec] = {}  # old name -> spec of the module

    def find_spec(self, fullname: str, path: object = None, target: object = None):
        if fullname in FOLDERS:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname.removeprefix("nbkit.") in NAMES and fullname.startswith("nbkit."):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        if spec.name in FOLDERS:
            return None
        new = f"nbkit.{NAMES[spec.name.removeprefix('nbkit.')]}"
        warnings.warn(f"{spec.name} is now {new}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module has run under its new name; the import system has only put our spec into it."""
        module.__spec__ = self.specs.get(module.__spec__.name, module.__spec__)


def once_separate(parameter: str, cls: type) -> Callable[[Callable], Callable]:
    """Lets the argument `parameter`, an instance of the dataclass `cls`, also come as the fields of `cls`: by
    name, or one after another in its place."""
    names = [field.name for field in dataclasses.fields(cls)]

    def decorate(function: Callable) -> Callable:
        place = list(inspect.signature(function).parameters).index(parameter)

        @functools.wraps(function)
        def call(*arguments, **named):
            whole = parameter in named or isinstance(arguments[place] if arguments[place:] else None, cls)
            if whole or not (arguments[place:] or set(names) & set(named)):
                return function(*arguments, **named)
            text = f"{function.__name__}: give {parameter}={cls.__name__}(...) in place of its fields"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            # What stands at the place are the first fields; the others have names.
            in_order = arguments[place : place + len(names)]
            given = {name: named.pop(name) for name in names[len(in_order) :] if name in named}
            settings = cls(*in_order, **given)
            return function(*arguments[:place], settings, *arguments[place + len(in_order) :], **named)

        return call

    return decorate


def install() -> None:
    """Look for old names from now on. Safe to repeat."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())  # no file has an old name, so that nothing is hidden
