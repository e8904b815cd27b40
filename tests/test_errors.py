import pytest

from meisho.errors import MissingDependencyError, needs_extra

BROKEN = {  # what an import raises, what is said
    "not there": (
        ModuleNotFoundError("No module named 'umbrella'", name="umbrella"),
        r"^rain needs umbrella; run pip install 'meisho\[weather\]'$",
    ),
    "a library of the system is not there": (
        ImportError("libGL.so.1: cannot open shared object file: No such file or directory"),
        r"^rain needs a package that cannot be loaded \(libGL.so.1: .*\); run pip install --force-reinstall ",
    ),
    "another version": (
        ImportError("cannot import name 'open' from 'umbrella'"),
        r"cannot be loaded \(cannot import name 'open' .*'meisho\[weather\]'$",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_an_extra_lacks_is_said_with_its_remedy(name):
    error, message = BROKEN[name]
    with pytest.raises(MissingDependencyError, match=message), needs_extra("weather", "rain"):
        raise error


def test_too_little_memory_for_an_extra_is_not_called_a_broken_package():
    error = ImportError("libtorch.so: failed to map segment from shared object: Cannot allocate memory")
    with pytest.raises(ImportError, match="allocate"), needs_extra("weather", "rain"):
        raise error
