"""What a test starts ends with it, however it ends."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from processes import runs, wait_until

WHO_DIES = """
import os, sys
from processes import started
with started([sys.executable, "-c", "print('up', flush=True); input()"], stdin=-1, stdout=-1) as child:
    child.stdout.readline()
    print(child.pid, flush=True)
    os._exit(1)
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv, which ends a child with its parent")
def test_a_process_does_not_outlive_a_test_that_the_limit_ends():
    here = Path(__file__).parent
    ended = subprocess.run([sys.executable, "-c", WHO_DIES], capture_output=True, text=True, cwd=here)
    assert ended.returncode == 1, ended.stderr
    wait_until(lambda: not runs(int(ended.stdout)))
