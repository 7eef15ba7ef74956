"""One run, from Config to Result: the only package that imports Lightning."""
