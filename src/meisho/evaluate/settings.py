"""Settings: what one evaluation is of, as a TOML file says it and as it is saved beside the report."""

from dataclasses import dataclass, field
from pathlib import Path

from meisho.config import config_toml
from meisho.errors import InputError
from meisho.files import write_text
from meisho.outputs import SETTINGS, check_output

SETTINGS_FILE = "run.toml"


@dataclass(frozen=True)
class EvaluationSettings:
    """One evaluation.

    As TOML::

        dataset = "roxford5k"
        root = "data/roxford5k"
        model = "default"
        local = "xfeat"

        [options]
        max_side_px = 512

        [[rerank]]
        name = "alpha-qe"
        k = 10

        [[rerank]]
        name = "geometric"

    Attributes:
        dataset: Its name, as `meisho evaluate` takes it.
        root: Its folder, or the CSV file; as on the command line, from where the command runs.
        model: A model, as `meisho index --model` takes it.
        options: Options of the model.
        local: Local features for reranking: sift, xfeat, aliked or the folder of trained ones; None for none.
        distractors: A folder of photos that are added to the database and are right for no query.
        rerank: One table for each reranker, in order: its name and its options.
        sweep: Chains to compare, as `--rerank` takes them; a value may be several, "alpha-qe:k=5|10".
        seed: Seeds the bootstrap of the intervals.
        paper: Whose evaluation it repeats, a name of `meisho.evaluate.papers.PAPERS`; None for nobody's.
    """

    dataset: str
    root: Path
    model: str = "default"
    options: dict[str, object] = field(default_factory=dict)
    local: str | None = None
    distractors: Path | None = None
    rerank: tuple[dict[str, object], ...] = ()
    sweep: tuple[str, ...] = ()
    seed: int = 0
    paper: str | None = None

    def check_place(self, directory: Path, source: Path | None) -> None:
        """Refuse to write over the file that the settings were read from, unless it says the same.

        Args:
            directory: Where they will be saved.
            source: The file; None if there was none.

        Raises:
            InputError: It would be lost.
        """
        path = directory / SETTINGS_FILE
        if source is None or not path.exists() or not path.samefile(source):
            return
        if path.read_text(encoding="utf-8") != config_toml(self):
            raise InputError(
                f"{path}: is the file of --config, and would be replaced by other settings; choose another "
                "folder with --to"
            )

    def save(self, directory: Path) -> Path:
        """Write `run.toml` under a temporary name, then rename it; return its path.

        Raises:
            InputError: It is there, and is not of an earlier evaluation.
        """
        path = directory / SETTINGS_FILE
        check_output(path, SETTINGS)
        write_text(path, config_toml(self))
        return path
