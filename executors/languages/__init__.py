"""One folder per language: a package that binds LANGUAGE, with every file that its interpreter reads."""
