"""The parameters of the seven notebooks, by stage. After every change here `nbkit params --sync` writes the
parameters cells and the files under params/."""

from nbkit.run.schemas.base import Computing
from nbkit.run.schemas.evaluation import Evaluate
from nbkit.run.schemas.posttraining import ColdStart, Distil, Overall, Reinforce
from nbkit.run.schemas.pretraining import DataMix, Pretrain

__all__ = ["SCHEMAS", "Computing"]

SCHEMAS = {
    "01_data_mix": DataMix,
    "02_pretrain": Pretrain,
    "03_sft_cold_start": ColdStart,
    "04_sft_overall": Overall,
    "05_dpd": Distil,
    "06_rl": Reinforce,
    "07_eval": Evaluate,
}
