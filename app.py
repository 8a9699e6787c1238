"""Entry: `python app.py [--tab ID] [--share] ...`; everything is in studio/cli.py."""

from studio.cli import main

if __name__ == "__main__":
    main()
