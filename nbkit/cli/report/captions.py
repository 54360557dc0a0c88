"""What the figures of the notebooks show, in a reader's words. Used by stage_facts.py."""

from __future__ import annotations

TIERS = "tiers_"
CAPTIONS = {
    # 01
    "quality_histogram": "Quality scores of the documents, by how they were made",
    "stage_plan": "The plan of pre-training: learning rate and pools, stage by stage",
    "precision_recall": "Precision and recall of the quality filter",
    "human_pairs": "Pairs of documents that the filter orders as people do",
    # 02
    "fg_wsd": "FG-WSD: learning rate and share of each pool over the tokens read",
    "loss_curves": "Training loss of the arms",
    "validation": "Loss on validation rows of each pool",
    "look_up": "Look-ups found, by distance in tokens",
    "base_accuracy": "Held-out questions that the bases answer, by domain",
    # 03
    "sft_loss": "Cold start: loss on assistant tokens",
    "cold_start_accuracy": "Held-out questions answered before and after the cold start",
    "cold_start_scaling": "Accuracy by the number of cold-start samples",
    # 04
    "refinement_rounds": "Right solutions after each round of refinement",
    "overall_accuracy": "Held-out questions answered after overall SFT, by domain",
    # 05
    "token_divergence": "Divergence from the teacher, token by token",
    "dpd_terms": "Terms of the DPD loss",
    "dpd_margin": "Margin between good and bad responses",
    "dpd_accuracy": "Held-out questions answered after DPD, by domain",
    "sensitivity": "DPD minus SFT continued, by setting of the loss",
    # 06
    "pass_rates": "Pass rates of the questions before each RL stage, and the band that is kept",
    "reward_curves": "Mean reward of each step, by RL stage",
    "signal_curves": "Groups with signal in each step, by RL stage",
    "length_curves": "Tokens a completion, by RL stage",
    "entropy_curves": "Entropy of the policy, by RL stage",
    "looks": "Score on held-back training questions during each RL stage",
    "rl_measures": "What each RL stage changed, by measure",
    "rl_accuracy": "Held-out questions answered after each RL stage, by domain",
    # 04 and 05
    "ablation": "Accuracy of the arms of the ablation",
    # 07
    "ladder": "Accuracy stage by stage",
    "final_scores": "Accuracy of every checkpoint",
    "final_domains": "Accuracy of every checkpoint, by domain",
}


def caption(stem: str) -> str:
    """The caption of figures/<stem>.png; the words of its name where it has none (a project's own figure)."""
    # 01 draws one for each way to divide the sources: tiers_train_to_test.
    if stem.startswith(TIERS):
        return f"How well the scores follow the tiers of the sources, {_plain(stem.removeprefix(TIERS))}"
    return CAPTIONS.get(stem, _plain(stem))


def _plain(stem: str) -> str:
    return stem.replace("_", " ")
