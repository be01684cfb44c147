"""Runs unittest tests and reports them in one line at the end."""

import unittest


class Report(unittest.TestResult):
    """Prints the name of every test that ran, and the trace of every failure."""

    def __init__(self):
        super().__init__()
        self.passed = 0

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed += 1
        print(f"ok      {test.id()}")

    def addError(self, test, err):
        super().addError(test, err)
        print(f"FAILED  {test.id()}\n{self.errors[-1][1]}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        print(f"FAILED  {test.id()}\n{self.failures[-1][1]}")

    @property
    def failed(self):
        return len(self.errors) + len(self.failures)


def flatten(suite):
    """The single tests of a suite, in order."""
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item
