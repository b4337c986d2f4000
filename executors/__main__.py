"""`python -m executors`: see cli.py."""

from executors.cli import main

raise SystemExit(main())
