"""Jupyter's own conformance suite on the moescope kernel; found through JUPYTER_PATH. Prints one line per test."""

import unittest

import jupyter_kernel_test


class MoescopeTests(jupyter_kernel_test.KernelTests):
    kernel_name = "moescope"
    language_name = "typescript"
    file_extension = ".ts"
    code_hello_world = 'console.log("hello, world");'
    code_stderr = 'console.error("oops");'
    completion_samples = [
        {"text": "Mat", "matches": ["Math"]},
        {"text": "%ti", "matches": ["%time"]},
    ]
    complete_code_samples = ["1", "const x = 1;", "function f(): number {\n  return 1;\n}"]
    incomplete_code_samples = ["function f() {", "const x = [1,", "if (true) {\n  console.log("]
    invalid_code_samples = ["const = 3; let"]
    code_generate_error = 'throw new Error("bad");'
    code_execute_result = [
        {"code": "6 * 7", "result": "42"},
        {"code": '"a" + "b"', "result": "'ab'"},
        {"code": "[1, 2].length", "result": "2"},
    ]
    code_display_data = [
        {
            "code": 'import { display } from "moescope";'
            ' display({ data: { "text/plain": "p", "text/html": "<p>" } });',
            "mime": "text/html",
        },
    ]
    code_history_pattern = "6*"
    supported_history_operations = ("tail", "range", "search")
    code_inspect_sample = "Math.max"
    code_clear_output = 'import { clearOutput } from "moescope"; clearOutput();'


if __name__ == "__main__":
    unittest.main(verbosity=2)
