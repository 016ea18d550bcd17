"""What `prepare` prints: one report as a table, many as a matrix, all as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xdploaderd.cli.output import print_line, print_table
from xdploaderd.obj.core_record import core_log, core_log_lines
from xdploaderd.obj.disasm import disassemble
from xdploaderd.obj.spec import PreparedObject
from xdploaderd.relo_core.decision import CoreDecision, CoreFailure
from xdploaderd.verdict.model import Check, Verdict, overall
from xdploaderd.verdict.report import NOT_CHECKED, Report


def as_json(reports: Sequence[Report], *, dump: bool, records: bool) -> Mapping[str, Any]:
    """Return the document of `prepare --json`, with instructions and with the CO-RE record as wanted."""
    return {
        "verdict": str(overall(report.verdict for report in reports)),
        "not_checked": list(NOT_CHECKED),
        "reports": [_report(report, dump=dump, records=records) for report in reports],
    }


def _report(report: Report, *, dump: bool, records: bool) -> Mapping[str, Any]:
    prepared = report.prepared
    code = {"insns": _code(prepared)} if dump and prepared else {}
    record = {"core_log": core_log(prepared.spec, _core_records(prepared))} if records and prepared else {}
    return {
        "object": report.object,
        "kernel": report.kernel,
        "verdict": str(report.verdict),
        "checks": [_check(check) for check in report.checks],
        "capabilities": dict(report.capabilities),
        "features": list(report.features),
        "least_release": report.least_release,
        **record,
        **code,
    }


def _core_records(prepared: PreparedObject) -> Sequence[CoreDecision | CoreFailure]:
    return (*prepared.core_log, *prepared.core_failures)


def _check(check: Check) -> Mapping[str, str]:
    return {
        "subject": str(check.subject),
        "name": check.name,
        "check": check.check,
        "verdict": str(check.verdict),
        "reason": check.reason,
        "since": check.since,
    }


def _code(prepared: PreparedObject) -> Mapping[str, Any]:
    return {
        name: [{"insn": slot, "bytes": raw.hex(), "text": text} for slot, raw, text in disassemble(program)]
        for name, program in prepared.programs.items()
    }


def print_report(report: Report, *, dump: bool, records: bool) -> None:
    """Print one object in one kernel: the verdict, every check, what loading takes, and what else is wanted."""
    print_line(f"{report.object} in kernel {report.kernel}: {report.verdict}")
    print_table(("VERDICT", "OF", "NAME", "CHECK", "REASON"), [_row(check) for check in report.checks])
    for capability, reason in report.capabilities.items():
        print_line(f"needs {capability}: {reason}")
    for feature in report.features:
        print_line(f"needs {feature}")
    if report.least_release:
        print_line(f"needs Linux {report.least_release} or newer")
    print_line(f"not checked: {', '.join(NOT_CHECKED)}")
    if records and report.prepared:
        for line in core_log_lines(core_log(report.prepared.spec, _core_records(report.prepared))):
            print_line(line)
    if dump and report.prepared:
        _print_code(report.prepared)


def _print_code(prepared: PreparedObject) -> None:
    for name, program in prepared.programs.items():
        print_line(f"program {name}:")
        for slot, _raw, text in disassemble(program):
            print_line(f"{slot:6}: {text}")


def _row(check: Check) -> tuple[str, ...]:
    return str(check.verdict), str(check.subject), check.name, check.check, _reason(check)


def _reason(check: Check) -> str:
    return f"{check.reason} (Linux {check.since})" if check.since else check.reason


def print_matrix(reports: Sequence[Report]) -> None:
    """Print objects by kernels, and below why something fails or stays unknown."""
    kernels = list(dict.fromkeys(report.kernel for report in reports))
    verdicts = {(report.object, report.kernel): str(report.verdict) for report in reports}
    objects = list(dict.fromkeys(report.object for report in reports))
    print_table(("OBJECT", *kernels), [(name, *(verdicts[name, kernel] for kernel in kernels)) for name in objects])
    lines = [line for name in objects for line in _lines([each for each in reports if each.object == name])]
    for line in lines:
        print_line(line)


def _lines(reports: Sequence[Report]) -> Iterator[str]:
    """Yield a line for each thing that does not hold, with the kernels that have it in common."""
    kernels: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        for check in report.checks:
            if check.verdict is not Verdict.HOLDS:
                key = (report.object, str(check.verdict), f"{check.subject} {check.name}", _reason(check))
                kernels.setdefault(key, []).append(report.kernel)
    for (name, verdict, what, reason), where in kernels.items():
        yield f"{name}: {verdict} in {', '.join(where)}: {what}: {reason}"
