"""Tests of public sets in the forms that `code.py` grades (03-07, benchmarks).

mbpp_calls(["assert add(2, 3) == 5"])  # ("add", [Call([2, 3], 5)])
grade_mbpp(jail, row["code"], row)  # Verdict("pass")
grade_humaneval(jail, row["prompt"] + row["canonical_solution"], row)
"""

import ast
import builtins
import textwrap
from collections.abc import Mapping, Sequence

from nbkit.verify.code.blocks import complete
from nbkit.verify.code.grade import Call, Verdict, grade, grade_check
from nbkit.verify.code.pieces import IMPORT, UNREADABLE, compiles, parse, tree_of
from nbkit.verify.jail.inside import jail_codec
from nbkit.verify.jail.jail import Jail

_IMPORTS = "import array, collections, datetime, decimal, fractions, itertools, math, re, sys, uuid"


def grade_humaneval(jail: Jail, code: str, row: Mapping[str, str]) -> Verdict:
    """Grade an answer to a HumanEval row (fields prompt, test, entry_point): a whole program, or the lines
    that continue the prompt. A whole program gets what it uses and lacks of the prompt's imports and helpers.
    The helper functions of the prompt join the test: some tests use them."""
    entry, prompt = row["entry_point"], row["prompt"]
    tree = parse(code)
    if tree is None or not any(getattr(node, "name", None) == entry for node in ast.walk(tree)):
        indented = textwrap.indent(textwrap.dedent(code), "    ")
        # As it is, without its margin, or with a first line that lost its margin when it was stripped.
        forms = (prompt + code, prompt + indented, f"{prompt}    {code}")
        code = next(filter(compiles, forms), code)
    return grade_check(jail, complete(code, prompt), entry, f"{prompt}\n{row['test']}")


def grade_mbpp(jail: Jail, code: str, row: Mapping) -> Verdict:
    """Grade a program on an MBPP row (fields test_list, test_setup_code): by its calls where they have
    literal answers, else with the asserts as a test of their own."""
    if parsed := mbpp_calls(row["test_list"]):
        entry, calls = parsed
        return grade(jail, code, entry, calls, row.get("test_setup_code") or "")
    setup = parse(row.get("test_setup_code") or "")
    imports = [node for node in setup.body if isinstance(node, IMPORT)] if setup else []
    given = {alias.asname or alias.name for node in imports for alias in node.names}
    try:
        names = {name for test in row["test_list"] for name in _called(tree_of(test))} - given
    except UNREADABLE as error:
        return Verdict("infra", f"a test of the row is no Python that can be read: {type(error).__name__}")
    if len(names) != 1:
        return Verdict("infra", f"the tests call {sorted(names) or 'nothing'}, wanted one function")
    body = "\n    ".join(row["test_list"])
    test = "\n".join([_IMPORTS, *map(ast.unparse, imports), f"def check(candidate):\n    {body}"])
    return grade_check(jail, code, names.pop(), test)


def mbpp_calls(test_list: Sequence[str]) -> tuple[str, list[Call]] | None:
    """Calls of tests of the form `assert f(…) == literal`, all of one f; None when any is not.

    Arguments that are not literals (an object that the program defines, a fraction), and a built-in around f,
    stay an expression that is evaluated where the program runs. An expectation that has to be computed is
    refused: evaluated there, the program could fool it.
    """
    entries, calls = set(), []
    for test in test_list:
        parsed = _parse_assert(test)
        if parsed is None:
            return None
        entries.add(parsed[0])
        calls.append(parsed[1])
    return (entries.pop(), calls) if len(entries) == 1 else None


def _parse_assert(test: str) -> tuple[str, Call] | None:
    try:
        match tree_of(test).body:
            case [
                ast.Assert(test=ast.Compare(left=ast.Call() as call, ops=[ast.Eq()], comparators=[expected]))
            ]:
                wanted, names = ast.literal_eval(expected), _called(call)
                jail_codec.encode(wanted)
                return (names[0], Call(_arguments(call, names[0]), wanted)) if names else None
    except (*UNREADABLE, TypeError):
        pass
    return None


def _called(tree: ast.AST) -> list[str]:
    """Functions called by name, outermost first. Built-in ones count only where there is no other: MBPP has a
    task that defines `sum`."""
    names = [n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    return [name for name in names if not hasattr(builtins, name)] or names


def _arguments(call: ast.Call, entry: str) -> list | str:
    if isinstance(call.func, ast.Name) and call.func.id == entry and not call.keywords:
        try:
            args = [ast.literal_eval(arg) for arg in call.args]
            jail_codec.encode(args)
            return args
        except (*UNREADABLE, TypeError):
            pass
    return ast.unparse(call)
