"""Commands in process, as the tests of the command line run them."""

from tests.cli.conftest import run_in  # noqa: F401
