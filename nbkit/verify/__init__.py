"""Verifiers: run generated code in a jail, grade it, and compare final answers (notebooks 04, 06 and 07).

with Jail() as jail:
    grade(jail, "def add(a, b): return a + b", "add", [Call([2, 3], 5)])  # Verdict("pass", "")
    verdict(extract_answer("… #### 1/2"), "0.5", jail)  # "pass"
"""

from .blocks import extract_code
from .code import Call, Case, Verdict, grade, grade_check, grade_program
from .jail import CallError, Jail, JailResult, SandboxUnavailable, probe
from .jail_pool import JailPool
from .math import equivalent, extract_answer, verdict
from .mutants import mutants, mutation_score
from .suites import grade_humaneval, grade_mbpp, mbpp_calls

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
