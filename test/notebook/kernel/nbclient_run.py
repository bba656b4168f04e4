"""Runs the notebook argv[1] by nbclient in the moescope kernel, writes it to argv[2], and prints what ended it, if anything did."""

import os
import sys

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

source, target, *flags = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
client = NotebookClient(
    notebook,
    kernel_name="moescope",
    timeout=60,
    allow_errors="--allow-errors" in flags,
    resources={"metadata": {"path": os.path.dirname(source)}},
)
try:
    client.execute()
except CellExecutionError as error:
    print("CellExecutionError", error.ename, error.evalue)
nbformat.validate(notebook)
nbformat.write(notebook, target)
