"""`python -m tests.mutations [PROMISE …]` tries the breaks of these promises, or all, and says which were noticed.

Each is tried against the tests that carry the mark of its promise, and against no others. Ends with 1 if one survives.
"""

import sys
import tempfile
from pathlib import Path

from tests.behaviours.ledger import shown
from tests.mutations.breaks import BREAKS
from tests.mutations.trial import QUICK, Copy, Verdict


def main(promises: set[int]) -> int:
    """Tries them."""
    chosen = [change for change in BREAKS if not promises or change.promise in promises]
    tests = shown()
    with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
        copy = Copy(Path(folder).resolve())
        assert copy.imports_itself(), "the installed packages hide those of the copy"
        quick = {test for change in chosen for test in tests[change.promise] if test.startswith(QUICK)}
        if quick and copy.run(sorted(quick)) is not Verdict.SURVIVED:
            print("the tests fail without any break: mend that first")
            return 1
        verdicts = []
        for change in chosen:
            verdicts.append(copy.tried(change, tests[change.promise]))
            print(f"{change.promise:2} {verdicts[-1]:8} {change.what} ({change.file})", flush=True)
    caught = verdicts.count(Verdict.CAUGHT)
    print(f"{caught} of {len(verdicts)} breaks were caught")
    return 0 if caught == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main({int(word) for word in sys.argv[1:]}))
