"""Sections of the results page about the filter, the verifiers, evaluation and a real model. Each returns
Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbkit.cli.results.reference import Reference
from nbkit.cli.results.text import clock, percent, plain, points, share, table

_PAIRS = {
    "convincing_args": "arguments, 32 topics",
    "corpus_qa_stackexchange": "voted answers",
    "onestop_english": "simple and advanced versions (a control)",
}
_WAYS = {
    "0-9": "0-9 scores",
    "binary label": "binary label",
    "binary decision": "binary decision",
    "content": "content only",
    "format": "format only",
    "length": "length alone",
    "0-9, lengths within 25%": "0-9, lengths within 25%",
}
_AGREED = {
    "arc_challenge": "ARC-Challenge",
    "arc_easy": "ARC-Easy",
    "hellaswag": "HellaSwag",
    "gsm8k": "GSM8K",
    "ifeval": "IFEval",
}
_HELD_OUT = {"held_out": "held-out pairs", "math-verify's tests": "Math-Verify's own tests", "gsm8k": "GSM8K"}


def sources(reference: Reference) -> str:
    """Which commit and machine made which file."""
    rows = [
        [
            f"`outputs/reference/{s.file}`",
            s.commit if s.recorded else f"{s.commit} (added the file)",
            s.machine,
            s.note,
        ]
        for s in reference.sources()
    ]
    return table(["file", "commit", "machine", "note"], rows)


def data_filter(reference: Reference) -> str:
    """The embedded world's planted truth, people's judgement, source tiers."""
    planted = reference.read("small/01_data_mix.json")["measured"]
    public = reference.read("smollm2/01_data_mix.json")
    # People: which of two texts is better.
    pairs = [[words, *(share(public["human"][name][way]) for name in _PAIRS)] for way, words in _WAYS.items()]
    gains = [
        [way, *(points(public["human"][name][way]) for name in _PAIRS)]
        for way in ("content minus format", "0-9 minus binary label", "0-9 minus binary decision")
    ]
    # Weak labels: tiers of the sources.
    groups = list(public["tiers"].values())
    tiers = [[way, *(plain(found[way]) for found in groups)] for way in groups[0]]
    # What each step of the filter leaves.
    waterfall = [
        [row["step"], f"{row['tokens']:,}", percent(row["of_raw"], 1)]
        for row in reference.read("small/01_data_mix.json")["waterfall"]
    ]
    return "\n\n".join(
        [
            "Embedded world at `small`: clean solutions against all else AUC "
            f"{planted['auc_clean_vs_rest']:.2f} (against wrong ones "
            f"{planted['auc_clean_vs_wrong']:.2f}); {percent(planted['clean_share_of_hq'])} of "
            f"the upper pool clean, {percent(planted['clean_share_of_raw'])} of the raw "
            f"documents. Planted duplicates: recall {planted['duplicates_recall']:.3f}, "
            f"precision {planted['duplicates_precision']:.2f}.",
            table(["embedded world", "tokens", "of raw"], waterfall),
            "Cross-topic agreement with people, which of two texts is better (points for the differences):",
            table(["scored by", *_PAIRS.values()], pairs + gains),
            "Spearman with source tiers, spam to textbook (A and B: halves of the sources):",
            table(["scored by", *public["tiers"]], tiers),
        ]
    )


def verifiers(reference: Reference) -> str:
    """The jail's rates, code graded, answers compared."""
    jail, graders = reference.read("benchmarks/jail.json"), reference.read("benchmarks/graders.json")
    # How fast the jail is.
    rates = [[f"`{tier}`", rate, jail["rounds"][tier]] for tier, rate in jail["jobs_per_s"].items()]
    low, high = jail["slowest_and_fastest_round_of_bubblewrap"]
    # How often code and answers are misjudged.
    graded, made = graders["graded"], graders["synthetic"]
    failed = graded["mutants_that_python_fails"]
    mean, below, above = (f"{100 * x:.2f}" for x in graded["share_we_fail"])
    known = reference.read("benchmarks/references.json")
    answers = reference.read("benchmarks/answers.json")["sets"]
    rows = [
        [words, who, *_answer_cells(found)]
        for name, words in _HELD_OUT.items()
        for who, found in answers[name].items()
    ]
    heads = ["set", "verifier", "n", "agreement"]
    return "\n\n".join(
        [
            f"Jobs per second of one worker, medians of rounds of {jail['jobs_per_round']:,} "
            f"jobs (single rounds under bubblewrap {low} to {high}):",
            table(["tier", "jobs/s", "rounds"], rates),
            f"Code. References that pass: {_passed(known['plain'])} as they are, {_passed(known['fenced'])} "
            "fenced in an answer. Measured before the jail was last changed: of "
            f"{sum(failed.values()):,} mutants that plain Python fails, {mean}% [{below}, "
            f"{above}] fail here. {graders['regraded']['completions']:,} completions graded "
            f"twice: {graders['regraded']['verdicts_that_differ']} verdicts differ. Synthetic "
            f"tests catch {made['caught_by_synthetic_tests']:,} of {made['wrong_programs']:,} "
            f"wrong programs, the human asserts {made['caught_by_human_asserts']:,}.",
            "Answers, 95% intervals:",
            table([*heads, "pays wrong answers", "refuses right ones", "median ms"], rows),
        ]
    )


