"""What runs inside the sandbox for every language, shown there at /azr/inside. Imports the standard library alone."""
