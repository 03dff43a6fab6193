"""The functions and objects that `import dlx` offers: what the commands do, for a script or a notebook.

`dlx/__init__.py` names all of them and imports each when it is used. Nothing here prints to stdout.
"""
