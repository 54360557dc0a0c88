"""Is a program right? Blocks of an answer, tests, suites, mutants, synthetic tests."""

from nbkit.verify.code.blocks import extract_code
from nbkit.verify.code.grade import Call, Case, Verdict, grade, grade_check, grade_program

__all__ = ["Call", "Case", "Verdict", "extract_code", "grade", "grade_check", "grade_program"]
