"""A name server on 127.0.0.1 that real DNS questions go to by UDP, and that may change its mind."""

import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address

import dnslib

TYPES = {4: "A", 6: "AAAA"}
QUESTION_SECONDS = 5.0


class NameServer:
    """What each name is answered with, in turn; the last answer again and again."""

    def __init__(self) -> None:
        self.turns: dict[str, list[tuple[str, ...]]] = {}
        self.asked: list[str] = []
        self.port = 0

    def answer(self, name: str, *turns: Sequence[str]) -> None:
        """Answer the name with these addresses, and in the next turn with the next ones."""
        self.turns[name] = [tuple(turn) for turn in turns]

    def resolve(self, host: str, port: int) -> list[str]:
        """Ask the server for the host's addresses, IPv4 before IPv6. Raises OSError for none."""
        found = [address for kind in TYPES.values() for address in self._ask(host, kind)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    def _ask(self, host: str, kind: str) -> list[str]:
        question = dnslib.DNSRecord.question(host, kind)
        answer = question.send("127.0.0.1", self.port, timeout=QUESTION_SECONDS)
        return [str(record.rdata) for record in dnslib.DNSRecord.parse(answer).rr]

    def reply(self, packet: bytes) -> bytes:
        request = dnslib.DNSRecord.parse(packet)
        name, kind = str(request.q.qname).rstrip("."), dnslib.QTYPE[request.q.qtype]
        reply = request.reply()
        for address in map(ip_address, self._turn(name, kind)):
            if TYPES[address.version] == kind:
                data = getattr(dnslib, kind)(tuple(address.packed))
                reply.add_answer(dnslib.RR(name, request.q.qtype, ttl=0, rdata=data))
        return bytes(reply.pack())

    def _turn(self, name: str, kind: str) -> tuple[str, ...]:
        turns = self.turns.get(name, [()])
        if kind == "A":
            self.asked.append(name)
        # The question for AAAA, which comes second, ends the turn.
        return turns.pop(0) if kind == "AAAA" and len(turns) > 1 else turns[0]


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Run a name server until the end of the block."""
    names = NameServer()

    class Reply(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            packet, answering = self.request
            answering.sendto(names.reply(packet), self.client_address)

    with socketserver.UDPServer(("127.0.0.1", 0), Reply) as server:
        names.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield names
        server.shutdown()
        thread.join()
