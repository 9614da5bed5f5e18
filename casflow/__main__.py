"""`python -m casflow` is the command line."""

from casflow.cli import main

if __name__ == "__main__":
    main()
