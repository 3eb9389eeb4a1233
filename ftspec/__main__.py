"""`python -m ftspec`, without the code of the folder that it runs in.

`python -m` puts that folder at the front of `sys.path`, and it may be somebody else's checkout. It is
taken away before anything else is imported, unless ftspec itself comes from there. (In a checkout that has a
module named `ftspec`, or one that Python imports before this line, only `python -P -m ftspec` or the `ftspec`
command keep its code out.)
"""

import os.path
import sys

_here = os.path.realpath(sys.path[0] or ".") if sys.path and not sys.flags.safe_path else None
if _here == os.path.realpath(os.path.curdir) != os.path.dirname(os.path.dirname(os.path.realpath(__file__))):  # noqa: PTH120 before pathlib
    del sys.path[0]

from ftspec.cli import main  # noqa: E402 only now

main()
