"""`python -m bebr` is the command `bebr`."""

from bebr.cli import main

if __name__ == "__main__":
    main()
