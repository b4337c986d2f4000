"""One folder a language: a package that binds LANGUAGE, with every file that its interpreter reads."""
