"""Found: the answers to queries, each with its copies below it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np

from meisho.certainty import Judgement, PairEvidence, Verdict, is_not_here, judge
from meisho.errors import InputError
from meisho.photos import Photo, place_at
from meisho.ranking import NO_ROW, Ranking
from meisho.run.folding import keep_places
from meisho.run.turning import POSITIONS
from meisho.texts import count

if TYPE_CHECKING:
    from meisho.photo_pair import PhotoPair, StoredPairs
    from meisho.run.judging import Judging


@dataclass(frozen=True)
class Paths(Sequence[Path]):
    """The files of N photos, each made when it is asked for.

    Attributes:
        root: The photo folder.
        files: N files, as records name them, see `place_at`.
    """

    root: Path
    files: Sequence[str]

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, key: int) -> Path: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Path, ...]: ...
    def __getitem__(self, key: int | slice) -> Path | tuple[Path, ...]:
        if isinstance(key, slice):
            return tuple(place_at(self.root, file) for file in self.files[key])
        return place_at(self.root, self.files[key])


@dataclass(frozen=True)
class Answer:
    """One database photo that was found.

    Attributes:
        id: Its id in the collection.
        path: Its file.
        score: Higher is better; without a reranker the dot product of the descriptors.
        num_inliers: Matches with the query that agree on one geometry; None where nothing was verified.
        copies: Photos of the collection that stand below it: the same content under another name and, where
            they were asked for, near copies.
        turned: Degrees, clockwise, by which the query was turned when it found this; 0 where it was not.
        probability: That it shows the query's place, 0 to 1; None where the models were not calibrated.
        verdict: That in a word; None where nothing was calibrated or verified.
        overlap_query: Share of the query, 0 to 1, that this photo shows; None where no geometry says it.
        overlap_photo: Share of this photo that the query shows; likewise.
    """

    id: str
    path: Path
    score: float
    num_inliers: int | None = None
    copies: tuple[Photo, ...] = ()
    turned: int = 0
    probability: float | None = None
    verdict: Verdict | None = None
    overlap_query: float | None = None
    overlap_photo: float | None = None

    @property
    def same_place(self) -> bool | None:
        """Whether the verdict is "same"; None where there is none."""
        return None if self.verdict is None else self.verdict == "same"


@dataclass(frozen=True, eq=False)
class Found:
    """What was found: one list of answers per query, best first, by `found[0]` or in a loop.

    Attributes:
        queries: Q photos that were asked with.
        ranking: The answers as rows of the database.
        paths: (N,) files of the database photos, by row.
        version: Version of the collection that answered.
        pairs: Compares queries with answers as the reranker did, for who wants to see why; None where no
            local features were looked at. Of turned queries, it knows each position as a query of its own.
        below: For each query, the rows that stand below an answer, by its row.
        positions: For each query, the position in which an answer was found, by its row, as a place in
            `meisho.run.turning.POSITIONS`; None where the queries were not turned.
        judging: Says how sure the answers are; None: nothing does.
    """

    queries: tuple[Photo, ...]
    ranking: Ranking
    paths: Sequence[Path]
    version: int
    pairs: "StoredPairs | None" = None
    below: Sequence[Mapping[int, tuple[int, ...]]] = ()
    positions: Sequence[Mapping[int, int]] | None = None
    judging: "Judging | None" = None
    _judged: dict[int, list[tuple[PairEvidence, Judgement]]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __len__(self) -> int:
        return len(self.queries)

    def __iter__(self) -> Iterator[list[Answer]]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, query_row: int) -> list[Answer]:
        """Return the answers to one query, best first."""
        if not -len(self) <= query_row < len(self):
            raise IndexError(query_row)  # what ends a loop over a sequence
        rows, scores = self._rows(query_row), self.ranking.scores[query_row].tolist()
        judged = self.judge(query_row)
        return [
            self._answer(query_row, row, score, *each)
            for row, score, each in zip(rows, scores[: len(rows)], judged, strict=True)
        ]

    def __repr__(self) -> str:
        answers = f"up to {count(self.ranking.depth, 'answer')} each"
        return f"Found({count(len(self), 'query')}, {answers}, version {self.version})"

    def compare(self, query_row: int) -> "list[PhotoPair]":
        """Compare one query with each of its answers by local features; empty where none were looked at.

        Of a query that was asked in four positions, each pair holds it as it was turned.
        """
        pairs = self._compare(query_row)
        judged = self.judge(query_row, pairs) if pairs else []
        return [
            replace(pair, judgement=judgement) for pair, (_, judgement) in zip(pairs, judged, strict=True)
        ]

    def judge(
        self, query_row: int, pairs: "Sequence[PhotoPair] | None" = None
    ) -> list[tuple[PairEvidence, Judgement]]:
        """Return for each answer of a query what speaks for it, and what that amounts to.

        Args:
            query_row: The query.
            pairs: It and its answers, where they were compared by local features; None: they are now, once.
        """
        if pairs is None:
            query_row %= len(self)
            if query_row not in self._judged:
                self._judged[query_row] = self.judge(query_row, self._compare(query_row))
            return self._judged[query_row]
        rows = self._rows(query_row)
        if self.judging is None:
            evidence = [pair.evidence for pair in pairs] or [PairEvidence()] * len(rows)
            return [(each, judge(each)) for each in evidence]
        asked = [self._asked(query_row, self._position(query_row, row)) for row in rows]
        evidence = self.judging.gather(np.array(asked, np.int64), np.array(rows, np.int64), pairs)
        return list(zip(evidence, self.judging.judge(evidence), strict=True))

    @property
    def is_calibrated(self) -> bool:
        """Whether answers have a probability."""
        return self.judging is not None and self.judging.calibration is not None

    def not_here(self, query_row: int) -> bool | None:
        """Say whether a query's place is probably not in the collection; None where nothing is calibrated."""
        if not self.is_calibrated:
            return None
        return is_not_here([judgement.probability for _, judgement in self.judge(query_row)])

    def at_least(self, probability: float) -> "Found":
        """Return the same with only the answers that are so probable.

        Raises:
            InputError: Nothing is calibrated, or the probability is not from 0 to 1.
        """
        if not self.is_calibrated:
            raise InputError(
                f"answers of at least {probability:g}: how sure answers are was never measured for these "
                "models and this way to verify; ask without a least probability"
            )
        if not 0 <= probability <= 1:
            raise InputError(f"probability is {probability:g}; give one from 0 to 1")
        kept = [
            np.flatnonzero([(judged.probability or 0.0) >= probability for _, judged in self.judge(row)])
            for row in range(len(self))
        ]
        return replace(self, ranking=keep_places(self.ranking, kept))

    def _compare(self, query_row: int) -> "list[PhotoPair]":
        if self.pairs is None:
            return []
        rows = self._rows(query_row)
        found: dict[int, PhotoPair] = {}
        for position in range(len(POSITIONS)) if self.positions is not None else (0,):
            chosen = [row for row in rows if self._position(query_row, row) == position]
            asked = self._asked(query_row, position)
            pairs = self.pairs.compare(
                asked, np.array(chosen, np.int64), [self._photo(row) for row in chosen]
            )
            found |= zip(chosen, pairs, strict=True)
        return [found[row] for row in rows]

    def _answer(
        self, query_row: int, row: int, score: float, evidence: PairEvidence, judgement: Judgement
    ) -> Answer:
        below = self.below[query_row].get(row, ()) if self.below else ()
        return Answer(
            self.ranking.database_ids[row],
            self.paths[row],
            score,
            evidence.num_inliers,
            copies=tuple(map(self._photo, below)),
            turned=POSITIONS[self._position(query_row, row)],
            **vars(judgement),
        )

    def _rows(self, query_row: int) -> list[int]:
        return [row for row in self.ranking.ranks[query_row].tolist() if row != NO_ROW]

    def _asked(self, query_row: int, position: int) -> int:
        """Return the row of a query, in one of its positions, among all that was asked."""
        return query_row % len(self) * (1 if self.positions is None else len(POSITIONS)) + position

    def _position(self, query_row: int, row: int) -> int:
        return 0 if self.positions is None else self.positions[query_row][row]

    def _photo(self, row: int) -> Photo:
        return Photo(self.ranking.database_ids[row], self.paths[row])
