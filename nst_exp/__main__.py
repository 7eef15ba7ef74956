"""``python -m nst_exp``."""

import os
import signal
import sys


def run() -> None:
    """Run the command line; signals before it starts and after it ends exit without traceback."""
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            from nst_exp.app.help import print_help

            return print_help()
        if "--version" in sys.argv[1:]:
            from nst_exp.results.record import versions

            return print(f"nst_exp {versions()['nst-exp']}")
        if sys.argv[1:2] in (["-sc"], ["--shell-completion"]) and "query=" in sys.argv[-1]:
            from nst_exp.app.completion import print_completions

            return print_completions(sys.argv[-1].partition("=")[2])
        # torch's threads soon sleep when they wait, instead of taking time from other programs.
        if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
            os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "3000"}
        from nst_exp.app.main import main
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        main()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # nothing is left to be stopped


if __name__ == "__main__":
    run()
