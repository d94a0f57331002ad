"""Runs notebook cells in an IPython shell."""


def run_cell(shell, code):
    """Run a cell as the notebook does, and return what it shows, or raise its error."""
    done = shell.run_cell(code)
    done.raise_error()
    return done.result
