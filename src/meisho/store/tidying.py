"""Tidying: merging fragments and deleting old files of one table, each step a commit of bounded size.

LanceDB's own `optimize` merges every fragment below a million rows at once, which takes minutes in a large
table, and deletes old versions only after that. Only whoever holds the writer's lock may tidy.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from meisho.arrays import Int64Array
from meisho.store import tables
from meisho.store.commits import note_commits
from meisho.store.locks import hold_off_readers
from meisho.store.manifests import Fragment, read_fragments, sweep
from meisho.store.merging import FAN_OUT, Step, choose_step, plan_steps
from meisho.store.snapshot import newest_manifest
from meisho.store.tables import Table

LOOK_COMMITS = FAN_OUT // 2
"""Commits between two looks for fragments to merge; a step may have room for fewer than `FAN_OUT`."""
SWEEP_COMMITS = 128
"""Commits between two looks for old versions to delete."""
DELETED_AT_ONCE = 10_000


class Keeper:
    """Keeps one table of the collection at `path` tidy while rows are added to it."""

    def __init__(self, path: Path, table: Table) -> None:
        self.table = table
        self._path = path
        self._folder = path / f"{table.name}.lance"
        self._num_commits = 0

    def make_room(self) -> None:
        """Merge or delete what is due before the next commit: one step at most."""
        self._num_commits += 1
        if self._num_commits % LOOK_COMMITS == 0 and (step := choose_step(self._fragments() or ())):
            self._merge(step)
        if self._num_commits % SWEEP_COMMITS == 0:
            self._sweep(None)

    def tidy(self, keep: timedelta) -> None:
        """Merge all that is small or worn, and delete what was replaced more than `keep` ago.

        Args:
            keep: Counts only while somebody is reading.
        """
        if self._fragments() is None:
            self.table.optimize(cleanup_older_than=keep)
            note_commits(self._path, self.table.name)
            return
        while steps := plan_steps(self._fragments() or ()):
            for step in steps:
                self._merge(step)
        self._sweep(keep)

    def delete(self, row_ids: Int64Array) -> None:
        """Delete rows in this order, some thousands per commit.

        Args:
            row_ids: Ids from `read_row_ids` since the last merging.
        """
        for first in range(0, len(row_ids), DELETED_AT_ONCE):
            tables.delete_rows(self.table, row_ids[first : first + DELETED_AT_ONCE])
            note_commits(self._path, self.table.name)
            self._sweep(None)

    def _merge(self, step: Step) -> None:
        tables.merge_rows(self.table, step)
        note_commits(self._path, self.table.name)

    def _sweep(self, keep: timedelta | None) -> None:
        """Delete old versions; without `keep`, only where nobody is reading."""
        with hold_off_readers(self._path) as nobody_reads:
            if (nobody_reads or keep is not None) and self._fragments() is not None:
                sweep(self._folder, timedelta(0) if nobody_reads or keep is None else keep)
        note_commits(self._path, self.table.name)

    def _fragments(self) -> Sequence[Fragment] | None:
        """Read the fragments; None where LanceDB counts others, as a later one may list them elsewhere."""
        fragments = read_fragments(self._folder / "_versions" / newest_manifest(self._path, self.table.name))
        known = len(fragments), sum(fragment.num_live for fragment in fragments)
        return fragments if known == tables.count_fragments(self.table) else None
