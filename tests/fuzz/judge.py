"""Run a target on one input and judge it: no error but LoaderError leaves, soon, in little memory, told in one line."""

import json
import resource
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from xdploaderd.errors import LoaderError

MAX_SECONDS = 2.0  # of CPU time
MAX_BYTES = 256 << 20  # of resident memory, above what the process had before
MAX_MESSAGE = 17_000  # characters
SLOW = "Slow"
_GIVE_UP_SECONDS = 8.0
_RESET_PEAK = "5"  # CLEAR_REFS_MM_HIWATER_RSS, see proc_pid_clear_refs(5)
_PACKAGE = Path(__file__).parents[2]

Run = Callable[[bytes], object]


class _GivenUp(BaseException):
    """Raised in the target that takes too long; no handler of Exception takes it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an input did: `problem` is empty when all was right, else it begins with the kind; `place` is FILE:LINE."""

    seconds: float
    peak: int
    error: LoaderError | None = None
    problem: str = ""
    place: str = ""

    def __bool__(self) -> bool:
        """Tell whether all was right."""
        return not self.problem


def judge(run: Run, raw: bytes) -> Verdict:
    """Run the target in this process, which must be its main thread; peak in bytes above what was in use before."""
    before = _reset_peak()
    begin = time.process_time()
    error: LoaderError | None = None
    problem = place = ""
    try:
        with _deadline():
            run(raw)
    except LoaderError as refusal:
        error, problem = refusal, _fault_of_message(refusal)
    except (Exception, _GivenUp) as fault:  # noqa: BLE001 - whatever leaves a target is what is looked for
        problem = f"{type(fault).__name__.strip('_')}: {fault}"
        place = _place_of(fault)
    seconds, peak = time.process_time() - begin, max(0, _peak() - before)
    if not problem and seconds > MAX_SECONDS:
        problem = f"{SLOW}: {seconds:.2f} s, want at most {MAX_SECONDS:g}"
    if not problem and peak > MAX_BYTES:
        problem = f"Memory: {peak >> 20} MiB, want at most {MAX_BYTES >> 20}"
    return Verdict(seconds, peak, error, problem, place)


def judge_fairly(run: Run, raw: bytes) -> Verdict:
    """Run the target again when it was slow: beside busy neighbours a processor does half as much in a second."""
    verdict = judge(run, raw)
    return judge(run, raw) if verdict.problem.startswith(SLOW) else verdict


def limit_memory(size: int) -> None:
    """Let the process have `size` bytes of address space at most, so that a finding does not take the machine's."""
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _fault_of_message(error: LoaderError) -> str:
    """Tell what is wrong with an error that is to stand in one line of a journal, and in JSON."""
    text = str(error)
    if not text.isprintable():
        return f"Message: has unprintable characters: {text[:200]!r}"
    if len(text) > MAX_MESSAGE:
        return f"Message: has {len(text)} characters, want at most {MAX_MESSAGE}"
    json.dumps(error.to_json(), ensure_ascii=False).encode()
    return ""


def _place_of(fault: BaseException) -> str:
    """Return the innermost place in our code."""
    frames = traceback.extract_tb(fault.__traceback__)
    ours = [frame for frame in frames if "/xdploaderd/" in frame.filename.removeprefix(str(_PACKAGE))] or frames
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""


@contextmanager
def _deadline() -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise _GivenUp(f"over {_GIVE_UP_SECONDS:g} s")

    earlier = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, _GIVE_UP_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, earlier)


def _reset_peak() -> int:
    """Forget the highest memory use so far and return the one of now."""
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    return _peak()


def _peak() -> int:
    with open("/proc/self/status", "rb") as status:
        text = status.read()
    at = text.index(b"VmHWM:") + len("VmHWM:")
    return int(text[at : text.index(b"kB", at)]) << 10
