"""Fetch the weights of backbone presets ahead: ``python scripts/fetch_weights.py vgg16``.

Afterwards the cache folder (``NST_EXP_CACHE``) can be copied to a machine without network.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a checkout need not be installed

from nst_exp.app.weights_command import main

if __name__ == "__main__":
    sys.exit(main(["fetch", *sys.argv[1:]]))
