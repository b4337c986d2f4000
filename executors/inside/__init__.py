"""Code that runs inside the sandbox for every language, at /azr/inside. Imports only the standard library."""
