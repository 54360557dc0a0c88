"""Verifiers: run generated code in a jail, grade it, and compare final answers (notebooks 04, 06 and 07).

with Jail() as jail:
    grade(jail, "def add(a, b): return a + b", "add", [Call([2, 3], 5)])  # Verdict("pass", "")
    verdict(extract_answer("… #### 1/2"), "0.5", jail)  # "pass"
"""

from nbkit.verify.answers.compare import equivalent, verdict
from nbkit.verify.answers.extract.answer import extract_answer
from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import Call, Case, Verdict, grade, grade_check, grade_program
from nbkit.verify.code.mutants import mutants, mutation_score
from nbkit.verify.code.suites import grade_humaneval, grade_mbpp, mbpp_calls
from nbkit.verify.jail.jail import Jail
from nbkit.verify.jail.pool import JailPool
from nbkit.verify.jail.results import CallError, JailResult
from nbkit.verify.jail.tiers import SandboxUnavailable, probe

__all__ = [
    "Call",
    "CallError",
    "Case",
    "Jail",
    "JailPool",
    "JailResult",
    "SandboxUnavailable",
    "Verdict",
    "equivalent",
    "extract_answer",
    "extract_code",
    "grade",
    "grade_check",
    "grade_humaneval",
    "grade_mbpp",
    "grade_program",
    "mbpp_calls",
    "mutants",
    "mutation_score",
    "probe",
    "verdict",
]
