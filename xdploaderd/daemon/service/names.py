"""What a request names: whether there is it, how it stands, and whether it may change now."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from xdploaderd.config.attachments import AttachmentConfig
from xdploaderd.daemon.apply.trial import Trial
from xdploaderd.daemon.execute.attached_maps import Running
from xdploaderd.daemon.loop.news import News
from xdploaderd.daemon.loop.orphans import protected_interface
from xdploaderd.daemon.loop.reconcile import Reconciler
from xdploaderd.daemon.loop.report import running_stands, stand_of, stands_of, status_of
from xdploaderd.daemon.plan.matching import may_be_for, resolve
from xdploaderd.daemon.plan.status import AttachmentStatus, Stand
from xdploaderd.daemon.service.caller import audit, audit_each, audited
from xdploaderd.daemon.wanted.wishes import Wishes
from xdploaderd.errors import NoSuchAttachmentError, UsageError
from xdploaderd.printable import quoted


class Names:
    """Entries and attachments by the names that users give."""

    def __init__(self, reconciler: Reconciler, wishes: Wishes, trial: Trial, news: News) -> None:
        self._reconciler = reconciler
        self._wishes = wishes
        self._trial = trial
        self._news = news

    def check(self, name: str) -> None:
        """Raise NoSuchAttachmentError where no entry and no attachment has the name."""
        names = [config.name for config in self._wishes.entries]
        if name not in names and name not in self._news.known:
            known = ", ".join(quoted(n) for n in names) or "none"
            raise NoSuchAttachmentError(f"no attachment named {quoted(name)} is configured (there is: {known})")

    def check_change(self, name: str, verb: str, confirm: int, *, permanent: bool = False) -> None:
        """Raise UsageError where the change of an entry has to wait, or is for trial alone."""
        self._trial.check_request(confirm, permanent=permanent)
        if confirm:
            return
        entry = next((config for config in self._wishes.entries if config.name == name), None)
        if entry is not None:
            self.check_entry(entry, f"{verb} {name}")
        self._check_attachments(name, f"{verb} {name}")

    def check_entry(self, entry: AttachmentConfig, verb: str) -> None:
        """Raise UsageError where an entry is for a protected interface, or may be, or has its program on one."""
        observed = self._reconciler.picture.observed
        for name in sorted(self._trial.protected):
            found = observed.interface(name)
            if may_be_for(entry, name, found if found is not None and found.name == name else None):
                self._trial.check_unprotected(name, verb)
        self._check_attachments(entry.name, verb)

    def _check_attachments(self, name: str, verb: str) -> None:
        for status in self._news.known.values():
            if name in (status.name, status.entry):
                self._trial.check_unprotected(self.interface(status.interface), verb)

    def check_orphan(self, name: str) -> None:
        """Raise NoSuchAttachmentError where no orphan has the name, UsageError for one that is not to be swept now."""
        picture = self._reconciler.picture
        if name not in picture.orphans:
            known = ", ".join(map(quoted, picture.orphans)) or "none"
            raise NoSuchAttachmentError(f"no orphan is named {quoted(name)} (there is: {known})")
        if interface := protected_interface(picture.observed.owned[name], picture.observed, picture.protected):
            raise UsageError(
                f"orphan {quoted(name)} is on interface {quoted(interface)}, which is protected: put an entry in its"
                " place, or take the interface out of `protect`, and use `xdploaderctl apply --confirm 60s`"
            )
        if math.isinf(picture.orphans[name]):
            raise UsageError(f"orphan {quoted(name)} gave way to what is on trial: confirm that first, or roll it back")

    def interface(self, name: str) -> str:
        """Return the name that the kernel has for an interface, or the given one where there is none."""
        found = self._reconciler.picture.observed.interface(name)
        return found.name if found is not None else name

    def status(self, name: str) -> AttachmentStatus:
        """Return the entry's status, as of now rather than of the last pass. Raises NoSuchAttachmentError."""
        picture = self._reconciler.picture
        wanted = resolve(self._wishes.wanted(), picture.observed.interfaces)
        found = status_of(replace(picture, wanted=wanted), name)
        if found is None:
            raise NoSuchAttachmentError(f"attachment {quoted(name)} went from the configuration meanwhile")
        return found

    def stand(self, name: str) -> Stand:
        """Return how it stands, for the audit log; with '' how all do."""
        picture = self._reconciler.picture
        return Stand("orphan") if name in picture.orphans else stand_of(picture, name)

    @contextmanager
    def recorded(
        self, verb: str, done: Callable[[], str] = lambda: "done", ran: Mapping[str, Stand] | None = None
    ) -> Iterator[None]:
        """Record a change of all, which the block makes or fails to, and that of each attachment.

        `ran`: what ran before, where the last pass belongs to the change already.
        """
        before = stands_of(self._reconciler.picture)
        if ran is not None:
            now = running_stands(self._reconciler.picture.observed)
            before = {**{name: stand for name, stand in before.items() if name not in now}, **ran}
        with audited(verb, "", lambda: self.stand(""), done, None if ran is None else Stand(f"{len(ran)} attached")):
            yield
            audit_each(verb, before, stands_of(self._reconciler.picture))

    @contextmanager
    def recorded_refusal(self, verb: str, name: str = "") -> Iterator[None]:
        """Record that a change was refused, where the block does that."""
        try:
            yield
        except UsageError as error:
            stand = self.stand(name)
            audit(verb, name, before=stand, after=stand, result=str(error))
            raise

    def running(self, name: str) -> Running | None:
        """Return the program in force, None where there is none. Raises NoSuchAttachmentError."""
        self.check(name)
        picture = self._reconciler.picture
        owned = picture.observed.owned.get(name)
        if owned is None or owned.prog is None:
            return None
        config = next((want.config for want in picture.wanted if want.config.name == name), None)
        return Running(name, owned.prog, config, self._wishes.settings.pinning)
