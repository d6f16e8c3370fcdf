"""Gives the interpreter its site-packages directory.

Debian's `site` module, frozen into the binary, knows only dist-packages. Read through a .pth file there.
"""

import os
import site
import sys

_NAME = "python%d.%d" % sys.version_info[:2]


def getsitepackages(prefixes=None):
    """Return the site-packages directory of each prefix, as Python's own `site` does."""
    directories = []
    for prefix in dict.fromkeys(site.PREFIXES if prefixes is None else prefixes):
        if prefix:
            directories.append(os.path.join(prefix, "lib", _NAME, "site-packages"))
    return directories


site.getsitepackages = getsitepackages
_base = os.path.join(sys.base_prefix, "lib", _NAME)
if os.path.join(_base, "dist-packages") in sys.path:
    sys.path.remove(os.path.join(_base, "dist-packages"))
site.addsitedir(os.path.join(_base, "site-packages"))
