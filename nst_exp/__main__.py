"""``python -m nst_exp``."""

from nst_exp.cli import main

if __name__ == "__main__":
    main()
