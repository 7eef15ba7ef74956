"""``python -m nst_exp``."""

import signal
import sys


def run() -> None:
    """The command line, deaf to signals in the moments before it is ready and when all is done."""
    try:
        from nst_exp.app.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped


if __name__ == "__main__":
    run()
