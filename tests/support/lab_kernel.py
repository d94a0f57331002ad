"""A notebook run by a Jupyter server, over HTTP and a websocket, as the pages of JupyterLab do it."""

import json
import uuid
from contextlib import closing
from pathlib import Path

import httpx
import nbformat
import websocket
from lab import KEY
from nbformat.v4 import output_from_msg

SILENCE_S = 60  # for so long a cell that runs may say nothing
HEADERS = {"Authorization": f"token {KEY}"}
SHOWN = {"stream", "display_data", "execute_result", "error"}


def run_notebook(url: str, root: Path, name: str) -> nbformat.NotebookNode:
    """Run a notebook, named as below the server's root, in a new kernel; return it with its outputs."""
    notebook = nbformat.read(root / name, as_version=4)
    kernel = {"path": name, "name": name, "type": "notebook", "kernel": {"name": "python3"}}
    session = httpx.post(f"{url}/api/sessions", json=kernel, headers=HEADERS, trust_env=False, timeout=60)
    session.raise_for_status()
    channels = f"{url.replace('http', 'ws', 1)}/api/kernels/{session.json()['kernel']['id']}/channels"
    with closing(websocket.create_connection(channels, header=HEADERS, timeout=SILENCE_S)) as socket:
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs = execute(socket, cell.source)
    return notebook


def execute(socket: websocket.WebSocket, code: str) -> list[nbformat.NotebookNode]:
    """Run a cell and return its outputs; it is done when the kernel has replied and has nothing more to say of it."""
    asked = ask(socket, code)
    outputs, left = [], {"execute_reply", "idle"}
    while left:
        said = json.loads(socket.recv())
        if said["parent_header"].get("msg_id") != asked:
            continue
        left -= {said["msg_type"], said["content"].get("execution_state")}
        assert said["content"].get("status") != "error", f"{code}\n{said['content'].get('evalue')}"
        if said["msg_type"] in SHOWN:
            outputs.append(output_from_msg(said))
    return outputs


def ask(socket: websocket.WebSocket, code: str) -> str:
    """Send the code and return the number by which the answers name it."""
    number = uuid.uuid4().hex
    header = {"msg_id": number, "msg_type": "execute_request", "session": number, "username": "", "version": "5.4"}
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
    socket.send(
        json.dumps({"channel": "shell", "header": header, "parent_header": {}, "metadata": {}, "content": content})
    )
    return number
