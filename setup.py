"""What pyproject.toml cannot say: recipes/ stands at the root of the repository, and in the built package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """Builds the package; an editable install reads the recipes where they are."""

    def run(self) -> None:
        """Copy the modules, and the recipes beside them."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("recipes", Path(self.build_lib) / "meisho" / "recipes", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithRecipes})
