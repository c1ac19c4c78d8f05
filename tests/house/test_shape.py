"""Files and functions have a size, a name that says something, and a sentence."""

import ast

from tests.house.project import ROOT, python_files, tree

FILE_LINES = 400
FUNCTION_LINES = 60
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "core", "common", "base", "misc", "manager"}


def functions(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function):
    """Count the lines of a function without its docstring."""
    first = function.body[0]
    said = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) else 0
    return function.end_lineno - function.lineno + 1 - said


def test_no_file_is_a_room_for_everything():
    named = {str(name): {*name.parts[:-1], name.stem} & EMPTY_NAMES for name in python_files()}
    assert {name: words for name, words in named.items() if words} == {}


def test_no_file_is_longer_than_a_reader_is_patient():
    lines = {
        str(name): len((ROOT / name).read_text(encoding="utf-8").splitlines())
        for name in python_files()
    }
    assert {name: count for name, count in lines.items() if count > FILE_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    lengths = {
        f"{name}:{function.name}": code_lines(function)
        for name in python_files("signalstudy", "sample")
        for function in functions(name)
    }
    assert {name: count for name, count in lengths.items() if count > FUNCTION_LINES} == {}


def test_every_module_begins_with_a_sentence():
    silent = [
        str(name)
        for name in python_files("signalstudy")
        if tree(name).body
        and not (ast.get_docstring(tree(name)) or "").split("\n")[0].endswith((".", "?"))
    ]
    assert silent == []


def test_every_public_function_and_class_has_a_docstring():
    silent = [
        f"{name}:{node.name}"
        for name in python_files("signalstudy")
        for node in tree(name).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_the_word_load_is_kept_out_of_names():
    breaches = [
        f"{name}:{node.name}"
        for name in python_files("signalstudy")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and "load" in node.name.lower().split("_")
    ]
    assert breaches == []


def test_every_module_has_tests_of_its_own_or_of_its_folder():
    tested = {name.stem.removeprefix("test_") for name in python_files("tests")}
    folders = {name.parent.name for name in python_files("tests") if name.stem.startswith("test_")}
    untested = [
        str(name)
        for name in python_files("signalstudy")
        if tree(name).body
        and name.stem not in {*tested, "__init__"}  # the public names: test_floors
        and name.parent.name not in folders
    ]
    assert untested == []
