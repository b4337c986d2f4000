"""How pytest-xdist shares the tests of a run out to its workers, with `--dist loadfile`."""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

# Files whose tests share a fixture of the session that takes long to make: an open run, a page.
OPENED = (
    "test_sampled_is_trained.py",
    "test_acc.py",
    "test_stages.py",
    "test_play.py",
    "test_begun.py",
    "test_heldout.py",
    "test_problem_tasks.py",
)
TOGETHER = dict.fromkeys(OPENED, "opened") | dict.fromkeys(("test_page.py", "test_browser.py"), "page")


class Scheduling(LoadFileScheduling):
    """A file is one worker's, and so are files that share what takes long to make.

    A test that ends its worker has failed, and the rest of its file is the next worker's. xdist 3.8 would give that
    test out again, and wait for ever if the file is the last one.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = Path(super()._split_scope(nodeid))
        return TOGETHER.get(file.name, str(file))

    def _reschedule(self, node: WorkerController) -> None:
        """A worker runs a test when it has the next one too, or knows that there is none."""
        super()._reschedule(node)
        while self.workqueue and not node.shutting_down and self._pending_of(self.assigned_work[node]) < 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def remove_node(self, node: WorkerController) -> str | None:
        files = self.assigned_work.pop(node)
        crashed = next((test for tests in files.values() for test, done in tests.items() if not done), None)
        if crashed is None:
            return None
        for tests in files.values():
            if crashed in tests:
                tests[crashed] = True
        self.workqueue.update({file: tests for file, tests in files.items() if not all(tests.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed
