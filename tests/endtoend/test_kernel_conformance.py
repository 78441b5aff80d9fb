"""jupyter_kernel_test, complete, against the kernelspec: what any kernel owes any front end."""

import jupyter_kernel_test
import pytest


@pytest.fixture(scope="class", autouse=True)
def _private(private_environment):
    """The suite starts kernels in setUpClass: the environment must be ready before."""


class TestConformance(jupyter_kernel_test.KernelTests):
    kernel_name = "ucore"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "print('hello, world')"
    code_stderr = "import sys; print('test', file=sys.stderr)"
    completion_samples = ({"text": "zi", "matches": {"zip"}}, {"text": "%%ucore --no", "matches": {"--no-raise"}})
    complete_code_samples = ("1", "print('hello, world')", "def f(x):\n  return x*2\n\n\n", "%%ucore\nled.on()")
    incomplete_code_samples = ("print('''hello", "def f(x):\n  x*2", "%%ucore\nwhile True:", "%%ucore")
    invalid_code_samples = ("import = 7q", "%%ucore\nimport = 7q")
    code_page_something = "zip?"
    code_generate_error = "raise"
    code_execute_result = ({"code": "6*7", "result": "42"},)
    code_display_data = (
        {"code": "from IPython.display import HTML, display; display(HTML('<b>test</b>'))", "mime": "text/html"},
        {"code": "from IPython.display import Math, display; display(Math('\\frac{1}{2}'))", "mime": "text/latex"},
    )
    code_history_pattern = "6?7*"
    # ipykernel does not pass "range" either: asked for the current session, it calls it session 0.
    supported_history_operations = ("tail", "search")
    code_inspect_sample = "zip"
    code_clear_output = "from IPython.display import clear_output; clear_output()"


class TestBoardConformance(jupyter_kernel_test.KernelTests):
    """The same for board cells, as far as the suite knows what they can do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Where MicroPython is not built, the first board cell says so: one output more than the suite counts with.
        cls.kc.execute_interactive("%%ucore\npass", timeout=60, output_hook=lambda _: None)

    kernel_name = "ucore-virtual"
    language_name = "python"
    file_extension = ".py"
    code_hello_world = "%%ucore\nprint('hello, world')"
    code_generate_error = "%%ucore\nraise ValueError"
    code_execute_result = ({"code": "%%ucore\n6*7", "result": "42"},)
    code_history_pattern = "%%ucore*6?7"
    supported_history_operations = ("tail", "search")


class TestWelcome(jupyter_kernel_test.IopubWelcomeTests):
    kernel_name = "ucore"
    support_iopub_welcome = True