def _passed(sets: Mapping[str, Mapping[str, int]]) -> str:
    """Passed references of each set, of all: "HumanEval 164 of 164, MBPP 974 of 974"."""
    counts = [(sets[name].get("pass", 0), sum(sets[name].values())) for name in ("humaneval", "mbpp")]
    return "HumanEval {} of {}, MBPP {} of {}".format(*counts[0], *counts[1])


def _answer_cells(found: Mapping[str, Any]) -> list[Any]:
    rates = [share(found[k], 1, "rate") for k in ("agreement", "false_positive", "false_negative")]
    return [found["agreement"]["n"], *rates, found["median_ms"]]


def evaluation(reference: Reference) -> str:
    """Agreement with lm-evaluation-harness, and how fast both are."""
    agreed = reference.read("benchmarks/eval_agreement.json")
    # One row for each metric that both compute: of the same log-likelihoods, or the same texts.
    rows, own, speeds, scored, written = [], [], [], [], []
    for name, words in _AGREED.items():
        # Sets that were not asked yet are left out.
        if name not in agreed["parts"]:
            continue
        part = agreed["parts"][name]
        (scored if "largest_gap" in part else written).append(words)
        rows += [_agreement(words, metric, found) for metric, found in part["metrics"].items()]
        own += [_agreement(words, metric, found) for metric, found in part.get("own_texts", {}).items()]
        pace = [part["speed"].get(side) for side in ("ours", "theirs")]
        cells = [f"{one['per_s']:.2f} (n={one['questions']})" if one else "-" for one in pace]
        ratio = f"{pace[0]['per_s'] / pace[1]['per_s']:.1f}" if all(pace) else "-"
        prompts = part["prompts"]
        speeds.append([words, *cells, ratio, percent(prompts["texts"], 1), percent(prompts["tokens"], 1)])
    heads = ["set", "mark", "n", "ours", "lm-eval", "difference, points", "same verdict"]
    return "\n\n".join(
        [
            "SmolLM2-135M-Instruct by `nbkit eval` and by lm-evaluation-harness "
            f"{agreed['lm_eval']}. {', '.join(scored)}: each its own log-likelihoods. "
            f"{', '.join(written)}: our answers, marked by both.",
            table(heads, rows),
            "Texts again, each program with its own answers "
            f"(both in {agreed['generated_in']}, greedy; the first questions only):",
            table(heads, own),
            "Questions per second of one CPU core, and prompts that are the same:",
            table(["set", "ours", "lm-eval", "ratio", "same prompt", "same tokens"], speeds),
            *_skill_questions(reference),
        ]
    )


def _skill_questions(reference: Reference) -> list[str]:
    """How long an evaluation of the pipeline takes, where that was measured."""
    name = "benchmarks/eval_speed.json"
    if name not in {source.file for source in reference.sources()}:
        return []
    found = reference.read(name)
    return [
        f"Skill questions: {found['questions']:,} at k = {found['k']} by a checkpoint of `small` in "
        f"{clock(found['wall_s'])} on {found['threads']} threads ({found['answers_per_s']:.0f} answers a "
        f"second, {percent(found['stopped'])} of which ended by themselves)."
    ]


def _agreement(words: str, metric: str, found: Mapping[str, Any]) -> list[Any]:
    shares = [percent(found[side], 1) for side in ("ours", "theirs")]
    return [words, metric, found["n"], *shares, points(found["difference"]), percent(found["same"], 1)]


def real_model(reference: Reference) -> str:
    """SmolLM2-135M-Instruct through 03, 04 and 05."""
    start, refined = (
        reference.read(f"smollm2/{name}.json") for name in ("03_sft_cold_start", "04_sft_overall")
    )
    distilled = reference.read("smollm2/05_dpd.json")
    # 03: accuracy and form before and after.
    rows = []
    for domain, words in (("math", "GSM8K"), ("code", "MBPP")):
        before, after = (start["results"][arm]["by_domain"][domain] for arm in ("before", "cold_start"))
        change = points(start["change_by"]["domain"][domain])
        rows.append([f"03: {words}", share(before, 1), share(after, 1), change, before["n"]])
    form = [start["results"][arm]["form"]["right form"] for arm in ("before", "cold_start")]
    rows.append(["03: right form", *(share(one) for one in form), "", form[0]["n"]])
    # 04: its own solutions; 05: each method after the same start.
    rounds = refined["rounds"]
    first, last = rounds["teacher's first sample"], rounds["revision 1"]
    rows.append(
        ["04: solutions right", share(first), share(last), points(refined["refinement_gain"]), first["n"]]
    )
    for arm, words in (("sft_continued", "SFT continued"), ("dpd", "DPD"), ("teacher", "teacher")):
        before, after = (distilled["results"][name]["overall"] for name in ("sft", arm))
        rows.append([f"05: {words}", share(before), share(after), "", before["n"]])
    against = distilled["against_sft"]
    return "\n\n".join(
        [
            table(["SmolLM2-135M-Instruct, seed 0", "before", "after", "change", "n"], rows),
            f"05, DPD minus SFT continued: {points(against)}, n={against['n']}: too few "
            "questions to tell them apart.",
        ]
    )
