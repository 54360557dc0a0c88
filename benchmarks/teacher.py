"""How good is the shipped teacher in each of its four roles? On training questions of a seed of its own.

.venv/bin/python benchmarks/teacher.py --out outputs/reference/benchmarks/teacher.json
.venv/bin/python benchmarks/teacher.py --teacher path/to/another

draft     right answers, one sample at temperature 1
judge     does it tell its own right drafts from its wrong ones? Area under the curve, and right verdicts
revise    wrong drafts that become right, from the critique of the checks by form and tools
complete  chains to a given solution that lead to it, step by step (nbkit.evals.chains)
"""

import argparse
import os
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
from sklearn.metrics import roc_auc_score

from nbkit.evals.chains import all_lead
from nbkit.evals.score import avg_at_k
from nbkit.models.engine import user_turn
from nbkit.models.engines import engine
from nbkit.refine import teacher_data
from nbkit.refine.checklist import checklist
from nbkit.refine.critique import judge
from nbkit.refine.prompts import TRAINED, judge_request, revision_request
from nbkit.refine.reconstruct import parse
from nbkit.run import files
from nbkit.tasks.skills import checkable, sample, verify
from nbkit.tasks.world import instruction
from nbkit.verify.jail.jail import Jail

SEED, TOKENS = 991_000, 96


def share(marks) -> dict:
    """A share with its interval over questions."""
    return avg_at_k(np.asarray(marks, bool)[:, None]).dict()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="shipped", help="shipped, a folder or a hub id")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="also write the numbers to this file")
    options = parser.parse_args()
    teacher = engine(options.teacher, logprobs=True)
    tasks = [task for task in sample(options.questions, "train", SEED) if checkable(task)]
    with Jail() as jail:
        limits = {"candidates": 2, "max_new_tokens": TOKENS, "seed": SEED}
        tasks, drafted, right = teacher_data.own_drafts(tasks, teacher, jail, **limits)
        found = {"draft": share([marks[0] for marks in right])}
        # Judge: the teacher's own drafts, each different one once.
        rows = {}
        for task, refined, marks in zip(tasks, drafted, right, strict=True):
            for review, good in zip(refined.drafts, marks, strict=True):
                rows[task.question, review.text] = (task, review, good)
        rows = list(rows.values())
        items = [checklist(instruction(task)) for task, _, _ in rows]
        requests = [
            judge_request(instruction(task), review.text, own)
            for (task, review, _), own in zip(rows, items, strict=True)
        ]
        score_N = np.array([said[-1].score for said in judge(teacher, requests, items, TOKENS)])
        good_N = np.array([good for _, _, good in rows])
        found["judge"] = {
            "auc": float(roc_auc_score(good_N, score_N)),
            "right_drafts": share((score_N >= 0.5)[good_N]),
            "wrong_drafts": share((score_N < 0.5)[~good_N]),
        }
        # Revise: what has something to criticise.
        faulty = [(task, review, good) for task, review, good in rows if not review.passed]
        asked = [user_turn(revision_request(instruction(t), review, TRAINED)) for t, review, _ in faulty]
        revised = [texts[0].text for texts in teacher.sample(asked, 1, TOKENS)]
        after = [verify(task, text, jail) for (task, _, _), text in zip(faulty, revised, strict=True)]
        found["revise"] = {
            "wrong_to_right": share(
                [now for now, (_, _, good) in zip(after, faulty, strict=True) if not good]
            ),
            "criticised": len(faulty),
        }
        # Complete: a chain to the reference solution.
        chained = [task for task in tasks if task.steps]
        requests = [
            user_turn(TRAINED.complete.format(question=instruction(t), solution=t.answer)) for t in chained
        ]
        answers = [parse(texts[0].text) for texts in teacher.sample(requests, 1, TOKENS)]
        written = [(task, answer[1]) for task, answer in zip(chained, answers, strict=True) if answer]
        lead = all_lead([t for t, _ in written], [(chain, t.answer) for t, chain in written], jail)
        found["complete"] = avg_at_k(lead).dict() | {"written": len(written), "asked": len(chained)}
    for role, numbers in found.items():
        print(f"{role:<9}", numbers)
    if options.out:
        files.write_json(options.out, found | {"teacher": options.teacher, "questions": len(tasks)})


if __name__ == "__main__":
    main()
