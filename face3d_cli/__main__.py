"""`python -m face3d_cli` is the same as `face3d`."""

from face3d_cli.cli.app import main

if __name__ == "__main__":
    main()
