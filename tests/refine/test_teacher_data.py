"""Training data of a teacher's roles."""

from test_refine import Scripted

from nbkit.refine import loop as refine
from nbkit.refine import teacher_data
from nbkit.tasks.skills import Task

GOOD = "<think>3 + 4 = 7</think>7"
OFF = "<think>3 + 4 = 8</think>8"


def drafted(task: Task, *texts: str, jail=None) -> refine.Refined:
    teacher = Scripted(lambda request, i: texts[i])
    settings = refine.RefineSettings(candidates=len(texts), rounds=0)
    (found,), _ = refine.refine([task.question], {"t": teacher}, None, [], jail, settings)
    return found


def test_roles_are_trained_on_labelled_drafts(jail):
    task = Task("add", "math", 1, "train", "What is 3 + 4?", ("3 + 4 = 7",), "7", "number")
    found = drafted(task, OFF, GOOD, OFF, jail=jail)
    right = [[False, True, False]]
    chats = teacher_data.judge_chats([task], [found], right)
    assert [c[1]["content"] for c in chats] == ["wrong: 3 + 4 = 8", "right"]  # equal drafts once
    assert chats[0][0]["content"] == "What is 3 + 4?\nDraft: 3 + 4 = 8 -> 8\nRight or wrong?"
    revision = teacher_data.revise_chats([task], [found], right, seed=0)[0]
    assert "Draft: " in revision[0]["content"] and revision[0]["content"].endswith("Revise.")
    assert revision[1]["content"] == "7" and revision[1]["reasoning_content"] == "3 + 4 = 7"
    assert teacher_data.draft_chats([task]) == [[{"role": "user", "content": "What is 3 + 4?"}, revision[1]]]
    assert (
        teacher_data.complete_chats([task])[0][1]["content"]
        == "Summary: 1 step, last 3 + 4 = 7\n<think>3 + 4 = 7</think>"
    )


def test_first_faults_by_hand():
    task = Task("add", "math", 1, "train", "q", ("3 + 4 = 7", "7 * 2 = 14"), "14", "number")
    assert teacher_data.first_fault(task, "<think>3 + 4 = 7\n7 * 2 = 15</think>15") == "7 * 2 = 15"
    assert teacher_data.first_fault(task, "<think>3 + 4 = 7\n7 * 2 = 14</think>15") == "the answer"
