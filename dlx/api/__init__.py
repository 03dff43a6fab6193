"""The functions and objects of `import dlx`: the commands for scripts and notebooks.

`dlx/__init__.py` names all of them and imports each when it is used. Nothing here prints to stdout.
"""
