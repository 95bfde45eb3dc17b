"""Web servers that answer as a test tells them, in threads of its own process and on free ports of the loopback."""

from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from types import SimpleNamespace

from jobs.http_request.client import METHODS


class Server(ThreadingHTTPServer):
    # HTTPServer's own asks the resolver for this machine's name, and waits for it.
    server_bind = ThreadingTCPServer.server_bind


@contextmanager
def running(server):
    server.daemon_threads = True
    server.handle_error = lambda request, address: None  # several tests want clients to close the connection
    with server:
        Thread(target=server.serve_forever, args=(0.005,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()


@contextmanager
def make_server(reply=lambda asked: (200, {}, b"hello"), context=None):
    """`reply` decides what it answers, `asked` is what it was asked."""
    ours = SimpleNamespace(reply=reply, asked=[])

    class Handler(BaseHTTPRequestHandler):
        log_message = staticmethod(lambda *args: None)

        def handle_any(self):
            self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            ours.asked.append(self)
            status, headers, body = ours.reply(self)
            self.send_response(status)
            for name, value in {"Content-Length": len(body), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else body)

    for method in METHODS:
        setattr(Handler, f"do_{method}", Handler.handle_any)
    server = Server(("127.0.0.1", 0), Handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with running(server) as ours.url:
        ours.port = server.server_address[1]
        ours.host = f"127.0.0.1:{ours.port}"
        yield ours


@contextmanager
def make_raw_server(answer, drop=None):
    """Sends these bytes and closes the connection, or goes on sending `drop` without end."""
    done = Event()

    class Handler(BaseRequestHandler):
        def handle(self):
            self.request.recv(1000)
            self.request.sendall(answer)
            while drop is not None and not done.wait(0.01):
                self.request.sendall(drop)

    with running(ThreadingTCPServer(("127.0.0.1", 0), Handler)) as url:
        yield url
        done.set()
