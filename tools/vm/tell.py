"""A plugin of pytest: tells of each failure as it comes. A guest that is ended early would take the reasons with it."""

import pytest


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what failed, and what it printed."""
    if report.failed:
        print(f"\n--- {report.nodeid}, {report.when}\n{report.longreprtext}", flush=True)
        for title, text in report.sections:
            print(f"--- {title}\n{text}", flush=True)
